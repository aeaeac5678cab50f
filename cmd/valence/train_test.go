package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const fewReviews = `review,stars
wonderful phone,5
I love it,5
best book ever,5
great service,5
a delight,5
awful phone,1
I hate it,1
worst book ever,1
terrible service,1
a disgrace,1
`

// trainArgs train on few reviews for a moment.
func trainArgs(t *testing.T, more ...string) []string {
	return append([]string{"train", "--data", write(t, "reviews.csv", fewReviews), "--label-column", "stars", "--label-map", "1=negative", "--label-map", "5=positive",
		"--adapter", "acme/reviews", "--epochs", "2", "--objective", "labels", "--validation", "0.2"}, more...)
}

// TestTrainHere trains without a server, and finds the version in the data folder.
func TestTrainHere(t *testing.T) {
	dir, picture := t.TempDir(), filepath.Join(t.TempDir(), "curves.svg")
	status, stdout, stderr := valence(t, "", trainArgs(t, "--threads", "1", "--data-dir", dir, "--picture", picture)...)
	if status != 0 {
		t.Fatalf("status %d\n%s\n%s", status, stdout, stderr)
	}
	for _, part := range []string{
		"reviews.csv: 10 rows, 5 negative, 5 positive", "epoch  train loss valid. loss  accuracy", "\n    1 ", "\n    2 ",
		"on 2 rows that were not learnt from", "acme/reviews@v1, sha256:", "valence serve --data-dir " + dir,
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("%q is not in\n%s", part, stdout)
		}
	}
	if svg, err := os.ReadFile(picture); err != nil || !strings.Contains(string(svg), "accuracy") {
		t.Errorf("picture: %v", err)
	}
	url, log, stop := serve(t, "--data-dir", dir)
	if status, answer := post(t, url, `{"text":"wonderful","adapter":"acme/reviews"}`); status != 200 || len(answer["results"].([]any)) != 1 {
		t.Errorf("%d %v", status, answer)
	}
	if code := stop(); code != 0 {
		t.Errorf("status %d\n%s", code, log)
	}
}

func TestTrainAtServer(t *testing.T) {
	url, log, stop := serve(t)
	status, stdout, stderr := valence(t, "", trainArgs(t, "--server", url, "--dry-run")...)
	if status != 0 || !strings.Contains(stdout, "learnt from, measured on  8, 2") || !strings.Contains(stdout, "Nothing was trained") || !strings.Contains(stdout, "curl -X DELETE "+url+"/v1/datasets/sha256:") {
		t.Errorf("status %d\n%s\n%s", status, stdout, stderr)
	}
	status, stdout, stderr = valence(t, "", trainArgs(t, "--server", url, "--validation", "0", "--dry-run")...)
	if status != 0 || !strings.Contains(stdout, "learnt from, measured on  10, 0") {
		t.Errorf("status %d\n%s\n%s", status, stdout, stderr)
	}
	status, stdout, stderr = valence(t, "", trainArgs(t, "--server", url, "--seed", "1", "--seed", "2")...)
	if status != 0 || !strings.Contains(stdout, "run  learning rate") || !strings.Contains(stdout, "It answers now") {
		t.Errorf("status %d\n%s\n%s", status, stdout, stderr)
	}
	status, stdout, stderr = valence(t, "", trainArgs(t, "--server", url, "--json")...)
	var job struct {
		ID, State, Version string
	}
	if err := json.Unmarshal([]byte(stdout), &job); err != nil || status != 0 || job.State != "succeeded" || job.Version != "v2" {
		t.Errorf("status %d, %v\n%s\n%s", status, err, stdout, stderr)
	}
	status, stdout, _ = valence(t, "", "train", "--server", url, "--job", job.ID)
	if status != 0 || !strings.Contains(stdout, "acme/reviews@v2") {
		t.Errorf("again: status %d\n%s", status, stdout)
	}
	if code := stop(); code != 0 || !strings.Contains(log.String(), "tensor_handles=0") {
		t.Errorf("status %d\n%s", code, log)
	}
}

func TestTrainSaysWhatIsWrong(t *testing.T) {
	url, _ := oneAnswer(t, 422, `{"title":"Unprocessable Entity","status":422,"code":"invalid_dataset","detail":"x","errors":[
		{"pointer":"","code":"invalid","detail":"it is empty","line":7,"row":6,"column":"label"}]}`)
	data := write(t, "a.csv", fewReviews)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "give one of --data, --feedback and --job"},
		{[]string{"--data", data, "--feedback", "-a", "x"}, "give one of"},
		{[]string{"--data", data}, "--adapter is missing"},
		{[]string{"--data", "/no/such.csv", "-a", "x"}, "no such file"},
		{[]string{"--job", "j", "--adapter", "x"}, "leave out --adapter"},
		{[]string{"--data", data, "-a", "x", "--cancel"}, "--cancel needs --job"},
		{[]string{"--data", data, "-a", "x", "--picture", "a.gif"}, ".png or .svg"},
		{[]string{"--data", data, "-a", "x", "--private"}, "--push"},
		{[]string{"--data", data, "-a", "x", "--drop-unmapped"}, "--label-map"},
		{[]string{"--data", data, "-a", "x", "--activate", "maybe"}, "always"},
		{[]string{"--data", data, "-a", "x", "--threads=-1"}, "allowed are 0"},
		{[]string{"--data", data, "-a", "x", "--base", "/no/such"}, "there is no such folder"},
		{[]string{"--data", data, "-a", "x", "--server", "localhost"}, "write http://HOST:PORT"},
		{[]string{"--data", data, "-a", "x", "--server", url}, "a.csv cannot be used:\n  line 7, column \"label\": it is empty"},
	} {
		status, _, stderr := valence(t, "", append([]string{"train"}, tc.args...)...)
		if status == 0 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %s", tc.args, status, stderr)
		}
	}
}

// TestTrainOffersToGoOn ends the command while its job goes on.
func TestTrainOffersToGoOn(t *testing.T) {
	watching := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			close(watching)
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, `{"id":"j1","state":"running"}`)
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var errs strings.Builder
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"train", "--job", "j1", "--server", s.URL}, streams{in: strings.NewReader(""), out: &strings.Builder{}, err: &errs})
	}()
	<-watching
	cancel()
	select {
	case status := <-done:
		if status != 1 || !strings.Contains(errs.String(), "valence train --job j1 --server "+s.URL+"\n  valence train --job j1 --server "+s.URL+" --cancel") {
			t.Errorf("status %d, %s", status, errs.String())
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end")
	}
}
