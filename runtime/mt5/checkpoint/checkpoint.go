// Package checkpoint opens a base model as transformers saves it: a folder with
// config.json and model.safetensors, or several files named by
// model.safetensors.index.json. Whatever the model needs is checked when the
// folder is opened, so that running it cannot find anything missing.
package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
	"valence/runtime/stamp"
)

// ErrCheckpoint is wrapped by every error about a folder that cannot be opened as
// a base model.
var ErrCheckpoint = errors.New("checkpoint: base model")

// The files of a checkpoint. Only config.json and one of the two forms of weights
// must be there.
const (
	configFile    = "config.json"
	tokenizerFile = "tokenizer.json"
	sidecarFile   = "valence.json"
	singleFile    = "model.safetensors"
	indexFile     = "model.safetensors.index.json"
)

// Checkpoint is an open base model. Its methods may be called from several
// goroutines, except Close.
type Checkpoint struct {
	Name      string // the folder as it was given
	Config    *spec.Config
	Tokenizer []byte // tokenizer.json, or nil where the folder has none
	Sidecar   []byte // valence.json, or nil where the folder has none

	rawConfig []byte
	shards    []shard // in order of their names
	tensors   map[string]located
	unused    []string
	digest    func() string
	sums      stamp.Sums
	files     *files
}

// shard is one open file of weights.
type shard struct {
	name string
	file *safetensors.File
}

// located is a tensor and the name of the file that holds it.
type located struct {
	safetensors.Tensor
	file string
}

// folder is where a checkpoint is read from.
type folder struct {
	fs.FS
	weights func(name string) (*safetensors.File, error)
}

// Open opens the checkpoint in a folder on disk. The weights are mapped, not read:
// see safetensors.Open for what must not happen to the files while they are open.
// Symbolic links are followed, as a shared cache of downloads needs it. Errors wrap
// ErrCheckpoint, name the folder, and the file or tensor at fault.
func Open(dir string) (*Checkpoint, error) {
	return open(dir, folder{os.DirFS(dir), func(name string) (*safetensors.File, error) {
		return safetensors.Open(filepath.Join(dir, name))
	}})
}

// OpenFS opens the checkpoint at the root of fsys, an embedded one say, and reads
// its weights into memory. name stands for it in errors, which are those of Open.
func OpenFS(name string, fsys fs.FS) (*Checkpoint, error) {
	return open(name, folder{fsys, func(file string) (*safetensors.File, error) {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		f, err := safetensors.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return f, nil
	}})
}

func open(name string, f folder) (*Checkpoint, error) {
	c := &Checkpoint{Name: name, tensors: map[string]located{}, files: &files{}}
	c.files.users.Add(1)
	c.digest = sync.OnceValue(c.sum)
	err := c.readFiles(f)
	if err == nil {
		err = c.attach(f)
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w %s: %w", ErrCheckpoint, name, err), c.Close())
	}
	return c, nil
}

func (c *Checkpoint) readFiles(f folder) (err error) {
	if c.rawConfig, err = fs.ReadFile(f, configFile); err != nil {
		return err
	}
	if c.Config, err = spec.ParseConfig(c.rawConfig); err != nil {
		return err
	}
	if c.Tokenizer, err = readOptional(f, tokenizerFile); err != nil {
		return err
	}
	c.Sidecar, err = readOptional(f, sidecarFile)
	return err
}

// readOptional gives nil for a file that is not there.
func readOptional(fsys fs.FS, name string) ([]byte, error) {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Weight finds a weight of the model. The tensor's bytes are read-only and valid
// until Close. Every weight of Config.Weights is there with its shape and an
// element type of F64, F32, F16 or BF16; for another one the error wraps
// ErrCheckpoint and says what is wrong with it.
func (c *Checkpoint) Weight(w spec.Weight) (safetensors.Tensor, error) {
	t, err := c.find(w)
	if err != nil {
		return safetensors.Tensor{}, fmt.Errorf("%w %s: %w", ErrCheckpoint, c.Name, err)
	}
	return t.Tensor, nil
}

func (c *Checkpoint) find(w spec.Weight) (located, error) {
	t, ok := c.tensors[w.Name]
	switch {
	case !ok:
		return t, fmt.Errorf("weight %q is missing", w.Name)
	case !slices.Equal(t.Shape, w.Shape):
		return t, fmt.Errorf("weight %q in %s has shape %v; %s asks for %v", w.Name, t.file, t.Shape, configFile, w.Shape)
	}
	switch t.DType {
	case safetensors.F64, safetensors.F32, safetensors.F16, safetensors.BF16:
		return t, nil
	}
	return t, fmt.Errorf("weight %q in %s holds %s; only F32, BF16, F16 and F64 can be run, so use the checkpoint from before it was quantised",
		w.Name, t.file, t.DType)
}

// DType is the element type of shared.weight, the largest tensor. Others may differ
// from it: transformers keeps some feed-forward weights in F32 beside F16.
func (c *Checkpoint) DType() safetensors.DType { return c.tensors[sharedWeight].DType }

// Unused lists, in order of their names, the tensors that are there but not part of
// the model. transformers ignores them with a warning, and so should the caller.
func (c *Checkpoint) Unused() []string { return c.unused }

// RememberDigests makes Digest keep the SHA-256 of each file of weights in a folder, as
// stamp.Sums does, and take it from there. It must come before the first Digest.
func (c *Checkpoint) RememberDigests(sums stamp.Sums) { c.sums = sums }

// Digest names what the model computes with: "sha256:" and the hexadecimal SHA-256
// of one line for config.json and then one for each file of weights in byte order
// of their names. A line is the file's own SHA-256, two spaces, its name and a
// newline, so that in the folder of a single-file checkpoint this command prints
// the same:
//
//	sha256sum config.json model.safetensors | sha256sum
//
// All the weights are read for it, once, at the first call, which must come before
// Close; a first call after it gives "".
func (c *Checkpoint) Digest() string { return c.digest() }

func (c *Checkpoint) sum() string {
	if c.shards == nil {
		return ""
	}
	total := sha256.New()
	fmt.Fprintf(total, "%x  %s\n", sha256.Sum256(c.rawConfig), configFile)
	for _, s := range c.shards {
		fmt.Fprintf(total, "%x  %s\n", c.sums.Of(s.file), s.name)
	}
	return "sha256:" + hex.EncodeToString(total.Sum(nil))
}

// Hold keeps the files mapped until release is called, even where Close comes first: what
// Weight has given can be used until then. ok is false for a checkpoint whose weights are
// not in mapped files, or that is closed.
func (c *Checkpoint) Hold() (release func() error, ok bool) {
	for _, s := range c.shards {
		if s.file.Info() == nil {
			return nil, false
		}
	}
	if len(c.shards) == 0 {
		return nil, false
	}
	f := c.files
	f.users.Add(1)
	return f.leave, true
}

// Close gives the memory of the weights back, unless somebody holds it. No tensor may be
// had from the checkpoint after it. A second Close does nothing.
func (c *Checkpoint) Close() error {
	if c.shards == nil {
		return nil
	}
	c.files.shards = c.shards
	c.shards, c.tensors = nil, nil
	return c.files.leave()
}

// files is what the checkpoint and those who hold it share. The last of them closes it.
type files struct {
	users  atomic.Int64
	shards []shard // from Close on
}

func (f *files) leave() error {
	if f.users.Add(-1) > 0 {
		return nil
	}
	var errs []error
	for _, s := range f.shards {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}
