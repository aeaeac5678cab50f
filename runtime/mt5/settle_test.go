package mt5

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// mapped is packed weights in memory that is not Go's.
type mapped struct {
	t       *testing.T
	weights map[string][]byte
	cut     bool // gives a byte too few
	closed  int
}

func (p *mapped) Packed(name string) ([]byte, bool) {
	data, ok := p.weights[name]
	if p.cut {
		data = data[1:]
	}
	return data, ok
}

// Close takes the memory away, so that whatever still reads it ends the test.
func (p *mapped) Close() error {
	p.closed++
	for _, data := range p.weights {
		if err := syscall.Mprotect(data[:cap(data)], syscall.PROT_NONE); err != nil {
			p.t.Error(err)
		}
	}
	return nil
}

func (p *mapped) keep(m *Model) {
	p.t.Helper()
	p.weights = map[string][]byte{}
	err := m.Packed(func(weights map[string][]byte) error {
		for name, data := range weights {
			room, err := syscall.Mmap(-1, 0, (len(data)+4095)/4096*4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
			if err != nil {
				return err
			}
			copy(room, data)
			p.weights[name] = room[:len(data)]
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// TestPacks holds a model whose packed weights come from where they were kept against the one
// that packed them, in every format, before and after they have settled.
func TestPacks(t *testing.T) {
	torchtest.OnCPU(t)
	for _, format := range []torch.Format{torch.PackedFloat32, torch.PackedBFloat16, torch.PackedFloat16, torch.PackedInt8, torch.PackedWideInt8} {
		t.Run(format.String(), func(t *testing.T) {
			if torch.Layout(format) == "" {
				t.Skip("this processor has no panels of it")
			}
			for _, variant := range variants {
				f, base := load(t, variant), open(t, variant)
				first := loadPacked(t, base.Config, base, format)
				kept := &mapped{t: t}
				kept.keep(first)
				second, _ := loadWith(t, base.Config, base, Options{DType: torch.Float32, Packed: format, Packs: kept})
				ids := []int32{5, 70, 101, 122, 48, 1}
				for _, when := range []string{"before", "after"} {
					for name, v := range f.adapters {
						if got, want := score(t, second, ids, v), score(t, first, ids, v); !equalBits(got, want) {
							t.Errorf("%s, %s settling, %s: %v, want %v", variant, when, name, got, want)
						}
					}
					if err := second.Settle(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if kept.closed != 1 {
					t.Errorf("closed %d times", kept.closed)
				}
			}
		})
	}
}

func equalBits(a, b []float32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// TestBadPacks wants the tensor named and the packs closed, once, whatever fails.
func TestBadPacks(t *testing.T) {
	torchtest.OnCPU(t)
	base := open(t, "mt5")
	kept := &mapped{t: t, cut: true}
	kept.keep(loadPacked(t, base.Config, base, torch.PackedFloat32))
	thread := torch.Start(torch.Options{Device: torch.CPU})
	if _, err := Load(ctx, thread, base.Config, base, Options{DType: torch.Float32, Packed: torch.PackedFloat32, Packs: kept}); err == nil || kept.closed != 1 {
		t.Errorf("%v, closed %d times", err, kept.closed)
	}
	if _, err := Load(ctx, thread, base.Config, base, Options{DType: torch.Float16, Packs: kept}); err == nil || kept.closed != 2 {
		t.Errorf("%v, closed %d times", err, kept.closed)
	}
	if err := thread.Close(); err != nil {
		t.Error(err)
	}
}

// TestSettleIsCut leaves a model that answers, and whose packs are closed with it.
func TestSettleIsCut(t *testing.T) {
	torchtest.OnCPU(t)
	f, base := load(t, "mt5"), open(t, "mt5")
	kept := &mapped{t: t}
	kept.keep(f.model)
	thread := torch.Start(torch.Options{Device: torch.CPU})
	m, err := Load(ctx, thread, base.Config, base, Options{DType: torch.Float32, Packed: torch.PackedFloat32, Packs: kept})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := m.Settle(over); !errors.Is(err, context.Canceled) || kept.closed != 0 {
		t.Errorf("%v, closed %d times", err, kept.closed)
	}
	ids := []int32{5, 70, 101, 1}
	if got, want := score(t, m, ids, nil), score(t, f.model, ids, (*spec.Vectors)(nil)); !equalBits(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := errors.Join(m.Close(ctx), thread.Close()); err != nil || kept.closed != 1 {
		t.Errorf("%v, closed %d times", err, kept.closed)
	}
}
