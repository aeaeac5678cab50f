package registry

import (
	"context"
	"fmt"
	"slices"

	"valence/adapters"
	"valence/adapters/cache"
)

// look tells of a key of the cache, if it is in memory.
type look func(key string) (cache.Resident, bool)

// List tells of the base and then of every adapter, by id. It loads nothing.
func (r *Registry) List() []adapters.Info {
	resident := map[string]cache.Resident{}
	for _, x := range r.cache.Resident() {
		resident[x.Key] = x
	}
	at := func(key string) (cache.Resident, bool) {
		x, ok := resident[key]
		return x, ok
	}
	var out []adapters.Info
	for _, f := range r.fixed {
		out = append(out, f.info())
	}
	for _, record := range r.catalogue.all() {
		if r.fixed[record.ID] == nil {
			out = append(out, record.info(at))
		}
	}
	slices.SortFunc(out, func(a, b adapters.Info) int {
		switch {
		case a.ID == b.ID:
			return 0
		case a.ID == adapters.BaseID || (b.ID != adapters.BaseID && a.ID < b.ID):
			return -1
		}
		return 1
	})
	return out
}

// Info tells of one adapter, without loading or pulling it.
func (r *Registry) Info(_ context.Context, id string) (adapters.Info, error) {
	ref, err := adapters.ParseID(id)
	if err != nil {
		return adapters.Info{}, err
	}
	if ref.Revision != "" {
		return adapters.Info{}, fmt.Errorf("%w %q: give it without a revision", adapters.ErrID, id)
	}
	if f := r.fixed[ref.ID]; f != nil {
		return f.info(), nil
	}
	record := r.catalogue.get(ref.ID)
	if record == nil || len(record.versions) == 0 {
		return adapters.Info{}, unknown(ref)
	}
	return record.info(r.cache.Look), nil
}

func (f *fixed) info() adapters.Info {
	e := f.entry
	return adapters.Info{
		ID: e.ID, Fixed: true, Requests: f.requests.Load(),
		Versions: []adapters.Version{{
			Name: e.Version, Digest: e.Digest, Base: f.base, Source: adapters.SourceConfig, Sites: e.Sites, Parameters: e.Parameters,
			Sidecar: e.Sidecar, Active: true,
			Residency: adapters.Residency{Resident: true, ResidentBytes: bytesOf(e), Leases: int(f.leases.Load())},
		}},
	}
}

func (r *record) info(at look) adapters.Info {
	out := adapters.Info{ID: r.ID, Pinned: r.Pinned, Requests: r.requests.Load()}
	for _, v := range r.versions {
		out.Versions = append(out.Versions, v.info(v.Number == r.Active, at))
	}
	return out
}

func (v *version) info(active bool, at look) adapters.Version {
	out := adapters.Version{
		Name: v.name(), Digest: v.Digest, Base: v.Base, Source: adapters.Source(v.Source), Origin: v.Origin, Private: v.Private,
		Created: v.Created, Bytes: v.Bytes, Sites: v.Sites, Parameters: v.Parameters, Sidecar: v.sidecar, Active: active,
	}
	if x, ok := at(v.key); ok {
		out.Residency = adapters.Residency{Resident: true, ResidentBytes: x.Bytes, Leases: x.Leases}
	}
	return out
}
