package main

import (
	"database/sql"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disk is a small one of its own.
type disk struct{ dir string }

// mountDisk mounts a disk of 12 MiB, or skips the test where that is not allowed.
func mountDisk(t *testing.T) disk {
	t.Helper()
	d := disk{t.TempDir()}
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("NOT TESTED: no disk that can be filled: mounting a tmpfs: %v; root may", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all the room that is left.
func (d disk) fill(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; {
		n, err := f.Write(block)
		switch {
		case err == nil:
		case errors.Is(err, syscall.ENOSPC):
			block = block[:(len(block)-n)/2]
		default:
			t.Fatal(err)
		}
	}
}

func (d disk) free(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// checkpointed waits until the server has kept a job's first vectors.
func (d disk) checkpointed(t *testing.T, job string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(d.dir, "valence.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for deadline := time.Now().Add(jobPatience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		number := 0
		if err := db.QueryRowContext(t.Context(), "SELECT checkpoint FROM jobs WHERE id = ?", job).Scan(&number); err != nil {
			t.Fatal(err)
		}
		if number > 0 {
			return
		}
	}
	t.Fatal("the job has no checkpoint")
}

// TestTrainingOnAFullDisk fills the disk of a server that trains: the job waits and says
// why, what would be kept is refused, rows are answered, and nothing is lost, not even by
// a kill and a start meanwhile. With room again all goes on by itself.
func TestTrainingOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains")
	}
	d := mountDisk(t)
	quiet := startProcess(t, t.TempDir())
	want := trained(t, quiet.api.URL(), train(t, quiet.api.URL(), "calm", smallTraining(8)))["digest"]
	quiet.kill()

	p := startProcess(t, d.dir, "--checkpoint-every", "200ms")
	url := p.api.URL()
	label, score, _, err := ask(url, "The soup is a delight.", "base")
	if err != nil {
		t.Fatal(err)
	}
	job := train(t, url, "cramped", smallTraining(8))
	underWay(t, url, job)
	d.checkpointed(t, job)
	d.fill(t)
	waits(t, url, job)
	refusesAll(t, d, url)
	if l, s, _, err := ask(url, "The soup is a delight.", "base"); err != nil || l != label || s != score {
		t.Errorf("%s %v, %v; it was %s %v", l, s, err, label, score)
	}
	if _, _, _, err := ask(url, "The soup is a delight.", "cramped@job:"+job); err != nil {
		t.Errorf("the vectors in training: %v", err)
	}
	d.free(t)
	if got := trained(t, url, job); got["digest"] != want || got["version"] != "v1" {
		t.Errorf("%v %v, not %v", got["version"], got["digest"], want)
	}

	job = train(t, url, "killed", smallTraining(8))
	underWay(t, url, job)
	d.fill(t)
	p.kill()
	p = startProcess(t, d.dir, "--checkpoint-every", "200ms")
	url = p.api.URL()
	if l, s, _, err := ask(url, "The soup is a delight.", "base"); err != nil || l != label || s != score {
		t.Errorf("after a start without room: %s %v, %v; it was %s %v", l, s, err, label, score)
	}
	if _, _, _, err := ask(url, "The soup is a delight.", "cramped"); err != nil {
		t.Errorf("after a start without room: %v", err)
	}
	d.free(t)
	if got := trained(t, url, job); got["digest"] != want {
		t.Errorf("after a kill: %v, not %v", got["digest"], want)
	}
}

// waits waits until a job tells that it has no room.
func waits(t *testing.T, url, job string) {
	t.Helper()
	for deadline := time.Now().Add(jobPatience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		_, answer := call(t, http.MethodGet, url+"/v1/jobs/"+job, nil)
		if why, ok := answer["waiting"].(string); ok {
			if answer["state"] != "running" || !strings.Contains(why, "no space left") {
				t.Errorf("%v: %q", answer["state"], why)
			}
			return
		}
		if answer["state"] != "running" {
			t.Fatalf("%v: %v", answer["state"], answer["error"])
		}
	}
	t.Fatal("the job does not wait")
}

// refusesAll wants 507 of whatever is to be kept, and no name of a file of the server's.
func refusesAll(t *testing.T, d disk, url string) {
	t.Helper()
	data := map[string]any{"examples": trainingRows(30)}
	for _, c := range []struct {
		path string
		body any
	}{
		{"/v1/datasets?name=more.jsonl&format=jsonl", trainingRows(2)},
		{"/v1/adapters/other/train", map[string]any{"data": data}},
		{"/v1/adapters/other/train", map[string]any{"data": data, "dry_run": true}},
		{"/v1/feedback", map[string]any{"text": "x", "adapter": "base", "label": "positive"}},
	} {
		status, answer := call(t, http.MethodPost, url+c.path, c.body)
		detail, _ := answer["detail"].(string)
		if status != http.StatusInsufficientStorage || answer["code"] != "storage_full" || strings.Contains(detail, d.dir) || !strings.Contains(detail, "no space left") {
			t.Errorf("%s: %d %v", c.path, status, answer)
		}
	}
	for path, list := range map[string]string{"/v1/datasets": "datasets", "/v1/jobs": "jobs"} {
		status, answer := call(t, http.MethodGet, url+path, nil)
		if all, ok := answer[list].([]any); status != http.StatusOK || !ok || len(all) != 1 {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
}
