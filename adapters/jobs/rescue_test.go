package jobs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// Variables that make the test binary a manager to be killed.
const (
	childDir = "VALENCE_TEST_JOBS_DIR"
	childURL = "VALENCE_TEST_JOBS_URL"
	kills    = "VALENCE_TEST_KILLS" // how often the kill test kills; 20 by default
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir)+os.Getenv(childURL) != "" {
		if err := child(store.Options{Dir: os.Getenv(childDir), URL: os.Getenv(childURL)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child works until it is told to stop.
func child(so store.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := store.Open(ctx, so)
	if err != nil {
		return err
	}
	m, err := New(ctx, quick(s, &chain{pace: childPace, bytes: 1 << 16}, &publisher{store: s}))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return errors.Join(m.Close(context.Background()), s.Close())
}

const childPace = 5 * time.Millisecond

// spawn starts a child and waits until it works.
func spawn(t *testing.T, so store.Options) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+so.Dir, childURL+"="+so.URL)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
}

// Whenever a worker is killed, the job ends as if nothing had happened: at the same
// digest, each step counted once, the events without a gap.
func TestKilledAtAnyInstant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		n := 20
		if s := os.Getenv(kills); s != "" {
			var err error
			if n, err = strconv.Atoi(s); err != nil {
				t.Fatal(err)
			}
		}
		f := start(t, so, &chain{}, idle)
		r := small()
		r.Spec.Epochs = 20 * n // more than the children get done
		job := f.submit(t, r)
		for range n {
			cmd := spawn(t, so)
			time.Sleep(100*time.Millisecond + rand.N(900*time.Millisecond))
			kill(t, cmd)
		}
		before, err := f.Get(t.Context(), job.ID)
		if err != nil || before.State.Final() || before.Checkpoint == 0 {
			t.Fatalf("after the kills: %+v, %v", before, err)
		}
		last := start(t, so, &chain{})
		last.succeeds(t, job.ID)
		_, _, _, recoveries := f.story(t, job.ID)
		if len(recoveries) == 0 {
			t.Error("no kill met a worker at work")
		}
		t.Logf("killed %d times: %d recoveries, %d of %d steps done before the last worker", n, len(recoveries), before.Progress.Step, steps(r.Spec))
	})
}

// Replicas share the jobs, and one goes on with what another was killed at.
func TestReplicas(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{}, idle)
		one, two := spawn(t, so), spawn(t, so)
		var ids []string
		for seed := range int64(4) {
			r := small()
			r.Spec.Epochs, r.Spec.Seed = 20, seed
			ids = append(ids, f.submit(t, r).ID)
		}
		owners := map[string]bool{}
		for deadline := time.Now().Add(patience); len(owners) < 2 && time.Now().Before(deadline); {
			for _, id := range ids {
				if owner := f.ownerOf(t, id); owner != "" {
					owners[owner] = true
				}
			}
		}
		if len(owners) != 2 {
			t.Errorf("%d workers share the jobs", len(owners))
		}
		kill(t, one)
		at := time.Now()
		for _, id := range ids {
			f.succeeds(t, id)
		}
		t.Logf("all were done %v after the kill", time.Since(at))
		if err := two.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := two.Wait(); err != nil {
			t.Errorf("the other worker: %v", err)
		}
	})
}

func (f *fixture) ownerOf(t *testing.T, id string) (owner string) {
	t.Helper()
	if err := f.db.QueryRow("SELECT owner FROM jobs WHERE id = $1", id).Scan(&owner); err != nil {
		t.Fatal(err)
	}
	return owner
}

// steal takes a job over as a manager does that takes its worker for dead.
func (f *fixture) steal(t *testing.T, id string) {
	t.Helper()
	for {
		sightings, err := f.sight(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sightings {
			if s.id == id && s.owner != "" {
				if err := f.rescue(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, _, _, recoveries := f.story(t, id); len(recoveries) > 0 {
			return
		} // else the beat was faster
	}
}

// Who was taken for dead and is not may write nothing any more, whatever it was at.
func TestZombie(t *testing.T) {
	for _, at := range []State{Validating, Running, Publishing} {
		t.Run(string(at), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, so store.Options) {
				g := newGate()
				g.deaf = true
				zombie, job := holdAt(t, so, at, g)
				other := start(t, so, &chain{evaluate: true})
				other.steal(t, job.ID)
				other.succeeds(t, job.ID)
				before := other.allEvents(t, job.ID)
				close(g.opened)
				zombie.close(t) // it has said all that it has to say
				equal(t, "events", len(other.allEvents(t, job.ID)), len(before))
				other.succeeds(t, job.ID)
			})
		})
	}
}

// A segment that was handed out and never begun is handed out anew.
func TestEntryLostBeforeItsClaim(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{}, idle)
		job := f.submit(t, small())
		if _, err := f.db.Exec("UPDATE river_job SET state = 'running', attempt = 1"); err != nil {
			t.Fatal(err)
		}
		other := start(t, so, &chain{})
		other.succeeds(t, job.ID)
		_, _, _, recoveries := f.story(t, job.ID)
		equal(t, "recoveries", recoveries, []string{recoverEntry})
	})
}

func TestWorkersDieAgainAndAgain(t *testing.T) {
	f, job, g := held(t, store.Options{Dir: t.TempDir()}, Running)
	defer close(g.opened)
	if _, err := f.db.Exec("UPDATE jobs SET attempts = $1", DefaultMaxLost); err != nil {
		t.Fatal(err)
	}
	f.steal(t, job.ID)
	failed := f.await(t, job.ID, Failed)
	if failed.Failure == nil || failed.Failure.Code != "worker_lost" || failed.Failure.Phase != Running {
		t.Errorf("%+v", failed.Failure)
	}
	if _, err := f.Retry(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	f.succeeds(t, job.ID)
}

// Queued jobs that wait for a busy worker are not taken for lost.
func TestWaitingIsNotLost(t *testing.T) {
	f, first, g := held(t, store.Options{Dir: t.TempDir()}, Running)
	f.submit(t, small())
	time.Sleep(2 * f.o.Lease)
	_, _, _, recoveries := f.story(t, f.newest(t).ID)
	equal(t, "recoveries", recoveries, "[]")
	close(g.opened)
	f.succeeds(t, first.ID)
}

func (f *fixture) newest(t *testing.T) Job {
	t.Helper()
	jobs, err := f.List(t.Context(), Filter{Limit: 1})
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%v, %v", jobs, err)
	}
	return jobs[0]
}
