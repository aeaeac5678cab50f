package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"valence/cmd/internal/client"
)

// go test ./cmd/valence -run TestKill -kills 50
var kills = flag.Int("kills", 5, "how often TestKill kills the server")

// processArgs is the variable that makes TestServeProcess the program.
const processArgs = "SERVE_PROCESS_ARGS"

// TestServeProcess is the program in a process of its own, for tests that kill it.
func TestServeProcess(t *testing.T) {
	args := os.Getenv(processArgs)
	if args == "" {
		t.Skip("TestKill runs it as the server that it kills")
	}
	go func() { // ends with its parent, whatever becomes of that
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	os.Exit(run(context.Background(), strings.Split(args, "\n"), streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// process is a server in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	log   *logBuffer
	api   *client.Client
}

func startProcess(t *testing.T, dir string, more ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "--threads", "1", "--listen", "127.0.0.1:0", "--data-dir", dir}
	args = append(args, more...)
	p := &process{cmd: exec.Command(self, "-test.run=^TestServeProcess$", "-test.timeout=0"), log: &logBuffer{}}
	p.cmd.Env = append(os.Environ(), processArgs+"="+strings.Join(args, "\n"))
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		if m := readyURL.FindStringSubmatch(p.log.String()); m != nil {
			if p.api, err = client.New(client.Options{URL: m[1]}); err != nil {
				t.Fatal(err)
			}
			return p
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("not ready\n%s", p.log)
	return nil
}

// kill ends the process at once, as a power cut would; more than once does nothing.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.stdin.Close()
}

// kept is what there is of an adapter.
type kept struct {
	active   string
	pinned   bool
	versions map[string]string // digests by the versions' names
}

func keptOf(a *client.Adapter) kept {
	k := kept{pinned: a.Pinned, versions: map[string]string{}}
	for _, v := range a.Versions {
		k.versions[v.Version] = v.Digest
		if v.Active {
			k.active = v.Version
		}
	}
	return k
}

func (k kept) equal(o kept) bool {
	return k.active == o.active && k.pinned == o.pinned && maps.Equal(k.versions, o.versions)
}

// survivor is an adapter that one client changes.
type survivor struct {
	id     string
	now    kept            // as the last answer had it
	used   map[string]bool // names of versions that were answered
	flight func(kept) bool // whether the change in flight at the kill can have led there; nil without one
	what   string          // that change
}

// content is a folder that is uploaded.
type content struct {
	files  map[string][]byte
	digest string
	scores map[string]float64 // of killText, asked in a quiet server
}

const killText = "I love it, but the box was torn."

// contents are folders that answer differently.
func contents(t *testing.T) []*content {
	var out []*content
	for _, value := range []float32{0.5, 0.8, 1.2, 1.5} {
		dir := adapterFolder(t, value, "")
		c := &content{files: map[string][]byte{}}
		for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			c.files[name] = data
		}
		out = append(out, c)
	}
	return out
}

func askVersion(ctx context.Context, api *client.Client, id, version string) (client.Result, error) {
	a, err := api.Sentiment(ctx, client.Request{Inputs: []client.Input{{Text: killText, Adapter: client.One(id + "@" + version)}}})
	if err != nil {
		return client.Result{}, err
	}
	return a.Results[0], nil
}

// measure uploads every content once and asks for its scores.
func measure(t *testing.T, api *client.Client, all []*content) {
	t.Helper()
	for _, c := range all {
		p, err := api.Upload(t.Context(), "kill/reference", c.files, true)
		if err != nil {
			t.Fatal(err)
		}
		c.digest = p.Digest
		row, err := askVersion(t.Context(), api, p.ID, p.Version)
		if err != nil {
			t.Fatal(err)
		}
		c.scores = row.Scores
	}
}

// killer changes the survivors of one client until the server is gone.
type killer struct {
	api       *client.Client
	random    *rand.Rand
	contents  []*content
	survivors []*survivor
	answered  int
	err       error // an answer that must not be
}

func (k *killer) work(ctx context.Context) {
	for k.err == nil {
		s := k.survivors[k.random.IntN(len(k.survivors))]
		a, err := k.change(ctx, s)
		if problem, ok := errors.AsType[*client.Problem](err); ok {
			s.flight = nil
			if problem.Status != 409 {
				k.err = fmt.Errorf("%s of %s: %w", s.what, s.id, err)
			}
			continue
		}
		if err != nil { // the server is gone: s.flight tells what it may have done
			return
		}
		next := kept{}
		if a != nil {
			next = keptOf(a)
		}
		if !s.flight(next) {
			k.err = fmt.Errorf("%s of %s led from %v to %v", s.what, s.id, s.now, next)
		}
		s.settle(next)
		k.answered++
	}
}

// settle notes that the change in flight is known to have led there.
func (s *survivor) settle(now kept) {
	s.now, s.flight = now, nil
	for name := range now.versions {
		s.used[name] = true
	}
}

// change asks for a random change; s.flight tells then where it may lead.
func (k *killer) change(ctx context.Context, s *survivor) (*client.Adapter, error) {
	names := slices.Sorted(maps.Keys(s.now.versions))
	which := k.random.IntN(10)
	if len(names) == 0 {
		which = 0
	}
	was := s.now
	switch {
	case which < 4:
		c := k.contents[k.random.IntN(len(k.contents))]
		activate := len(names) == 0 || k.random.IntN(2) == 0
		s.what, s.flight = "upload", func(now kept) bool { return s.uploaded(was, now, c.digest, activate) }
		p, err := k.api.Upload(ctx, s.id, c.files, activate)
		if err != nil {
			return nil, err
		}
		return &p.Adapter, nil
	case which < 7:
		name := names[k.random.IntN(len(names))]
		s.what, s.flight = "activation", func(now kept) bool { return now.equal(kept{name, was.pinned, was.versions}) }
		return k.api.Activate(ctx, s.id, name)
	case which < 8:
		s.what, s.flight = "roll-back", func(now kept) bool {
			_, ok := was.versions[now.active]
			return ok && now.active != was.active && now.equal(kept{now.active, was.pinned, was.versions})
		}
		return k.api.Rollback(ctx, s.id)
	case which < 9:
		s.what, s.flight = "pin", func(now kept) bool { return now.equal(kept{was.active, true, was.versions}) }
		return k.api.Pin(ctx, s.id)
	default:
		s.what, s.flight = "deletion", func(now kept) bool { return now.equal(kept{}) }
		return nil, k.api.Delete(ctx, s.id)
	}
}

// uploaded tells whether an upload leads from one state to the other: to a version of a
// new name, unless the digest was there.
func (s *survivor) uploaded(was, now kept, digest string, activate bool) bool {
	want := kept{was.active, was.pinned, maps.Clone(was.versions)}
	name := ""
	for n, d := range now.versions {
		if d == digest {
			name = n
		}
	}
	if _, there := was.versions[name]; !there {
		if name == "" || s.used[name] {
			return false
		}
		if want.versions == nil {
			want.versions = map[string]string{}
		}
		want.versions[name] = digest
	}
	if activate {
		want.active = name
	}
	return now.equal(want)
}

// check wants every survivor as it was answered, or as the change in flight left it, and
// every version there is to answer as it did when it was new.
func check(t *testing.T, api *client.Client, all []*content, survivors []*survivor) (versions, flown int) {
	t.Helper()
	for _, s := range survivors {
		a, err := api.Adapter(t.Context(), s.id)
		if problem, ok := errors.AsType[*client.Problem](err); ok && problem.Status == 404 {
			a, err = &client.Adapter{}, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		now := keptOf(a)
		switch {
		case now.equal(s.now):
		case s.flight != nil && s.flight(now):
			flown++
		default:
			t.Errorf("%s: there is %v after the kill; answered was %v, and %s was in flight: %v", s.id, now, s.now, s.what, s.flight != nil)
		}
		s.settle(now)
		for name, digest := range now.versions {
			versions++
			row, err := askVersion(t.Context(), api, s.id, name)
			if err != nil {
				t.Errorf("%s@%s does not answer: %v", s.id, name, err)
				continue
			}
			compareKept(t, all, row, digest)
		}
	}
	return versions, flown
}

func compareKept(t *testing.T, all []*content, row client.Result, digest string) {
	t.Helper()
	i := slices.IndexFunc(all, func(c *content) bool { return c.digest == digest })
	if i < 0 || row.Adapter.Digest != digest {
		t.Errorf("%+v has digest %s, which was never uploaded", row.Adapter, digest)
		return
	}
	for label, p := range all[i].scores {
		if math.Abs(row.Scores[label]-p) > 1e-4 {
			t.Errorf("%+v gives %v; when it was new %v", row.Adapter, row.Scores, all[i].scores)
		}
	}
}

// TestKill kills the server in the middle of uploads, activations, roll-backs, pins and
// deletions. After a restart every change that was answered is there, one that was not
// is there as a whole or not at all, and every version answers.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	all := contents(t)
	killers := make([]*killer, 4)
	var survivors []*survivor
	for i := range killers {
		k := &killer{random: rand.New(rand.NewPCG(5, uint64(i))), contents: all}
		for j := range 3 {
			k.survivors = append(k.survivors, &survivor{id: fmt.Sprintf("kill/c%d-%d", i, j), used: map[string]bool{}})
		}
		killers[i], survivors = k, append(survivors, k.survivors...)
	}
	p := startProcess(t, dir)
	measure(t, p.api, all)
	answered, versions, flown := 0, 0, 0
	for round := range *kills {
		var wg sync.WaitGroup
		for _, k := range killers {
			k.api = p.api
			wg.Go(func() { k.work(t.Context()) })
		}
		time.Sleep(time.Duration(20+killers[0].random.IntN(700)) * time.Millisecond) // a random instant
		p.kill()
		wg.Wait()
		for _, k := range killers {
			if k.err != nil {
				t.Fatalf("round %d: %v", round, k.err)
			}
		}
		p = startProcess(t, dir)
		v, f := check(t, p.api, all, survivors)
		versions, flown = versions+v, flown+f
	}
	for _, k := range killers {
		answered += k.answered
	}
	t.Logf("%d kills, %d answered changes, %d changes in flight had happened, %d versions asked, 0 lost", *kills, answered, flown, versions)
	if answered == 0 {
		t.Error("no change was answered: nothing was tested")
	}
}
