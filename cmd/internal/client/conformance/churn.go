package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"valence/cmd/internal/client"
)

// changers is how many changes are asked for at the same time.
const changers = 2

// changePause is how long a changer rests on average, so that changes are a background
// and not the load.
const changePause = 100 * time.Millisecond

// churn changes adapters until until is closed. A change that was asked for is waited for.
func (r *run) churn(ctx context.Context, until <-chan struct{}) {
	var wg sync.WaitGroup
	for n := range changers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(r.Seed^0xC0FFEE, uint64(n)))
			pick := r.picker(random, r.subjects)
			for ctx.Err() == nil {
				r.changeOne(ctx, r.toChange(random, pick), random)
				select {
				case <-until:
					return
				case <-time.After(time.Duration(random.Int64N(int64(2*r.pause) + 1))):
				}
			}
		})
	}
	wg.Wait()
}

// toChange prefers what is asked most, and what is pulled, but takes every adapter at
// some time.
func (r *run) toChange(random *rand.Rand, pick func() *subject) *subject {
	last := r.subjects[len(r.subjects)-1]
	switch k := random.IntN(10); {
	case k < 2 && last.hub != "":
		return last
	case k < 6:
		return pick()
	default:
		return r.subjects[random.IntN(len(r.subjects))]
	}
}

// changeOne makes a random change that what there is allows, unless another changer has
// the adapter. A change that fails is in the report.
func (r *run) changeOne(ctx context.Context, s *subject, random *rand.Rand) {
	if !s.changing.TryLock() {
		return
	}
	defer s.changing.Unlock()
	now := s.timeline.now()
	if len(now) != 1 {
		return // a change's outcome is not known
	}
	_ = r.anyChange(ctx, s, now[0], random)
}

func (r *run) anyChange(ctx context.Context, s *subject, now snapshot, random *rand.Rand) error {
	v := random.IntN(len(s.variants))
	if now.active == "" {
		return r.publish(ctx, s, v, true)
	}
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(now.versions)), func(v string) bool { return v == now.active })
	switch k := random.IntN(20); {
	case k < 5 && len(others) > 0:
		return r.activate(ctx, s, others[random.IntN(len(others))])
	case k < 7 && len(others) > 0:
		return r.deleteVersion(ctx, s, others[random.IntN(len(others))])
	case k < 12:
		return r.publish(ctx, s, v, random.IntN(3) > 0)
	case k < 15:
		return r.rollback(ctx, s)
	case k < 17:
		return r.deleteSubject(ctx, s)
	case k < 19:
		return r.change(ctx, s, "pin", func() (*client.Adapter, error) { return r.api.Pin(ctx, s.id) }, same)
	default:
		return r.change(ctx, s, "unpin", func() (*client.Adapter, error) { return r.api.Unpin(ctx, s.id) }, same)
	}
}

// expectation tells what must be there after a change, given what was there before and
// what the server says is there. The error says what is wrong with the latter.
type expectation func(before, answered snapshot) (snapshot, error)

// same expects that nothing changed.
func same(before, _ snapshot) (snapshot, error) { return before, nil }

// change asks for a change and notes what there is since. It must be called with
// s.changing held, or by the only goroutine that changes the subject. The error says
// why the change was not made.
func (r *run) change(ctx context.Context, s *subject, name string, ask func() (*client.Adapter, error), expect expectation) error {
	before := s.timeline.now()[0]
	done := s.timeline.begin()
	answer, err := ask()
	problem, answered := errors.AsType[*client.Problem](err)
	switch {
	case err == nil:
	case answered && problem.Status < http.StatusInternalServerError:
		done(before)
		r.refused(s, name, problem)
		return err
	default: // it may have happened, now or later: the timeline stays open
		if ctx.Err() == nil {
			r.report.wrong(Wrong{Kind: "change failed", Row: name + " " + s.id, Detail: err.Error()})
		}
		return err
	}
	r.report.changed(name)
	said := snapshotOf(answer)
	after, err := expect(before, said)
	if err == nil && answer != nil && !after.equal(said) {
		err = fmt.Errorf("the server says that there is %v; there must be %v", said, after)
	}
	if err != nil {
		r.report.wrong(Wrong{Kind: "state", Row: name + " " + s.id, Detail: err.Error()})
		after = said
	}
	done(after)
	return nil
}

