package mt5

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
	"valence/runtime/torch"
)

// Weights gives a checkpoint's tensors, their shape checked.
type Weights interface {
	Weight(w spec.Weight) (safetensors.Tensor, error)
}

// Holder is Weights whose data can be kept where it is.
type Holder interface {
	Weights
	// Hold keeps the data, in memory that is not Go's, until release is called, once. ok
	// is false where it cannot be kept.
	Hold() (release func() error, ok bool)
}

// Packs has weights that were packed before for this processor, as Model.Packed gave them.
type Packs interface {
	// Packed is the weight of the checkpoint's tensor of that name, in memory that is not
	// Go's, until Close.
	Packed(name string) ([]byte, bool)
	Close() error
}

// Options configures a Model.
type Options struct {
	// DType is the type of activations, and of weights where Packed is 0: torch.Float32
	// or torch.BFloat16. Activations of this family overflow float16.
	DType torch.DType
	// Packed, if not 0, is how the projections' weights are multiplied on a CPU, with
	// activations in float32. torch.PackedFloat32 is what 0 gives, faster where the
	// processor has the kernels for it; torch.PackedInt8 is torch.PackedWideInt8 for a base
	// that asks for it.
	Packed torch.Format
	// Packs, if any, are used in place of what would be packed. The Model closes them, also
	// where Load fails.
	Packs Packs
	// TableBytes bounds the device memory for adapters, unless one batch alone
	// needs more. 0 means DefaultTableBytes, and CUDATableBytes on a GPU.
	TableBytes int64
	// Log, if any, is told what makes the model slower than it could be.
	Log *slog.Logger
	// Progress, if any, is told the bytes loaded so far and in all.
	Progress func(done, total int64)
}

// stored is the type that matrices are kept in that are not packed: what the decoder's first
// step reads, and where nothing is packed all of them.
func (o Options) stored() torch.DType {
	switch o.Packed {
	case 0, torch.PackedFloat32:
		return o.DType
	case torch.PackedFloat16, torch.PackedWideInt8: // which bfloat16 would make less exact
		return torch.Float16
	default:
		return torch.BFloat16
	}
}

// slow tells the log, once, why batches are not recorded.
func (o Options) slow() func(why string) {
	var once sync.Once
	return func(why string) {
		once.Do(func() {
			if o.Log != nil {
				o.Log.Warn("small batches are not recorded any more, and take longer", "reason", why)
			}
		})
	}
}

// DefaultTableBytes keeps about 220 adapters of mt0-large on the device, and CUDATableBytes
// more than a thousand: to a GPU they come by a bus. Only what is used is taken.
const (
	DefaultTableBytes = 256 << 20
	CUDATableBytes    = 2 << 30
)

// Model is a frozen base on a device and the table of the adapters that rows use.
// Its methods may be called from any goroutine: the work happens on the thread.
type Model struct {
	config *spec.Config
	thread *torch.Thread
	dtype  torch.DType
	packed torch.Format
	stored torch.DType      // of the matrices that are not packed
	gpu    torch.GPU        // the forward as a whole, in bfloat16 on a GPU
	placed placed           // what gpu was told last
	slow   func(why string) // tells once that gpu records no more

	release   func() error // of the files that shared and head stay in, or nil
	packs     Packs        // that weights stay in, or nil
	owned     *torch.Scope // every tensor below, and the table's
	shared    torch.Tensor // [vocab, D], stored, or as the checkpoint has it beside packed weights
	head      torch.Tensor // [vocab, D] likewise; shared itself when tied
	headScale torch.Tensor // [1], when tied
	whole     torch.Packed // the head, from the first time on that all of it is read, where weights are packed
	encoder   stack
	decoder   stack
	table     *table
	bytes     atomic.Int64
}

// linear is one projection and its number in spec.Config.Linears.
type linear struct {
	w      torch.Tensor // [out, in]; none where it is packed and nothing else reads it
	packed torch.Packed // the same, where the model packs its weights
	heads  torch.Packed // the same head by head, where the decoder's first step absorbs it
	id     int
}

type attention struct {
	q, k, v, o linear
	qkv, kv    torch.Tensor // [3 inner, D] and [2 inner, D], where the model has a GPU's forward: parts are q, k and v, or k and v that have another input
}

