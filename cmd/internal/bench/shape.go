package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sync/errgroup"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

// shapes are the large bases: made-up weights, since speed does not depend on them.
var shapes = map[string]spec.Config{
	"mt0-large": shape(250112, 1024, 64, 2816, 24, 16),
	"tiny":      shape(26000, 64, 16, 128, 2, 4),
}

func shape(vocabulary, width, head, ff, layers, heads int) spec.Config {
	return spec.Config{
		ModelType: "mt5", VocabSize: vocabulary, DModel: width, DKV: head, DFF: ff, EncoderLayers: layers, DecoderLayers: layers, Heads: heads,
		Buckets: 32, MaxDistance: 128, Epsilon: 1e-6, Dropout: 0.1, Gated: true, Activation: spec.GELUNew, EOSID: 1,
	}
}

// large opens the large base, which is made first if the cache has none. Its tokenizer is
// the builtin base's.
func (r *run) large(ctx context.Context) (_ *checkpoint.Checkpoint, folder string, err error) {
	folder = filepath.Join(r.o.Cache, "bench", r.o.Large)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		if err := r.lock.prepare(ctx); err != nil {
			return nil, "", err
		}
		r.doing("writing %s, once", folder)
		if err := writeShape(ctx, folder, shapes[r.o.Large]); err != nil {
			return nil, "", fmt.Errorf("writing the large base: %w", err)
		}
		debug.FreeOSMemory() // gigabytes that models and peers need now
	}
	base, err := checkpoint.Open(folder)
	return base, folder, err
}

// small opens the builtin base, and gives a folder of its files for the peers.
func (r *run) small() (_ *checkpoint.Checkpoint, folder string, err error) {
	folder = filepath.Join(r.dir, "builtin")
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		if err := os.CopyFS(folder, builtin.Base()); err != nil {
			return nil, "", err
		}
	}
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	return base, folder, err
}

// writeShape writes a checkpoint with random bfloat16 weights. The folder appears whole or
// not at all.
func writeShape(ctx context.Context, folder string, config spec.Config) error {
	unfinished := folder + ".unfinished"
	if err := errors.Join(os.RemoveAll(unfinished), os.MkdirAll(unfinished, 0o755)); err != nil {
		return err
	}
	text, err := config.MarshalJSON()
	if err != nil {
		return err
	}
	tokenizer, err := fs.ReadFile(builtin.Base(), "tokenizer.json")
	if err != nil {
		return err
	}
	tensors, err := randomTensors(ctx, &config)
	if err != nil {
		return err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(unfinished, "config.json"), text, 0o644),
		os.WriteFile(filepath.Join(unfinished, "tokenizer.json"), tokenizer, 0o644),
		writeTensors(filepath.Join(unfinished, "model.safetensors"), tensors),
	)
	if err != nil {
		return err
	}
	return os.Rename(unfinished, folder)
}

func writeTensors(path string, tensors []safetensors.Tensor) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, 1<<20)
	if err := safetensors.Write(out, tensors, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	return out.Flush()
}

func randomTensors(ctx context.Context, config *spec.Config) ([]safetensors.Tensor, error) {
	weights := config.Weights()
	out := make([]safetensors.Tensor, len(weights))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.NumCPU())
	for i, w := range weights {
		work.Go(func() error {
			out[i] = safetensors.Tensor{Name: w.Name, DType: safetensors.BF16, Shape: w.Shape, Data: randomWeight(config, w)}
			return ctx.Err()
		})
	}
	return out, work.Wait()
}

// randomWeight draws a weight as transformers begins a T5: the products' results then have
// the size that a trained model's have. It is the same one each time.
func randomWeight(config *spec.Config, w spec.Weight) []byte {
	n := 1
	for _, d := range w.Shape {
		n *= int(d)
	}
	seed := fnv.New64a()
	_, _ = seed.Write([]byte(w.Name)) // a hash takes all
	random := rand.New(rand.NewPCG(seed.Sum64(), 0))
	scale := scaleOf(config, w.Name)
	out := make([]byte, 2*n)
	for i := range n {
		x := 1.0
		if scale != 0 {
			x = scale * random.NormFloat64()
		}
		binary.LittleEndian.PutUint16(out[2*i:], uint16(math.Float32bits(float32(x))>>16))
	}
	return out
}

// scaleOf is the standard deviation of a weight's numbers; 0 for those that are all 1.
func scaleOf(config *spec.Config, name string) float64 {
	width, inner := float64(config.DModel), float64(config.DInner())
	switch {
	case strings.HasSuffix(name, "layer_norm.weight"):
		return 0
	case name == "shared.weight", name == "lm_head.weight":
		return 1
	case strings.HasSuffix(name, ".q.weight"):
		return 1 / math.Sqrt(width*float64(config.DKV))
	case strings.HasSuffix(name, ".o.weight"):
		return 1 / math.Sqrt(inner)
	case strings.HasSuffix(name, ".wo.weight"):
		return 1 / math.Sqrt(float64(config.DFF))
	default: // k, v, wi and the position bias
		return 1 / math.Sqrt(width)
	}
}