// refused files a change that the server did not make. Only a roll-back may be refused:
// where no version was active before.
func (r *run) refused(s *subject, name string, p *client.Problem) {
	r.report.failedChange(fmt.Sprintf("%s: %d %s", name, p.Status, p.Code))
	if name == "rollback" && p.Status == http.StatusConflict || p.Status == http.StatusTooManyRequests {
		return
	}
	r.report.wrong(Wrong{Kind: "change refused", Row: name + " " + s.id, Detail: p.Error()})
}

// snapshotOf reads an adapter's versions; nil is one that is not there.
func snapshotOf(a *client.Adapter) snapshot {
	s := snapshot{versions: map[string]string{}}
	if a == nil {
		return s
	}
	for _, v := range a.Versions {
		s.versions[v.Version] = v.Digest
		if v.Active {
			s.active = v.Version
		}
	}
	return s
}

// publish uploads a variant, or pulls it where the subject comes from the Hub.
func (r *run) publish(ctx context.Context, s *subject, v int, activate bool) error {
	name := "upload"
	ask := func() (*client.Published, error) { return r.upload(ctx, s, v, activate) }
	if s.hub != "" {
		name = "pull"
		ask = func() (*client.Published, error) {
			return r.api.Pull(ctx, s.id, client.PullRequest{Repo: s.hub, Activate: &activate})
		}
	}
	var published *client.Published
	return r.change(ctx, s, name, func() (*client.Adapter, error) {
		var err error
		if published, err = ask(); err != nil {
			return nil, err
		}
		return &published.Adapter, nil
	}, func(before, said snapshot) (snapshot, error) {
		if s.hub != "" && len(s.variants) == 0 { // the first pull tells what there is
			return said, nil
		}
		return s.published(before, said, s.variants[v].digest, activate, published.New)
	})
}

// published is what an upload of the digest makes of what was there before.
func (s *subject) published(before, said snapshot, digest string, activate, isNew bool) (snapshot, error) {
	version, _, ok := said.resolve(digestPrefix(digest))
	if !ok {
		return before, fmt.Errorf("no version has the digest %s that was sent", digest)
	}
	_, had := before.versions[version]
	switch {
	case had == isNew:
		return before, fmt.Errorf("version %s: new is %v", version, isNew)
	case !had && s.used[version]:
		return before, fmt.Errorf("the name %s stood for an earlier version", version)
	}
	s.used[version] = true
	return before.with(version, digest, activate), nil
}

func (r *run) upload(ctx context.Context, s *subject, v int, activate bool) (*client.Published, error) {
	folder, err := r.maker.make(s.index, v, s.variants[v].kind)
	if err != nil {
		return nil, err
	}
	files, err := folder.Encode()
	if err != nil {
		return nil, err
	}
	return r.api.Upload(ctx, s.id, files, activate)
}

func (r *run) activate(ctx context.Context, s *subject, version string) error {
	return r.change(ctx, s, "activate",
		func() (*client.Adapter, error) { return r.api.Activate(ctx, s.id, version) },
		func(before, _ snapshot) (snapshot, error) { return before.activated(version), nil })
}

// rollback leaves it to the server which version was active before, but not whether one
// of those that are there is active now.
func (r *run) rollback(ctx context.Context, s *subject) error {
	return r.change(ctx, s, "rollback",
		func() (*client.Adapter, error) { return r.api.Rollback(ctx, s.id) },
		func(before, said snapshot) (snapshot, error) {
			if _, ok := before.versions[said.active]; !ok || said.active == before.active {
				return before, fmt.Errorf("version %q is active after %q was rolled back", said.active, before.active)
			}
			return before.activated(said.active), nil
		})
}

func (r *run) deleteVersion(ctx context.Context, s *subject, version string) error {
	return r.change(ctx, s, "delete a version",
		func() (*client.Adapter, error) { return nil, r.api.Delete(ctx, s.id+"@"+version) },
		func(before, _ snapshot) (snapshot, error) { return before.without(version), nil })
}

func (r *run) deleteSubject(ctx context.Context, s *subject) error {
	return r.change(ctx, s, "delete",
		func() (*client.Adapter, error) { return nil, r.api.Delete(ctx, s.id) },
		func(snapshot, snapshot) (snapshot, error) { return snapshot{}, nil })
}