// feedForward is gated (wi0, wi1, wo) or plain (wi0, wo).
type feedForward struct {
	wi0, wi1, wo linear
	wi           torch.Tensor // [2 FF or FF, D]: wi0 and wi1 are its parts, where the model has a GPU's forward
}

type block struct {
	selfNorm, crossNorm, ffNorm torch.Tensor // [D]
	self, cross                 attention
	ff                          feedForward
}

type stack struct {
	blocks    []block
	finalNorm torch.Tensor // [D]
	bias      positionBias
}

// Load copies the weights to the thread's device. On a CPU with packed weights, the
// embeddings and the head stay in the checkpoint's files where these can be held. Errors
// name the tensor.
func Load(ctx context.Context, thread *torch.Thread, config *spec.Config, weights Weights, o Options) (*Model, error) {
	m, err := newModel(ctx, thread, config, weights, o)
	if err != nil && o.Packs != nil {
		err = errors.Join(err, o.Packs.Close())
	}
	return m, err
}

func newModel(ctx context.Context, thread *torch.Thread, config *spec.Config, weights Weights, o Options) (*Model, error) {
	if o.DType != torch.Float32 && o.DType != torch.BFloat16 {
		return nil, fmt.Errorf("mt5: dtype %v is not supported: float32 or bfloat16", o.DType)
	}
	if o.Packed != 0 && (o.DType != torch.Float32 || thread.Device().IsCUDA()) {
		return nil, fmt.Errorf("mt5: packed weights are for float32 activations on a CPU")
	}
	o.Packed = packedFor(config, o.Packed)
	if o.Packed == torch.PackedFloat32 && !torch.CanPack(o.Packed) {
		o.Packed = 0
	}
	switch {
	case o.TableBytes != 0:
	case thread.Device().IsCUDA():
		o.TableBytes = CUDATableBytes
	default:
		o.TableBytes = DefaultTableBytes
	}
	m := &Model{config: config, thread: thread, dtype: o.DType, packed: o.Packed, stored: o.stored(), packs: o.Packs, slow: o.slow()}
	err := thread.Do(ctx, torch.Serving, func(s *torch.Scope) error {
		m.owned = s.NewScope()
		l := &loader{ctx: ctx, m: m, weights: weights, progress: o.Progress, all: config.Parameters()}
		err := l.load(o)
		s.Synchronize() // training reads what is loaded for serving
		if err = cmp.Or(err, s.Err()); err != nil {
			m.packs = nil // which the caller closes
			err = errors.Join(err, m.free())
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mt5: load: %w", err)
	}
	return m, nil
}

// Config is the model's architecture.
func (m *Model) Config() *spec.Config { return m.config }

// Precision names the type that the projections are computed in.
func (m *Model) Precision() string {
	if m.packed != 0 {
		return m.packed.String()
	}
	return m.dtype.String()
}

// Bytes is the device memory of the weights, those that stay in files not counted.
func (m *Model) Bytes() int64 { return m.bytes.Load() }

// Close frees everything on the device.
func (m *Model) Close(ctx context.Context) error {
	return m.thread.Do(ctx, torch.Serving, func(s *torch.Scope) error {
		s.Synchronize()
		m.table.owned.Free()
		return m.free()
	})
}

func (m *Model) free() error {
	m.owned.Free()
	err := m.closePacks()
	if m.release == nil {
		return err
	}
	release := m.release
	m.release = nil
	return errors.Join(err, release())
}

func (m *Model) closePacks() error {
	if m.packs == nil {
		return nil
	}
	packs := m.packs
	m.packs = nil
	return packs.Close()
}

// Drop forgets adapters' copies on the device, where there are any. A batch that has
// them and comes later brings them back.
func (m *Model) Drop(ctx context.Context, vectors ...*spec.Vectors) error {
	return m.thread.Do(ctx, torch.Serving, func(*torch.Scope) error {
		for _, v := range vectors {
			m.table.drop(v)
		}
		return nil
	})
}

// Copies tells how many adapters have a copy on the device, and for how many the table
// there has room. It may be asked at any time.
func (m *Model) Copies() (used, slots int) {
	return int(m.table.copies.Load()), max(0, int(m.table.height.Load())-1)
}
