package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"valence/adapters"
	"valence/adapters/hub"
)

// probe is what a token is tried on: to learn whether a repository has the file takes
// the right to read it.
func probe() []hub.File {
	return []hub.File{{Names: []string{"adapter_config.json"}, Need: hub.Optional}}
}

// allow tells whether a caller may use a version. A private one is for those whose own
// token the Hub accepts for its repository, or for all if it accepts the server's. To
// others it looks as if it did not exist.
func (r *Registry) allow(ctx context.Context, v *version, ref adapters.Ref, token string) error {
	if !v.Private {
		return nil
	}
	if r.o.Hub == nil || r.o.HubOffline {
		return r.absent(ref)
	}
	repo, _ := v.origin()
	err := r.mayRead(ctx, repo, token)
	if err != nil && token != "" && r.mayRead(ctx, repo, "") == nil {
		err = nil
	}
	if err == nil {
		return nil
	}
	if !lasting(err) { // not the caller's doing, and what the caller gets may not tell it
		r.o.Log.WarnContext(ctx, "cannot ask the Hub who may read a repository", "adapter", ref.ID, "error", err)
	}
	return r.hide(ctx, err, ref, repo, token)
}

// mayRead asks the Hub whether a token may read a repository, at most once a while.
func (r *Registry) mayRead(ctx context.Context, repo, token string) error {
	key := "read " + tokenHash(token) + " " + repo
	if _, ok := r.granted.get(key); ok {
		return nil
	}
	lease, err := r.flights.Lease(ctx, key, flight(func(ctx context.Context) (int, error) {
		_, err := r.o.Hub.Snapshot(ctx, adapters.Ref{ID: repo}, probe(), token)
		return 0, err
	}))
	if err != nil {
		return err
	}
	lease.Release()
	r.granted.put(key, struct{}{}, askedFor)
	return nil
}

// hide makes the error that a caller would get if an adapter were not here at all: that
// of the Hub, if it would be asked, for the repository of the adapter's name. The given
// error is the Hub's about the repository that the adapter is from.
func (r *Registry) hide(ctx context.Context, err error, ref adapters.Ref, repo, token string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, asked := r.remote(nil, ref); !asked || !r.o.HubPull {
		return r.absent(ref)
	}
	if repo != ref.ID {
		err = r.mayRead(ctx, ref.ID, token)
	}
	refused, ok := errors.AsType[*hub.Error](err)
	switch {
	case err == nil:
		return unknown(ref)
	case !ok: // of what was given, such as a token that no header can carry
		return err
	}
	hidden := *refused
	if ref.Revision != "" {
		hidden.Revision = ref.Revision
	}
	return &hidden
}

// absent is the error of what is not here and not looked for on the Hub.
func (r *Registry) absent(ref adapters.Ref) error {
	if _, remote := r.remote(nil, ref); !remote || (r.o.Hub != nil && r.o.HubPull) {
		return unknown(ref)
	}
	return fmt.Errorf("%w; %w on first use: have it pulled by POST /v1/adapters/%s/pull, or let the server pull (--hub-pull)",
		unknown(ref), adapters.ErrPullForbidden, ref.ID)
}

// tokenHash names a token in memory, where the token itself must not lie.
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
