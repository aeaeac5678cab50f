package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"valence/runtime/mt5"
	"valence/runtime/packcache"
)

// packs is where the packed weights of a base are kept in the user's cache.
type packs struct {
	cache        packcache.Cache
	base, layout string
	used         bool // the model has them
	log          *slog.Logger
}

// openPacks lets the model use what was kept. It gives nil where nothing can be: on a GPU, on
// a processor whose weights libtorch lays out, and for the base in the binary, which is small.
func (s *stack) openPacks(o *mt5.Options, log *slog.Logger) *packs {
	folder, err := os.UserCacheDir()
	if err != nil || s.base.Name == builtinBase || s.thread.Device().IsCUDA() || o.Packed == 0 {
		return nil
	}
	layout := mt5.Layout(s.base.Config, o.Packed)
	if layout == "" {
		return nil
	}
	p := &packs{
		cache: packcache.Cache{Folder: filepath.Join(folder, "valence", "packed"), Sums: sums(folder, log)},
		base:  s.base.Digest(), layout: layout, log: log,
	}
	file, err := p.cache.Open(p.base, p.layout)
	switch {
	case err == nil:
		o.Packs, p.used = file, true
	case !errors.Is(err, fs.ErrNotExist):
		log.Warn("the kept packed weights are not used, and made anew", "error", err)
	}
	return p
}

// settle moves weights that were kept to where they are read faster, or keeps those that were
// packed for this start. It is begun when all else is ready, and the model is not closed
// before it ends.
func (p *packs) settle(ctx context.Context, m *mt5.Model) {
	if p == nil {
		return
	}
	if p.used {
		if err := m.Settle(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("the weights stay in small pages, where they are read slowly", "error", err)
		}
		return
	}
	err := m.Packed(func(weights map[string][]byte) error {
		var all []packcache.Weight
		for _, name := range slices.Sorted(maps.Keys(weights)) {
			all = append(all, packcache.Weight{Name: name, Data: weights[name]})
		}
		return p.cache.Save(context.WithoutCancel(ctx), p.base, p.layout, all) // a start that ends soon shall not do it again each time
	})
	if err != nil {
		p.log.Warn("the packed weights are not kept: the next start packs them again", "error", err)
		return
	}
	p.log.Info("kept the packed weights for the next start", "folder", p.cache.Folder)
}
