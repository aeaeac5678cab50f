package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters"
	"valence/adapters/peft"
	"valence/runtime/builtin"
	"valence/runtime/engine"
	"valence/runtime/mt5"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/stamp"
	"valence/runtime/tokenizer"
	"valence/runtime/torch"
)

// stack is a base that answers: everything from the device up to the engine.
type stack struct {
	thread   *torch.Thread
	whyCPU   error // what keeps CUDA away when the device was left to us, or nil
	base     *checkpoint.Checkpoint
	tok      *tokenizer.Tokenizer
	model    *mt5.Model
	engine   *engine.Engine
	adapters *adapters.Static
	packs    *packs        // where its packed weights are kept, or nil
	loaded   time.Duration // time that open took
}

// openOptions are what commands set beside the flags.
type openOptions struct {
	log      *slog.Logger
	registry prometheus.Registerer   // or nil
	progress func(done, total int64) // of the loading, or nil
	fetched  func(done, total int64) // of what the Hub sends, or nil
	answers  int64                   // most bytes of answers to keep; negative keeps none, 0 is the default
	packs    bool                    // use packed weights of the user's cache, and keep them there
}

// open loads what the flags ask for. Close frees it.
func (f *baseFlags) open(ctx context.Context, o openOptions) (_ *stack, err error) {
	start := time.Now()
	s := &stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
		}
	}()
	device, why, err := torch.Resolve(f.Device)
	if err != nil {
		return nil, err
	}
	s.whyCPU = why
	precision, err := f.precision(device)
	if err != nil {
		return nil, err
	}
	if s.base, err = openBase(ctx, f.Base, o); err != nil {
		return nil, err
	}
	s.remember(o.log)
	tok := begin(func() (*tokenizer.Tokenizer, error) { return openTokenizer(s.base) })
	s.thread = torch.Start(torch.Options{Device: device, Threads: f.Threads})
	precision = f.suited(precision, s.base.Config)
	precision.Progress, precision.Log = o.progress, o.log
	if o.packs {
		s.packs = s.openPacks(&precision, o.log)
	}
	s.model, err = mt5.Load(ctx, s.thread, s.base.Config, s.base, precision)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", s.base.Name, err)
	}
	if s.tok, err = tok(); err != nil {
		return nil, fmt.Errorf("base %s: %w", s.base.Name, err)
	}
	// The weights have been copied: the digest is the last that is read of the files.
	s.base.Digest()
	if err := s.base.Close(); err != nil {
		return nil, err
	}
	s.engine = engine.New(s.model, s.tok, engine.Options{
		MaxTokens: f.MaxTokens, CacheBytes: o.answers, Metrics: engine.NewMetrics(o.registry),
	}, o.log)
	if s.adapters, err = f.openAdapters(s); err != nil {
		return nil, err
	}
	s.loaded = time.Since(start)
	return s, nil
}

// begin runs f beside what comes next, and gives a function that waits for what f gives.
func begin[T any](f func() (T, error)) (wait func() (T, error)) {
	done := make(chan struct{})
	var value T
	var err error
	go func() {
		defer close(done)
		value, err = f()
	}()
	return func() (T, error) {
		<-done
		return value, err
	}
}

// builtinBase names the base inside the binary.
const builtinBase = "builtin"

func openBase(ctx context.Context, name string, o openOptions) (*checkpoint.Checkpoint, error) {
	if name == builtinBase {
		return checkpoint.OpenFS(name, builtin.Base())
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return checkpoint.Open(name)
	}
	if ref, ok := baseRef(name); ok {
		return openHubBase(ctx, name, ref, o)
	}
	return nil, fmt.Errorf("--base %s: there is no such folder; give \"builtin\", a folder with config.json, model.safetensors and tokenizer.json, or a Hub repository as OWNER/NAME", name)
}

// remember lets the next start take the digests of large files from the user's cache.
func (s *stack) remember(log *slog.Logger) {
	cache, err := os.UserCacheDir()
	if err != nil {
		log.Debug("digests are not kept", "error", err)
		return
	}
	s.base.RememberDigests(sums(cache, log))
}

