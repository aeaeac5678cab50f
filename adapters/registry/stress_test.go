package registry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/hub"
	"valence/adapters/hub/hubtest"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// stress is one run of everything at once, on two registries of one database.
type stress struct {
	t          *testing.T
	registries [2]*harness
	server     *hubtest.Server
	values     sync.Map // float32 by digest: what each version must hold
	next       atomic.Int64
	asked      atomic.Int64
	failed     atomic.Int64 // asked of what was not there in that moment
}

// Whatever changes meanwhile, here or on another server, a lease holds the vectors of
// the digest that it tells, and in the end everything is freed.
func TestStress(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		s := startStress(t, o)
		const leasers, changers, changes = 16, 4, 40
		var changing, leasing sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for g := range changers {
			changing.Go(func() { s.change(s.registries[g%2], rand.New(rand.NewPCG(uint64(g), 2)), changes) })
		}
		for g := range leasers {
			leasing.Go(func() {
				for r := rand.New(rand.NewPCG(uint64(g), 1)); ctx.Err() == nil; {
					s.askOne(s.registries[g%2], r)
				}
			})
		}
		changing.Wait()
		cancel()
		leasing.Wait()
		s.finish()
	})
}

func startStress(t *testing.T, o store.Options) *stress {
	server, withHub := startHub(t, "")
	s := &stress{t: t, server: server}
	for i := range s.registries {
		s.registries[i] = start(t, storetest.Open(t, o), func(o *Options) {
			withHub(o)
			o.CacheBytes = 3 * size(t)
			o.MissingFor, o.Now = time.Nanosecond, time.Now // what is not there may be in a moment
		})
	}
	for i := range 4 {
		s.publish(s.registries[0], fmt.Sprintf("a%d", i))
	}
	return s
}

// finish deletes all and looks for what is left.
func (s *stress) finish() {
	all, _, err := s.registries[0].store.Adapters(s.t.Context())
	for _, a := range all {
		err = errors.Join(err, s.registries[1].Delete(s.t.Context(), a.ID))
	}
	if err != nil {
		s.t.Error(err)
	}
	for _, h := range s.registries {
		eventually(s.t, "all is freed", func() bool {
			return h.gauge("valence_adapter_cache_resident_bytes") == 0 && h.frees() == h.loads()
		})
	}
	s.t.Logf("%d leases, %d of what was not there; %d and %d loads",
		s.asked.Load(), s.failed.Load(), s.registries[0].loads(), s.registries[1].loads())
	if s.asked.Load() == 0 || s.failed.Load() > s.asked.Load() {
		s.t.Error("too little was answered")
	}
}

// loads counts the values that were ever in the cache.
func (h *harness) loads() int {
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		if f.GetName() == "valence_adapter_load_seconds" {
			for _, m := range f.GetMetric() {
				n += int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return n
}

// askOne leases an adapter, a version or a mixture and compares.
func (s *stress) askOne(h *harness, r *rand.Rand) {
	q := adapters.Ask(s.someRef(r))
	switch r.IntN(4) {
	case 0:
		q.Strength = 0.5
	case 1:
		q.Parts = []adapters.QueryPart{{Ref: s.someRef(r), Weight: 0.25}, {Ref: s.someRef(r), Weight: 0.75}}
	}
	l, err := h.Lease(s.t.Context(), q)
	s.asked.Add(1)
	if err != nil {
		s.failed.Add(1)
		time.Sleep(time.Millisecond)
		if !errors.Is(err, adapters.ErrNotFound) && !errors.Is(err, hub.ErrNotFound) {
			s.t.Error(err)
		}
		return
	}
	defer l.Release()
	if got, want := l.Vectors.Data[0], s.want(l.Entry); math.Abs(float64(got)-want) > 1e-4 {
		s.t.Errorf("%+v: vectors of %v, want %v", l.Blend, got, want)
	}
	time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond) // as long as a row takes
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.freed[l.Vectors] != 0 {
		s.t.Error("freed under a lease")
	}
}

// want is what an entry's digests say that it holds.
func (s *stress) want(e *adapters.Entry) float64 {
	if e.Blend == nil {
		return s.value(e.Digest)
	}
	sum := 0.0
	for _, p := range e.Blend.Parts {
		sum += p.Weight * (s.value(p.Digest) - 1)
	}
	return 1 + e.Blend.Strength*sum
}

func (s *stress) value(digest string) float64 {
	x, ok := s.values.Load(digest)
	if !ok {
		s.t.Errorf("unknown digest %s", digest)
		return 0
	}
	return float64(x.(float32))
}

func (s *stress) someID(r *rand.Rand) string {
	if r.IntN(4) == 0 {
		return fmt.Sprintf("alice/h%d", r.IntN(2))
	}
	return fmt.Sprintf("a%d", r.IntN(4))
}

func (s *stress) someRef(r *rand.Rand) string {
	id := s.someID(r)
	if r.IntN(3) == 0 {
		return fmt.Sprintf("%s@v%d", id, 1+r.IntN(6))
	}
	return id
}

// newFolder makes a folder like no other and notes what it holds.
func (s *stress) newFolder() map[string][]byte {
	x := float32(s.next.Add(1)) / 8
	files := folder(s.t, x, goodBad)
	s.values.Store(digestOf(s.t, files), x)
	return files
}

func (s *stress) publish(h *harness, id string) {
	if _, err := h.Upload(s.t.Context(), adapters.UploadRequest{ID: id, Files: s.newFolder(), Activate: true}); err != nil {
		s.t.Error(err)
	}
}

// change makes changes. That another one was quicker is no fault.
func (s *stress) change(h *harness, r *rand.Rand, n int) {
	for range n {
		id := s.someID(r)
		var err error
		switch r.IntN(8) {
		case 0, 1:
			s.publish(h, fmt.Sprintf("a%d", r.IntN(4)))
		case 2:
			_, err = h.Activate(s.t.Context(), fmt.Sprintf("%s@v%d", id, 1+r.IntN(6)))
		case 3:
			_, err = h.Rollback(s.t.Context(), id)
		case 4:
			err = h.Delete(s.t.Context(), s.someRef(r))
		case 5:
			_, err = h.Pin(s.t.Context(), id)
		case 6:
			_, err = h.Unpin(s.t.Context(), id)
		case 7:
			repo := fmt.Sprintf("alice/h%d", r.IntN(2))
			s.server.Create(repo, hubtest.Repo{})
			s.server.Commit(repo, "main", "next", s.newFolder())
			_, err = h.Pull(s.t.Context(), adapters.PullRequest{ID: repo, Activate: true})
		}
		if err != nil && !errors.Is(err, adapters.ErrNotFound) && !errors.Is(err, adapters.ErrConflict) && !errors.Is(err, store.ErrBusy) {
			s.t.Error(err)
		}
	}
}
