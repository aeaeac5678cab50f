package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"valence/adapters"
	"valence/adapters/cache"
	"valence/adapters/hub"
	"valence/adapters/peft"
	"valence/adapters/store"
)

// Pull makes what a repository of the Hub has at a revision a version here, whether or
// not adapters may be pulled on first use. Errors are those of Upload and of the Hub,
// and wrap adapters.ErrPullForbidden where there is no Hub.
func (r *Registry) Pull(ctx context.Context, p adapters.PullRequest) (adapters.Published, error) {
	id, err := r.localID(p.ID)
	if err != nil {
		return adapters.Published{}, err
	}
	if p.Repo == "" {
		p.Repo = id
		if v := r.catalogue.get(id).fromHub(); v != nil {
			p.Repo, _ = v.origin()
		}
	}
	published, err := r.pull(ctx, pull{id: id, repo: p.Repo, revision: p.Revision, token: p.Token, activate: p.Activate})
	if err == nil { // what could not be had before can be now
		r.flights.DropAll(func(key string) bool { return strings.HasPrefix(key, "pull "+id+" ") })
	}
	return published, err
}

// pull is one version to get from the Hub.
type pull struct {
	id       string // the adapter here
	repo     string
	revision string // branch, tag or commit; "" is the default branch
	token    string // the caller's own, or ""
	activate bool
	ifActive *int
}

func (r *Registry) pull(ctx context.Context, p pull) (_ adapters.Published, err error) {
	defer func() { r.metrics.pulled(err) }()
	if r.o.Hub == nil {
		return adapters.Published{}, fmt.Errorf("%w: the server has no Hub", adapters.ErrPullForbidden)
	}
	snapshot, err := r.o.Hub.Snapshot(ctx, adapters.Ref{ID: p.repo, Revision: p.revision}, hub.AdapterFiles(), p.token)
	if err != nil {
		return adapters.Published{}, err
	}
	c, err := r.snapshotCandidate(ctx, p, snapshot)
	if err != nil {
		return adapters.Published{}, err
	}
	defer r.discard(c)
	published, err := r.publish(ctx, c)
	if err != nil {
		return adapters.Published{}, err
	}
	r.o.Log.InfoContext(ctx, "pulled an adapter", "adapter", p.id, "version", published.Version, "new", published.New,
		"repo", p.repo, "commit", snapshot.Commit)
	// The version tells of one commit, and others have the same content: they differ in
	// their cards.
	number, _ := versionNumber(published.Version)
	r.revisions.put(p.id+"@"+snapshot.Commit, number, 0)
	r.revisions.put(pullKey(p.id, p.revision, p.token), number, askedFor)
	return published, nil
}

// pullKey names what a caller with a token means by a revision.
func pullKey(id, revision, token string) string {
	return "pull " + id + " " + revision + " " + tokenHash(token)
}

func (r *Registry) snapshotCandidate(ctx context.Context, p pull, s *hub.Snapshot) (candidate, error) {
	files, closeFiles, err := s.Open()
	if err != nil {
		return candidate{}, err
	}
	c, err := r.candidate(ctx, p.id, files)
	if errClose := closeFiles(); err == nil && errClose != nil {
		r.discard(c)
		err = errClose
	}
	if err != nil {
		return candidate{}, err
	}
	c.source, c.origin = store.SourceHub, p.repo+"@"+s.Commit
	c.activate, c.ifActive = p.activate, p.ifActive
	// What the server itself may read is not private, whoever had it pulled.
	c.private = p.token != "" && r.mayRead(ctx, p.repo, "") != nil
	return c, nil
}

// pullFirst gets a version that somebody asks for and that is not here. All who ask for
// it at once with the same token wait for one pull. What cannot be had is remembered.
func (r *Registry) pullFirst(ctx context.Context, ref adapters.Ref, repo, token string) (*version, error) {
	key := pullKey(ref.ID, ref.Revision, token)
	if n, ok := r.revisions.get(key); ok && ref.Revision != "" {
		if v := r.catalogue.get(ref.ID).number(n); v != nil {
			return v, nil
		}
	}
	lease, err := r.flights.Lease(ctx, key, flight(func(ctx context.Context) (int, error) {
		if ref.Revision == "" {
			return r.pullDefault(ctx, ref, repo, token)
		}
		return r.pullRevision(ctx, ref, repo, token)
	}))
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	if ref.Revision != "" {
		r.revisions.put(key, lease.Value(), askedFor)
	}
	if v := r.catalogue.get(ref.ID).number(lease.Value()); v != nil {
		return v, nil
	}
	return nil, unknown(ref) // deleted in the same moment
}

// pullDefault gets the default branch and activates it, unless another version has been
// activated meanwhile, which then counts.
func (r *Registry) pullDefault(ctx context.Context, ref adapters.Ref, repo, token string) (int, error) {
	if v := r.catalogue.get(ref.ID).active(); v != nil { // by a pull that has just ended
		return v.Number, nil
	}
	none := 0
	published, err := r.pull(ctx, pull{id: ref.ID, repo: repo, token: token, activate: true, ifActive: &none})
	if errors.Is(err, adapters.ErrConflict) {
		if err := r.refresh(ctx, ref.ID, 0); err != nil {
			return 0, err
		}
		if v := r.catalogue.get(ref.ID).active(); v != nil {
			return v.Number, nil
		}
	}
	number, _ := versionNumber(published.Version)
	return number, err
}

// pullRevision gets a branch, tag or commit, unless its commit is here.
func (r *Registry) pullRevision(ctx context.Context, ref adapters.Ref, repo, token string) (int, error) {
	commit, err := r.o.Hub.Resolve(ctx, adapters.Ref{ID: repo, Revision: ref.Revision}, token)
	if err != nil {
		return 0, err
	}
	record := r.catalogue.get(ref.ID)
	if v := record.commit(commit); v != nil {
		return v.Number, nil
	}
	if n, ok := r.revisions.get(ref.ID + "@" + commit); ok && record.number(n) != nil {
		return n, nil
	}
	published, err := r.pull(ctx, pull{id: ref.ID, repo: repo, revision: ref.Revision, token: token})
	number, _ := versionNumber(published.Version)
	return number, err
}

// flight makes a load of what only its success and its result are wanted of.
func flight(f func(ctx context.Context) (int, error)) cache.Load[int] {
	return func(ctx context.Context) (cache.Loaded[int], error) {
		n, err := f(ctx)
		return cache.Loaded[int]{Value: n, Bytes: 1, Source: "hub"}, err
	}
}

// pullOutcome is what a metric calls the end of a pull.
func pullOutcome(err error) string {
	for _, o := range []struct {
		kind error
		name string
	}{
		{nil, "done"}, {hub.ErrNotFound, "not_found"}, {hub.ErrUnauthorized, "unauthorized"}, {hub.ErrGated, "unauthorized"},
		{hub.ErrRateLimited, "rate_limited"}, {hub.ErrOffline, "offline"}, {hub.ErrUnavailable, "unavailable"}, {hub.ErrCorrupt, "corrupt"},
		{peft.ErrAdapter, "invalid"}, {adapters.ErrSidecar, "invalid"}, {adapters.ErrCanary, "failed_self_test"},
	} {
		if errors.Is(err, o.kind) {
			return o.name
		}
	}
	return "failed"
}
