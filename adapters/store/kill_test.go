package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// Variables of the killed process, and of who wants more of them.
const (
	childVariable = "VALENCE_TEST_STORE_CHILD"
	killsVariable = "VALENCE_TEST_KILLS" // how many, in place of 20
)

func TestMain(m *testing.M) {
	if options := os.Getenv(childVariable); options != "" {
		fmt.Fprintln(os.Stderr, child(options))
		os.Exit(1) // it ends by being killed
	}
	os.Exit(m.Run())
}

// answer is what the child says of a change when it has been answered.
type answer struct {
	Sequence int64 // of the change
	Kind     store.Kind
	Adapter  string
	Number   int
	Digest   string
}

// child changes a store until it is killed, and says what it has done.
func child(options string) error {
	var o store.Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return err
	}
	ctx := context.Background()
	s, err := store.Open(ctx, o)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for i := 0; ; i++ {
		id := fmt.Sprintf("acme/a%d", rand.N(3))
		a, v, err := s.Publish(ctx, activated(id, strconv.FormatUint(rand.Uint64(), 36)))
		if err != nil {
			return err
		}
		if err := out.Encode(answer{a.Sequence, store.Activated, id, v.Number, v.Digest}); err != nil {
			return err
		}
		switch i % 4 {
		case 1:
			if a, err = s.Rollback(ctx, id); err == nil {
				err = out.Encode(answer{a.Sequence, store.RolledBack, id, a.Active, ""})
			} else if errors.Is(err, store.ErrNoEarlier) {
				err = nil
			}
		case 2:
			number := v.Number
			if a, err = s.Activate(ctx, id, a.Versions[0].Number); err == nil && a.Active != number {
				err = out.Encode(answer{a.Sequence, store.Activated, id, a.Active, ""})
			}
		case 3:
			if number := a.Versions[0].Number; number != a.Active && len(a.Versions) > 5 {
				if a, err = s.DeleteVersion(ctx, id, number); err == nil {
					err = out.Encode(answer{a.Sequence, store.VersionDeleted, id, number, ""})
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

// TestKill kills a process that changes things, at random instants. Whatever it had
// answered for is there afterwards, and no half of anything.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 20
	if n := os.Getenv(killsVariable); n != "" {
		kills = must[int](t)(strconv.Atoi(n))
	}
	storetest.Each(t, func(t *testing.T, o store.Options) {
		if o.URL != "" {
			syncEverything(t, o)
		}
		var answers []answer
		for range kills {
			heard := killOne(t, o)
			answers = append(answers, heard...)
			checkAnswers(t, o, heard)
		}
		checkAnswers(t, o, answers)
		t.Logf("%d kills, %d answered changes", kills, len(answers))
	})
}

// syncEverything makes the test's PostgreSQL as careful as others are.
func syncEverything(t testing.TB, o store.Options) {
	t.Helper()
	s := storetest.Open(t, o)
	reload := func(setting string) {
		sql(t, s, "ALTER SYSTEM "+setting)
		sql(t, s, "SELECT pg_reload_conf()")
	}
	reload("SET fsync = on")
	t.Cleanup(func() { reload("RESET fsync") })
}

// killOne starts a child and kills it after some answers and a moment.
func killOne(t testing.TB, o store.Options) (heard []answer) {
	t.Helper()
	options := must[[]byte](t)(json.Marshal(o))
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childVariable+"="+string(options))
	command.Stderr = os.Stderr
	out := must[io.ReadCloser](t)(command.StdoutPipe())
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	after := 1 + rand.N(12)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			break // the last line may be cut
		}
		heard = append(heard, a)
		if len(heard) == after {
			time.Sleep(rand.N(5 * time.Millisecond)) // somewhere in the next change
			if err := command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := command.Wait(); err == nil || len(heard) < after {
		t.Fatalf("the child ended by itself after %d answers: %v", len(heard), err)
	}
	return heard
}

// checkAnswers opens what a killed process left.
func checkAnswers(t testing.TB, o store.Options, answers []answer) {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storetest.Check(t, s)
	events := map[int64]store.Event{}
	for after := int64(0); ; {
		some, err := s.Events(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		for _, e := range some {
			events[e.Sequence], after = e, e.Sequence
		}
	}
	digests := versionsOf(t, s)
	deleted := map[string]bool{}
	for _, e := range events {
		if e.Kind == store.VersionDeleted {
			deleted[fmt.Sprint(e.Adapter, " ", e.Number)] = true
		}
	}
	for _, a := range answers {
		if e := events[a.Sequence]; e.Kind != a.Kind || e.Adapter != a.Adapter || e.Number != a.Number {
			t.Errorf("answered %+v, but event %+v", a, e)
		}
		key := fmt.Sprint(a.Adapter, " ", a.Number)
		if a.Digest != "" && digests[key] != a.Digest && !deleted[key] {
			t.Errorf("answered %+v, but the version is %q", a, digests[key])
		}
	}
}

// versionsOf gives the digests of all versions, each of which must be whole.
func versionsOf(t testing.TB, s *store.Store) map[string]string {
	t.Helper()
	all, _, err := s.Adapters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, a := range all {
		if _, ok := a.Version(a.Active); !ok {
			t.Errorf("version %d of %s is active and not there", a.Active, a.ID)
		}
		for _, v := range a.Versions {
			files, err := s.Files(t.Context(), a.ID, v.Number)
			if err != nil || len(files) != 3 || len(v.Sidecar) == 0 {
				t.Errorf("version %d of %s: %d files, %v", v.Number, a.ID, len(files), err)
			}
			out[fmt.Sprint(a.ID, " ", v.Number)] = v.Digest
		}
	}
	return out
}
