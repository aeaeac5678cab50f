package registry

import (
	"context"
	"fmt"
	"strings"

	"valence/adapters"
)

// find gives what a reference stands for to a caller with a token for the Hub, or
// without one. It pulls what is not here, where that is allowed.
func (r *Registry) find(ctx context.Context, s, token string) (source, error) {
	if s == "" {
		return ofFixed(r.base), nil
	}
	ref, err := adapters.ParseID(s)
	if err != nil {
		return source{}, err
	}
	if f := r.fixed[ref.ID]; f != nil {
		return f.find(ref)
	}
	if strings.HasPrefix(ref.Revision, jobRevision) {
		return r.findLive(ctx, ref)
	}
	record := r.catalogue.get(ref.ID)
	v, err := record.choose(ref)
	if err != nil {
		return source{}, err
	}
	if v == nil {
		if v, err = r.fromHub(ctx, record, ref, token); err != nil {
			return source{}, err
		}
		if record = r.catalogue.get(ref.ID); record == nil { // deleted in the same moment
			return source{}, unknown(ref)
		}
	}
	if err := r.allow(ctx, v, ref, token); err != nil {
		return source{}, err
	}
	return ofVersion(record, v), nil
}

func (f *fixed) find(ref adapters.Ref) (source, error) {
	e := f.entry
	if ref.Revision != "" && ref.Revision != e.Version && !adapters.IsDigestPrefix(ref.Revision, e.Digest) {
		return source{}, unknown(ref)
	}
	return ofFixed(f), nil
}

// unknown is the error of what is not here, and of what a caller may not know of.
func unknown(ref adapters.Ref) error { return fmt.Errorf("%w: %q", adapters.ErrNotFound, ref) }

// choose gives the version that a reference to an adapter stands for, which may be nil,
// or nil where it is not here. More than one that begins as asked is an error.
func (r *record) choose(ref adapters.Ref) (*version, error) {
	revision := ref.Revision
	if revision == "" {
		return r.active(), nil
	}
	if n, ok := versionNumber(revision); ok {
		return r.number(n), nil
	}
	if v := r.commit(revision); v != nil {
		return v, nil
	}
	return r.byDigest(ref)
}

func (r *record) byDigest(ref adapters.Ref) (*version, error) {
	begins := func(v *version) bool { return adapters.IsDigestPrefix(ref.Revision, v.Digest) }
	found := r.last(begins)
	other := r.last(func(v *version) bool { return v != found && begins(v) })
	switch {
	case other == nil:
		return found, nil
	case r.open():
		return nil, fmt.Errorf("%w: the digests of %s and %s both begin so; give more digits", unknown(ref), other.name(), found.name())
	}
	return nil, unknown(ref)
}

// local is choose for changes: what is not here is an error, and nothing is pulled.
func (r *Registry) local(ref adapters.Ref) (*version, error) {
	v, err := r.catalogue.get(ref.ID).choose(ref)
	if err == nil && v == nil {
		err = unknown(ref)
	}
	return v, err
}

// remote tells which repository of the Hub an adapter is from, if a revision that is not
// here may be one of the Hub's: names of versions never are, nor is what holds ":", which
// git allows in none.
func (r *Registry) remote(record *record, ref adapters.Ref) (repo string, ok bool) {
	if _, ours := versionNumber(ref.Revision); ours || strings.Contains(ref.Revision, ":") {
		return "", false
	}
	if v := record.fromHub(); v != nil {
		repo, _ = v.origin()
		return repo, true
	}
	known := record != nil && len(record.versions) > 0
	return ref.ID, !known && isRepo(ref.ID)
}

// fromHub pulls a version that is not here, or finds that another name of it is.
func (r *Registry) fromHub(ctx context.Context, record *record, ref adapters.Ref, token string) (*version, error) {
	repo, ok := r.remote(record, ref)
	if !ok {
		return nil, unknown(ref)
	}
	if r.o.Hub == nil || !r.o.HubPull {
		return nil, r.absent(ref)
	}
	v, err := r.pullFirst(ctx, ref, repo, token)
	if err != nil && record != nil && !record.open() {
		err = r.hide(ctx, err, ref, repo, token)
	}
	return v, err
}