// sums remembers the digests of large files in the user's cache.
func sums(cache string, log *slog.Logger) stamp.Sums {
	return stamp.Sums{Folder: filepath.Join(cache, "valence", "digests"), Failed: func(err error) {
		log.Warn("the digest of a large file is not kept: the next start reads all of it again", "error", err)
	}}
}

func openTokenizer(base *checkpoint.Checkpoint) (*tokenizer.Tokenizer, error) {
	if base.Tokenizer == nil {
		return nil, errors.New("there is no tokenizer.json; transformers writes one: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)")
	}
	tok, err := tokenizer.Parse(base.Tokenizer)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if n := tok.VocabSize(); n > base.Config.VocabSize {
		return nil, fmt.Errorf("tokenizer.json has %d pieces, more than the model's vocabulary of %d", n, base.Config.VocabSize)
	}
	return tok, nil
}

// openAdapters reads the base's own sidecar, the folders that the flags name and, with the
// builtin base, its adapters.
func (f *baseFlags) openAdapters(s *stack) (*adapters.Static, error) {
	base, err := newEntry(s, adapters.BaseID, s.base.Digest(), nil, s.base.Sidecar)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", s.base.Name, err)
	}
	folders, err := f.folders(s)
	if err != nil {
		return nil, err
	}
	var entries []*adapters.Entry
	for _, id := range slices.Sorted(maps.Keys(folders)) {
		folder := folders[id]
		entry, err := newEntry(s, id, folder.Digest, folder.Vectors, folder.Sidecar)
		if err != nil {
			return nil, fmt.Errorf("adapter %s: %w", id, err)
		}
		entries = append(entries, entry)
	}
	return adapters.NewStatic(base, entries...)
}

// folders reads the adapters of the configuration. A flag comes before what is built in.
func (f *baseFlags) folders(s *stack) (map[string]*peft.Folder, error) {
	out := map[string]*peft.Folder{}
	var err error
	for id, path := range f.Adapter {
		if out[id], err = peft.ReadDir(path, s.base.Config); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", id, err)
		}
	}
	if f.Base != builtinBase {
		return out, nil
	}
	for id, files := range builtin.Adapters() {
		if out[id] != nil {
			continue
		}
		if out[id], err = peft.Read(files, s.base.Config); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", id, err)
		}
	}
	return out, nil
}

// newEntry compiles an adapter's labels; nil vectors are the base itself.
func newEntry(s *stack, id, digest string, vectors *spec.Vectors, sidecar []byte) (*adapters.Entry, error) {
	side := adapters.DefaultSidecar()
	if sidecar != nil {
		var err error
		if side, err = adapters.ParseSidecar(sidecar); err != nil {
			return nil, err
		}
	}
	spec := side.TaskSpec(vectors)
	spec.Digest = digest
	task, err := s.engine.NewTask(spec)
	if err != nil {
		return nil, err
	}
	entry := &adapters.Entry{ID: id, Digest: digest, Sidecar: side, Task: task, Vectors: vectors}
	if vectors != nil {
		entry.Version, entry.Sites, entry.Parameters = "v1", len(vectors.Sites), len(vectors.Data)
	}
	return entry, nil
}

// forget drops the device's copies of vectors that no call uses any more. Rows whose
// callers left may be in the batch that runs and bring them back: it is waited for.
func (s *stack) forget(ctx context.Context, all []*spec.Vectors) error {
	if err := s.engine.Settle(ctx); err != nil {
		return err
	}
	return s.model.Drop(ctx, all...)
}

// Close drains the engine and frees the device. The error tells of work cut short
// and of tensors that were not freed.
func (s *stack) Close(ctx context.Context) error {
	var errs []error
	if s.engine != nil {
		errs = append(errs, s.engine.Close(ctx))
	}
	if s.model != nil {
		errs = append(errs, s.model.Close(context.WithoutCancel(ctx)))
	}
	if s.thread != nil {
		errs = append(errs, s.thread.Close())
	}
	if s.base != nil {
		errs = append(errs, s.base.Close()) // again, where open got no further
	}
	return errors.Join(errs...)
}
