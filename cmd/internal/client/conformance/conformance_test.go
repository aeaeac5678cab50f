package conformance

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"valence/cmd/internal/client"
)

// small is a run that is over soon.
func small() Options {
	return Options{
		Adapters: 24, Clients: 8, Duration: time.Millisecond, Distribution: Zipf, Seed: 7,
		Tolerance: 1e-4, Spread: 0.25, Churn: true, Blend: true, Jury: true,
	}
}

// prove runs on until enough is true of the report, at most for a minute.
func prove(t *testing.T, server *httptest.Server, o Options, enough func(*Report) bool) (*Report, error) {
	t.Helper()
	r, err := newRun(client.Options{URL: server.URL}, o)
	if err != nil {
		t.Fatal(err)
	}
	r.pause = 0 // as many changes as there can be
	end := time.Now().Add(time.Minute)
	r.enough = func() bool {
		r.report.mu.Lock()
		defer r.report.mu.Unlock()
		return enough(r.report) || time.Now().After(end)
	}
	return r.all(t.Context())
}

func atOnce(*Report) bool { return true }

// lacks names the kinds that were not counted yet.
func lacks(counts map[string]int, kinds ...string) []string {
	return slices.DeleteFunc(slices.Clone(kinds), func(k string) bool { return counts[k] > 0 })
}

// untried names what a run has not come to yet.
func untried(r *Report) []string {
	return slices.Concat(
		lacks(r.Rows, "adapter", "version", "base", "blend", "strength", "jury", "failing"),
		lacks(r.Changes, "upload", "activate", "rollback", "delete", "delete a version", "pin", "unpin"),
		lacks(r.Expected, codeNotFound, codeEmptyText, codeInvalidID),
	)
}

