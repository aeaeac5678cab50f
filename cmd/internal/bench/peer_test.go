package bench

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseReply(t *testing.T) {
	for line, want := range map[string]string{
		`{"seconds": 0.5, "loss": 2}`:      "",
		`{"versions": {"torch": "2.11"}}`:  "",
		`{"error": "RuntimeError: no"}`:    "RuntimeError: no",
		`{"seconds": 0}`:                   "neither",
		`{}`:                               "neither",
		`Traceback (most recent call last`: "no answer",
	} {
		got, err := parseReply([]byte(line))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", line, err)
		case want != "" && (!errors.Is(err, errPeers) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", line, err, want)
		case strings.Contains(line, "0.5") && (got.Seconds != 0.5 || got.Loss != 2):
			t.Errorf("%s: %+v", line, got)
		}
	}
}

// fakePeer is an interpreter that runs a shell script in place of ours.
func fakePeer(t *testing.T, script string) *run {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	r := quiet(5)
	r.o.Python, r.o.Threads, r.dir = path, 2, t.TempDir()
	return r
}

func TestPeer(t *testing.T) {
	r := fakePeer(t, `
[ -s "$1" ] && [ "$2 $3 $4 $5 $6 $7 $8" = "peft MODEL --threads 2 --device cpu --more" ] || { echo "called with $*" >&2; exit 1; }
echo '{"versions": {"torch": "2.11.0"}}'
read line; case $line in *'"op":"step"'*) echo '{"seconds": 0.25}';; *) echo '{"error": "what?"}';; esac
read line; echo '{"error": "OutOfMemory"}'
read line; echo gone >&2`)
	p, err := r.startPeer(t.Context(), "peft", "MODEL", "--more")
	if err != nil {
		t.Fatal(err)
	}
	if v := r.report.Versions.Peers["torch"]; v != "2.11.0" {
		t.Errorf("version %q", v)
	}
	if got, err := p.ask(map[string]any{"op": "step"}); err != nil || got.Seconds != 0.25 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := p.ask(map[string]any{"op": "step"}); err == nil || !strings.Contains(err.Error(), "OutOfMemory") {
		t.Errorf("%v", err)
	}
	if _, err := p.ask(nil); !errors.Is(err, errPeers) {
		t.Errorf("after its end: %v", err)
	}
	for range 2 {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestPeerThatDies(t *testing.T) {
	r := fakePeer(t, `echo "ModuleNotFoundError: peft" >&2; exit 1`)
	if _, err := r.startPeer(t.Context(), "peft", "MODEL"); !errors.Is(err, errPeers) {
		t.Errorf("%v", err)
	}
	r.o.Python = filepath.Join(t.TempDir(), "nothing")
	if err := r.learnVersions(t.Context()); !errors.Is(err, errPeers) || !strings.Contains(err.Error(), "make bench") {
		t.Errorf("%v", err)
	}
}

func TestEnvironments(t *testing.T) {
	env := []string{"HOME=/h", "GOMP_SPINCOUNT=1000", "VALENCE_DATABASE_URL=postgres://production", "VALENCE_THREADS=1"}
	if got := peerEnv(env); slices.Contains(got, "GOMP_SPINCOUNT=1000") || !slices.Contains(got, "HOME=/h") {
		t.Errorf("peers: %v", got)
	}
	if got := ownEnv(env); !slices.Equal(got, []string{"HOME=/h", "GOMP_SPINCOUNT=1000"}) {
		t.Errorf("servers: %v", got)
	}
	if len(env) != 4 {
		t.Errorf("the environment was changed: %v", env)
	}
}

func TestTail(t *testing.T) {
	var said tail
	for range 1000 {
		if _, err := said.Write([]byte("line of ten\n")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(said.text); n != tailBytes || !strings.HasSuffix(said.String(), "line of ten") {
		t.Errorf("%d bytes", n)
	}
}
