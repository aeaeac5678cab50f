package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"valence/adapters"
	"valence/runtime/engine"
)

// TestLeases wants one lease for each distinct query, and each released once, however
// the call ends.
func TestLeases(t *testing.T) {
	ends := map[string]struct {
		predict func(context.Context, []engine.Request) ([]engine.Outcome, error)
		status  int
	}{
		"answered":   {outcomes(nil), 200},
		"rows fail":  {outcomes(map[string]error{"a": engine.ErrEmptyText, "b": engine.ErrEmptyText, "c": engine.ErrEmptyText}), 422},
		"the call":   {func(context.Context, []engine.Request) ([]engine.Outcome, error) { return nil, engine.ErrClosed }, 503},
		"panic":      {func(context.Context, []engine.Request) ([]engine.Outcome, error) { panic("out of cheese") }, 500},
		"bad answer": {func(context.Context, []engine.Request) ([]engine.Outcome, error) { return nil, nil }, 500},
		"timeout": {func(ctx context.Context, _ []engine.Request) ([]engine.Outcome, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 503},
		"late timeout": {func(ctx context.Context, r []engine.Request) ([]engine.Outcome, error) {
			<-ctx.Done()
			return outcomes(nil)(ctx, r)
		}, 503},
		"not to encode": {notANumber, 500},
	}
	const body = `{"inputs":["a",{"text":"b","adapter":"acme/reviews"},"c",{"text":"b","adapter":"acme/reviews"},{"text":"c","adapter":"acme/reviews","strength":0.5},` +
		`{"text":"a","adapter":{"base":0.5,"acme/reviews":0.5}},{"text":"a","adapter":{"base":0.4,"acme/reviews":0.6}},{"text":"a","adapter":"acme/none"}]}`
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf := newShelf()
				s := serve(t, func(d *Deps) {
					d.Adapters = shelf.fake()
					d.Engine = fakeEngine{func(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
						if n := shelf.active.Load(); n != 5 {
							t.Errorf("%d leases are held while the engine works", n)
						}
						return end.predict(ctx, reqs)
					}}
				})
				if a := s.post(body); a.StatusCode != end.status {
					t.Errorf("status %d: %s", a.StatusCode, a.body)
				}
				shelf.settled(t, 5)
			})
		})
	}
}

// notANumber answers what JSON cannot hold.
func notANumber(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
	out, err := outcomes(nil)(ctx, reqs)
	for i := range out {
		out[i].LogProbs[0] = 1e9
	}
	return out, err
}

func TestLeasesWhenClientLeaves(t *testing.T) {
	shelf := newShelf()
	ctx, leave := context.WithCancel(t.Context())
	s := serve(t, func(d *Deps) {
		d.Adapters = shelf.fake()
		d.Engine = fakeEngine{func(ctx context.Context, _ []engine.Request) ([]engine.Outcome, error) {
			leave()
			<-ctx.Done()
			return nil, ctx.Err()
		}}
	})
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/sentiment", strings.NewReader(`{"text":"a","jury":["base","acme/reviews","acme/careful"]}`))
	s.h.ServeHTTP(httptest.NewRecorder(), r)
	shelf.settled(t, 3)
}

// TestLeaseReleasedBeforeItIsSent wants nothing kept in memory for a slow client.
func TestLeaseReleasedBeforeItIsSent(t *testing.T) {
	shelf := newShelf()
	s := serve(t, func(d *Deps) { d.Adapters = shelf.fake() })
	w := writer{httptest.NewRecorder(), func() { shelf.settled(t, 1) }}
	s.h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/sentiment", strings.NewReader(`{"text":"a"}`)))
}

// writer calls back before it writes.
type writer struct {
	http.ResponseWriter
	before func()
}

func (w writer) Write(p []byte) (int, error) { w.before(); return w.ResponseWriter.Write(p) }

// TestLeasePanics wants a panic on the way to one adapter to be the error of its rows.
func TestLeasePanics(t *testing.T) {
	shelf := newShelf()
	s := serve(t, func(d *Deps) {
		f := shelf.fake()
		f.lease = func(ctx context.Context, q adapters.Query) (*adapters.Lease, error) {
			if q.Parts[0].Ref == "acme/reviews" {
				panic("out of cheese")
			}
			return shelf.lease(ctx, q)
		}
		d.Adapters = f
	})
	a := s.post(`{"inputs":["a",{"text":"a","adapter":"acme/reviews"}]}`)
	if a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"errors":[{"index":1,"type":"about:blank","title":"Internal Server Error","status":500`) {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	if log := s.log.String(); !strings.Contains(log, "out of cheese") || !strings.Contains(log, "sentiment_lease_test.go") {
		t.Errorf("the log lacks the cause or the stack: %s", log)
	}
	shelf.settled(t, 1)
}

// TestLeasesSideBySide wants misses to wait together, but not all at once.
func TestLeasesSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		s := serve(t, func(d *Deps) {
			d.Limits.Inputs = 100
			f := shelf.fake()
			f.lease = func(_ context.Context, q adapters.Query) (*adapters.Lease, error) {
				time.Sleep(time.Second)
				return shelf.hold(entry(q.Parts[0].Ref)), nil
			}
			d.Adapters = f
		})
		var inputs []string
		for i := range 2 * leasesAtOnce {
			inputs = append(inputs, fmt.Sprintf(`{"text":"a","adapter":"a%d"}`, i))
		}
		start := time.Now()
		if a := s.post(`{"inputs":[` + strings.Join(inputs, ",") + `]}`); a.StatusCode != http.StatusOK {
			t.Errorf("status %d: %s", a.StatusCode, a.body)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		shelf.settled(t, 2*leasesAtOnce)
	})
}

// TestHubToken wants the caller's token to reach every query, and no log or answer.
func TestHubToken(t *testing.T) {
	var mu sync.Mutex
	tokens := map[string]int{}
	s := serve(t, func(d *Deps) {
		f := newShelf().fake()
		f.lease = func(_ context.Context, q adapters.Query) (*adapters.Lease, error) {
			mu.Lock()
			defer mu.Unlock()
			tokens[q.HubToken]++
			return nil, errors.New("the Hub is on fire")
		}
		d.Adapters = f
	})
	a := s.post(`{"text":"a","jury":["base","acme/reviews"]}`, "X-Hub-Token", "hf_secret")
	a.problem(t, 500, codeInternal)
	if tokens["hf_secret"] != 2 || len(tokens) != 1 {
		t.Errorf("tokens %v", tokens)
	}
	if strings.Contains(s.log.String()+string(a.body), "hf_secret") {
		t.Error("the token is in the log or in the answer")
	}
}