func TestRightServerPasses(t *testing.T) {
	for _, distribution := range []Distribution{Zipf, Uniform} {
		f, server := newFake(t, faults{})
		o := small()
		o.Distribution, o.CompareOne = distribution, true
		loads := 0
		report, err := prove(t, server, o, func(r *Report) bool {
			loads++ // the first is on one adapter and changes nothing
			return loads == 1 || len(untried(r)) == 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if report.Failed() {
			t.Fatalf("%d wrong: %+v", report.Wrong, report.Examples)
		}
		if missing := untried(report); len(missing) > 0 {
			t.Errorf("%s: nothing of %q in %+v", distribution, missing, report)
		}
		if report.Load.P50 <= 0 || report.Load.P99 < report.Load.P50 || report.Load.Max < report.Load.P99 || report.Ratio.P99 <= 0 {
			t.Errorf("%s: %+v, %+v", distribution, report.Load, report.Ratio)
		}
		if report.Server["valence_torch_live_handles"] != (Figure{7, 7, 7}) {
			t.Errorf("%s: %+v", distribution, report.Server)
		}
		if n := len(f.adapters); n != 0 {
			t.Errorf("%s: %d adapters are left", distribution, n)
		}
	}
}

func TestWrongServersAreCaught(t *testing.T) {
	var lost, other atomic.Int64
	for _, tc := range []struct {
		name   string
		faults faults
		want   []string // one of these kinds
	}{
		{"another adapter's vectors in a batch", faults{scores: func(f *fake, rows int, text string, was fakeVersion) map[string]float64 {
			if rows < 3 || other.Add(1)%37 > 0 {
				return nil
			}
			return hashScores(plain("sha256:other"), text, was.labels)
		}}, []string{"wrong scores"}},
		{"the version before answers silently", faults{scores: func(f *fake, rows int, text string, was fakeVersion) map[string]float64 {
			for _, v := range f.last {
				if rows > 1 && v.number == was.number && len(v.labels) == len(was.labels) && v.digest != was.digest {
					return hashScores(plain(v.digest), text, was.labels)
				}
			}
			return nil
		}}, []string{"wrong scores"}},
		{"the version before answers openly", faults{version: func(f *fake, id string, was fakeVersion) fakeVersion {
			if v, ok := f.last[id]; ok {
				return v
			}
			return was
		}}, []string{"wrong version"}},
		{"the base answers silently", faults{scores: func(_ *fake, rows int, text string, was fakeVersion) map[string]float64 {
			if rows < 5 || was.number == 0 || len(was.labels) != 3 {
				return nil
			}
			return hashScores(plain(baseVersion().digest), text, was.labels)
		}}, []string{"wrong scores"}},
		{"the base answers for what was deleted", faults{found: func(*fake, string) (fakeVersion, bool) {
			return baseVersion(), true
		}}, []string{"base instead of adapter", "answered", "wrong version"}},
		{"what was deleted answers on", faults{found: func(f *fake, id string) (fakeVersion, bool) {
			v, ok := f.gone[id]
			return v, ok
		}}, []string{"wrong version"}},
		{"a row is lost", faults{answer: func(a *client.Answer) {
			if len(a.Results) > 3 && lost.Add(1)%7 == 0 {
				a.Results = a.Results[:len(a.Results)-1]
			}
		}}, []string{"lost row"}},
		{"a row is answered twice", faults{answer: func(a *client.Answer) {
			if len(a.Results) > 3 {
				a.Results[1].Index = a.Results[0].Index
			}
		}}, []string{"rows"}},
		{"another adapter is named", faults{result: func(r *client.Result) {
			if r.Index == 4 && r.Jury == nil && r.Adapter.Blend == nil {
				r.Adapter.ID = "another"
			}
		}}, []string{"wrong adapter"}},
		{"other labels", faults{result: func(r *client.Result) {
			if r.Index == 4 {
				r.Scores = map[string]float64{"yes": 0.5, "no": 0.5}
			}
		}}, []string{"wrong labels", "jury"}},
		{"a label that is not the best", faults{result: func(r *client.Result) {
			for label, p := range r.Scores {
				if r.Index == 4 && p < 1/float64(len(r.Scores))-0.01 {
					r.Label = &label
				}
			}
		}}, []string{"wrong label"}},
		{"a jury's mean is off", faults{result: func(r *client.Result) {
			for label := range r.Scores {
				if r.Jury != nil {
					r.Scores[label] += 0.01
				}
			}
		}}, []string{"jury"}},
		{"an activation is not made", faults{activate: func() bool { return false }}, []string{"state"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, server := newFake(t, tc.faults)
			found := func(r *Report) bool { return len(lacks(r.Kinds, tc.want...)) < len(tc.want) }
			report, err := prove(t, server, small(), found)
			if err != nil {
				t.Fatal(err)
			}
			if !report.Failed() || !found(report) {
				t.Errorf("found %v, not one of %q", report.Kinds, tc.want)
			}
			if len(report.Examples) == 0 || report.Examples[0].Detail == "" {
				t.Errorf("nothing is explained: %+v", report.Examples)
			}
		})
	}
}

// TestServerErrors: errors of the server are wrong, and a change without an outcome
// leaves the rest of the run judged.
func TestServerErrors(t *testing.T) {
	var uploads atomic.Int64
	f, server := newFake(t, faults{upload: func() int {
		if uploads.Add(1) > 24*variants && uploads.Load()%2 == 0 {
			return 500
		}
		return 0
	}})
	report, err := prove(t, server, small(), func(r *Report) bool { return r.Kinds["change failed"] > 2 })
	if err != nil {
		t.Fatal(err)
	}
	if report.Kinds["change failed"] == 0 || report.Wrong != report.Kinds["change failed"] {
		t.Errorf("%v %+v", report.Kinds, report.Examples)
	}
	if len(f.adapters) != 0 {
		t.Errorf("%d adapters are left", len(f.adapters))
	}
}

func TestInterruptedRunCleansUp(t *testing.T) {
	f, server := newFake(t, faults{})
	ctx, cancel := context.WithCancel(t.Context())
	o := small()
	o.Duration = time.Hour
	o.Progress = func(phase string, _, _ int64) {
		if phase == "asking many adapters" {
			cancel()
		}
	}
	report, err := Run(ctx, client.Options{URL: server.URL}, o)
	if !errors.Is(err, context.Canceled) || report.Failed() {
		t.Errorf("%v, %+v", err, report.Examples)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.adapters) != 0 {
		t.Errorf("%d adapters are left", len(f.adapters))
	}
}

func TestKeep(t *testing.T) {
	f, server := newFake(t, faults{})
	o := small()
	o.Keep, o.Churn = true, false
	if report, err := prove(t, server, o, atOnce); err != nil || report.Failed() {
		t.Fatalf("%v %+v", err, report)
	}
	if len(f.adapters) != o.Adapters {
		t.Errorf("%d adapters are there, not %d", len(f.adapters), o.Adapters)
	}
}

// TestAlikeAdaptersProveNothing: a server that gives the same answer whatever is asked
// would pass every comparison.
func TestAlikeAdaptersProveNothing(t *testing.T) {
	_, server := newFake(t, faults{scores: func(_ *fake, _ int, text string, was fakeVersion) map[string]float64 {
		return hashScores("the same", text, was.labels)
	}})
	if _, err := prove(t, server, small(), atOnce); err == nil || !strings.Contains(err.Error(), "raise --spread") {
		t.Errorf("%v", err)
	}
}

func TestValidate(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"--adapters is 0":      func(o *Options) { o.Adapters = 0 },
		"--clients is -1":      func(o *Options) { o.Clients = -1 },
		"--duration is 0s":     func(o *Options) { o.Duration = 0 },
		`--distribution is ""`: func(o *Options) { o.Distribution = "" },
		"--tolerance is 0":     func(o *Options) { o.Tolerance = 0 },
		"--spread is 2":        func(o *Options) { o.Spread = 2 },
		"--lag is -1s":         func(o *Options) { o.Lag = -time.Second },
		"write OWNER/NAME":     func(o *Options) { o.HubRepo = "name" },
	} {
		o := small()
		spoil(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
	o := small()
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}

func TestMakerIsReproducible(t *testing.T) {
	f, _ := newFake(t, faults{})
	make := func(seed uint64, a, v int) string {
		m, err := newMaker(&client.Base{Config: f.text}, seed, 0.25)
		if err != nil {
			t.Fatal(err)
		}
		folder, err := m.make(a, v, m.kinds[1])
		if err != nil {
			t.Fatal(err)
		}
		return folder.Digest
	}
	digests := map[string]bool{}
	for _, digest := range []string{make(1, 0, 0), make(1, 0, 1), make(1, 1, 0), make(2, 0, 0)} {
		digests[digest] = true
	}
	if again := make(1, 1, 0); len(digests) != 4 || !digests[again] {
		t.Errorf("%v", digests)
	}
}

func TestTextsDiffer(t *testing.T) {
	texts := map[string]bool{}
	least, most := 1000, 0
	for _, text := range makeTexts(3, maxGroups) {
		texts[text] = true
		n := len(strings.Fields(text))
		least, most = min(least, n), max(most, n)
	}
	if len(texts) != maxGroups*groupTexts || least > 5 || most < 30 {
		t.Errorf("%d texts of %d to %d words", len(texts), least, most)
	}
}

func TestZipfPrefersTheFirst(t *testing.T) {
	r := &run{Options: small()}
	for range 100 {
		r.subjects = append(r.subjects, &subject{index: len(r.subjects)})
	}
	counts := make([]int, 100)
	pick := r.picker(rand.New(rand.NewPCG(1, 2)), r.subjects)
	for range 10000 {
		counts[pick().index]++
	}
	if counts[0] < 5*counts[9] || counts[0] == 10000 {
		t.Errorf("%v", counts)
	}
}
