package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"valence/adapters"
	"valence/adapters/cache"
	"valence/runtime/mt5/spec"
)

// Lease gives what shall answer a row, ready, until it is released. It may have to be
// loaded, mixed or pulled first, which all who ask at that moment wait for together.
//
// Errors wrap adapters.ErrID, ErrNotFound, ErrBlend, ErrWrongBase, ErrCanary,
// ErrSidecar, peft.ErrAdapter, store.ErrCorrupt, or are those of the Hub.
func (r *Registry) Lease(ctx context.Context, q adapters.Query) (*adapters.Lease, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	parts := make([]blendPart, len(q.Parts))
	for i, p := range q.Parts {
		s, err := r.find(ctx, p.Ref, q.HubToken)
		if err != nil {
			return nil, err
		}
		parts[i] = blendPart{s, p.Weight}
	}
	lease, err := r.holdBlend(ctx, parts, q.Strength)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		p.source.count.Add(1)
	}
	return lease, nil
}

// Resident leases the active versions that are in memory now: those of the
// configuration and of the store, by id, but for the base, which changes nothing, and
// for private ones, which are not for everybody. The caller releases them.
func (r *Registry) Resident() []*adapters.Lease {
	var out []*adapters.Lease
	for _, f := range r.fixed {
		if f != r.base {
			out = append(out, f.lease())
		}
	}
	for _, record := range r.catalogue.all() {
		v := record.active()
		if v == nil || v.Private || r.fixed[record.ID] != nil {
			continue
		}
		if l, ok := r.cache.Held(v.key); ok {
			out = append(out, adapters.NewLease(l.Value(), l.Release))
		}
	}
	slices.SortFunc(out, func(a, b *adapters.Lease) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// blendPart is a source and its share.
type blendPart struct {
	source source
	weight float64
}

// holdBlend leases a mixture, or the only part as it is.
func (r *Registry) holdBlend(ctx context.Context, parts []blendPart, strength float64) (*adapters.Lease, error) {
	if len(parts) == 1 && strength == 1 {
		return r.hold(ctx, parts[0].source)
	}
	return r.lease(ctx, blendKey(parts, strength), func(ctx context.Context) (cache.Loaded[*adapters.Entry], error) {
		return r.mix(ctx, parts, strength)
	})
}

// mix makes a mixture. Its parts are leased meanwhile.
func (r *Registry) mix(ctx context.Context, parts []blendPart, strength float64) (out cache.Loaded[*adapters.Entry], err error) {
	entries := make([]*adapters.Entry, len(parts))
	for i, p := range parts {
		lease, err := r.hold(ctx, p.source)
		if err != nil {
			return out, err
		}
		defer lease.Release()
		entries[i] = lease.Entry
	}
	vectors, err := blendVectors(entries, parts, strength)
	if err != nil {
		return out, err
	}
	e := blended(entries, parts, strength)
	e.Vectors = vectors
	if vectors != nil {
		e.Sites, e.Parameters = len(vectors.Sites), len(vectors.Data)
	}
	task := e.Sidecar.TaskSpec(vectors)
	task.Digest = blendDigest(entries, parts, strength)
	if e.Task, err = r.o.Engine.NewTask(task); err != nil {
		return out, err
	}
	return loaded(e, "blend"), nil
}

func blendVectors(entries []*adapters.Entry, parts []blendPart, strength float64) (*spec.Vectors, error) {
	if err := alike(entries); err != nil {
		return nil, fmt.Errorf("%w: %w", adapters.ErrBlend, err)
	}
	vectors := make([]adapters.Part, len(parts))
	for i, e := range entries {
		vectors[i] = adapters.Part{Vectors: e.Vectors, Weight: parts[i].weight}
	}
	return adapters.Blend(vectors, strength)
}

// blended is the mixture of entries but for its vectors and task. Its temperature and
// its threshold are the weighted means.
func blended(entries []*adapters.Entry, parts []blendPart, strength float64) *adapters.Entry {
	first := entries[0]
	e := &adapters.Entry{
		Sidecar: adapters.Sidecar{Format: adapters.SidecarFormat, Labels: first.Sidecar.Labels, Template: first.Sidecar.Template},
		Blend:   &adapters.Blended{Strength: strength},
	}
	if len(entries) == 1 {
		e.ID, e.Version, e.Digest = first.ID, first.Version, first.Digest
	}
	for i, part := range entries {
		w := parts[i].weight
		e.Sidecar.Temperature += w * part.Sidecar.Temperature
		e.Sidecar.AbstainBelow += w * part.Sidecar.AbstainBelow
		e.Blend.Parts = append(e.Blend.Parts, adapters.BlendedPart{ID: part.ID, Version: part.Version, Digest: part.Digest, Weight: w})
	}
	e.Sidecar.AbstainBelow = min(e.Sidecar.AbstainBelow, 1) // the weights may sum to a little more
	return e
}

// alike tells whether entries read texts in the same way and for the same labels. The
// labels may come in any order.
func alike(entries []*adapters.Entry) error {
	first := entries[0]
	for _, e := range entries[1:] {
		if len(e.Sidecar.Labels) != len(first.Sidecar.Labels) || slices.ContainsFunc(e.Sidecar.Labels, func(l adapters.Label) bool {
			return !slices.Contains(first.Sidecar.Labels, l)
		}) {
			return fmt.Errorf("%s has the labels %s, and %s %s", first.ID, labels(first), e.ID, labels(e))
		}
		if e.Sidecar.Template != first.Sidecar.Template {
			return fmt.Errorf("%s has the template %q, and %s %q", first.ID, first.Sidecar.Template, e.ID, e.Sidecar.Template)
		}
	}
	return nil
}

// labels lists an entry's labels for an error: each name, and its verbaliser where that
// is another word.
func labels(e *adapters.Entry) string {
	out := ""
	for _, l := range e.Sidecar.Labels {
		if out != "" {
			out += ", "
		}
		out += l.Name
		if l.Verbaliser != l.Name {
			out += fmt.Sprintf(" (%q)", l.Verbaliser)
		}
	}
	return out
}
