package handlers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters/jobs"
)

// message is one Server-Sent Event, or a comment.
type message struct{ id, event, data, comment string }

// listener is a stream that is read.
type listener struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
	stop context.CancelFunc
}

// listen opens a stream on a real connection; headers are pairs of name and value.
func listen(t *testing.T, url string, headers ...string) *listener {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(stop)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", typeEvents)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &listener{t, resp, bufio.NewReader(resp.Body), stop}
}

// next gives the next message, or false at the end.
func (l *listener) next() (m message, ok bool) {
	l.t.Helper()
	for {
		line, err := l.r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return m, false
		}
		if err != nil {
			l.t.Fatalf("%v after %+v", err, m)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.data = value
		case "":
			if value != "" {
				m.comment = value
				continue
			}
			return m, true
		case "retry":
		default:
			l.t.Fatalf("line %q", line)
		}
	}
}

// events reads events, past comments, until there are n or the stream ends.
func (l *listener) events(n int) (out []jobs.Event) {
	l.t.Helper()
	for len(out) < n {
		m, ok := l.next()
		if !ok {
			return out
		}
		if m.data == "" {
			continue
		}
		var e jobs.Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			l.t.Fatalf("%v: %s", err, m.data)
		}
		if m.id != fmt.Sprint(e.Sequence) || m.event != string(e.Kind) {
			l.t.Errorf("%+v", m)
		}
		out = append(out, e)
	}
	return out
}

// onWire serves a workshop as a process would, with short deadlines.
func (w *workshop) onWire(t *testing.T) string {
	t.Helper()
	s := httptest.NewUnstartedServer(w.h)
	s.Config.ReadTimeout, s.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

const all = 1 << 20

// TestStream wants each event as it happens, past the deadlines of the connection, and
// the end after the final state.
func TestStream(t *testing.T) {
	w := openWorkshop(t, newPacer(3), nil)
	id := w.train()
	url := w.onWire(t) + "/v1/jobs/" + id + "/events"
	l := listen(t, url)
	if ct := l.resp.Header.Get("Content-Type"); l.resp.StatusCode != 200 || ct != typeEvents || l.resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, %s", l.resp.StatusCode, ct)
	}
	first := l.events(3)
	if len(first) != 3 || first[0].Kind != jobs.KindState || !strings.Contains(string(first[2].Data), `"to":"running"`) {
		t.Fatalf("%+v", first)
	}
	beats := 0
	for begin := time.Now(); time.Since(begin) < 700*time.Millisecond; {
		if m, ok := l.next(); !ok || m.comment != "heartbeat" {
			t.Fatalf("%+v, %v", m, ok)
		}
		beats++
	}
	if beats < 5 {
		t.Errorf("%d heartbeats", beats)
	}
	close(w.pacer.free)
	rest := l.events(all)
	last := rest[len(rest)-1]
	if !strings.Contains(string(last.Data), `"to":"succeeded"`) || rest[0].Sequence != 4 {
		t.Errorf("%+v", rest)
	}
	for i, e := range append(first, rest...) {
		if e.Sequence != int64(i+1) {
			t.Errorf("event %d has the sequence %d", i, e.Sequence)
		}
	}
	if log := w.log.String(); !strings.Contains(log, "/v1/jobs/{id}/events") || !strings.Contains(log, "status=200") {
		t.Errorf("no line of it in the log:\n%s", log)
	}

	// Who comes back gets the rest, and in the end is told not to come again.
	again := listen(t, url+"?after=1", headerLastEventID, fmt.Sprint(last.Sequence-2)).events(all)
	if len(again) != 2 || again[0].Sequence != last.Sequence-1 {
		t.Errorf("%+v", again)
	}
	if l := listen(t, url, headerLastEventID, fmt.Sprint(last.Sequence)); l.resp.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", l.resp.StatusCode)
	}
	if after := listen(t, url+"?after=2").events(all); len(after) == 0 || after[0].Sequence != 3 {
		t.Errorf("%+v", after)
	}
}

// TestStreamIsTheContracts holds a stream's exchanges against the contract.
func TestStreamIsTheContracts(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	close(w.pacer.free)
	id := w.train()
	w.reaches(id, jobs.Succeeded)
	path := "/v1/jobs/" + id + "/events"
	for _, accept := range []string{typeEvents, "application/json;q=0.5, text/event-stream", "text/event-stream;q=0.1"} {
		a := w.do(http.MethodGet, path, "", "Accept", accept)
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != typeEvents || !strings.HasPrefix(string(a.body), "retry: 2000\n\nid: 1\nevent: state\ndata: {") {
			t.Errorf("%s: status %d: %s", accept, a.StatusCode, a.body)
		}
	}
	for _, accept := range []string{"", "*/*", "application/json", "text/event-stream;q=0"} {
		if a := w.do(http.MethodGet, path, "", "Accept", accept); a.StatusCode != 200 || a.Header.Get("Content-Type") != typeJSON {
			t.Errorf("%s: status %d: %s", accept, a.StatusCode, a.body)
		}
	}
	if a := w.do(http.MethodGet, path, "", "Accept", typeEvents, headerLastEventID, "100000"); a.StatusCode != 204 || len(a.body) != 0 {
		t.Errorf("status %d", a.StatusCode)
	}
	if a := w.do(http.MethodHead, path, "", "Accept", typeEvents); a.StatusCode != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: status %d, %q", a.StatusCode, a.body)
	}
	for _, bad := range []string{"x", "-1", "1.5", "99999999999999999999"} {
		if p := w.do(http.MethodGet, path, "", "Accept", typeEvents, headerLastEventID, bad).problem(t, 422, codeInvalid); p.Errors[0].Parameter != headerLastEventID {
			t.Errorf("%s: %+v", bad, p)
		}
	}
}

func TestEventPages(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	close(w.pacer.free)
	id := w.train()
	w.reaches(id, jobs.Succeeded)
	var seen, pages int
	for query := "?limit=2"; query != ""; pages++ {
		var got eventList
		w.get(w.do(http.MethodGet, "/v1/jobs/"+id+"/events"+query, ""), 200, &got)
		seen += len(got.Events)
		query = ""
		if got.Next > 0 {
			query = fmt.Sprintf("?limit=2&after=%d", got.Next)
		}
	}
	job, err := w.manager.Get(t.Context(), id)
	if err != nil || seen != int(job.Events) || pages != (seen+1)/2 {
		t.Errorf("%d events on %d pages, of %d: %v", seen, pages, job.Events, err)
	}
	var none eventList
	w.get(w.do(http.MethodGet, "/v1/jobs/"+id+"/events?after=1000", ""), 200, &none)
	if none.Events == nil || len(none.Events) != 0 {
		t.Errorf("%+v", none)
	}
	for query, parameter := range map[string]string{"?after=-1": "after", "?after=x": "after", "?limit=1001": "limit", "?until=1": "until"} {
		if p := w.do(http.MethodGet, "/v1/jobs/"+id+"/events"+query, "").problem(t, 422, codeInvalid); p.Errors[0].Parameter != parameter {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

// TestStreamEndsWithTheServer wants streams not to hold up a server that shuts down.
func TestStreamEndsWithTheServer(t *testing.T) {
	w := openWorkshop(t, newPacer(3), nil)
	id := w.train()
	s := httptest.NewServer(w.h)
	l := listen(t, s.URL+"/v1/jobs/"+id+"/events")
	l.events(3)
	w.gate.Drain()
	if rest := l.events(all); len(rest) != 0 {
		t.Errorf("%+v", rest)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestStreamsLeaveNothing wants what a client has left to end.
func TestStreamsLeaveNothing(t *testing.T) {
	following := make(chan bool, 2)
	w := openWorkshop(t, newPacer(3), func(d *Deps) { d.Jobs = watched{d.Jobs, following} })
	l := listen(t, w.onWire(t)+"/v1/jobs/"+w.train()+"/events")
	l.events(1)
	if !<-following {
		t.Fatal("it did not begin")
	}
	l.stop()
	select {
	case <-following:
	case <-time.After(10 * time.Second):
		t.Error("the client is gone, and its stream goes on")
	}
}

// watched tells when following begins and ends.
type watched struct {
	Jobs
	following chan<- bool
}

func (w watched) Follow(ctx context.Context, id string, after int64) iter.Seq2[jobs.Event, error] {
	return func(yield func(jobs.Event, error) bool) {
		w.following <- true
		defer func() { w.following <- false }()
		w.Jobs.Follow(ctx, id, after)(yield)
	}
}

// broken follows with an error.
type broken struct {
	Jobs
	err error
}

func (b broken) Follow(context.Context, string, int64) iter.Seq2[jobs.Event, error] {
	return func(yield func(jobs.Event, error) bool) { yield(jobs.Event{}, b.err) }
}

// TestStreamTellsOfErrors wants a client to know whether to come back.
func TestStreamTellsOfErrors(t *testing.T) {
	for err, want := range map[error]string{
		jobs.ErrNotFound: `"code":"job_not_found"`, errors.New("secret"): `"code":"internal"`, jobs.ErrClosed: "",
	} {
		w := openWorkshop(t, newPacer(1), func(d *Deps) { d.Jobs = broken{d.Jobs, err} })
		a := w.do(http.MethodGet, "/v1/jobs/"+w.train()+"/events", "", "Accept", typeEvents)
		if has := strings.Contains(string(a.body), "event: problem\ndata: {"); has != (want != "") || !strings.Contains(string(a.body), want) {
			t.Errorf("%v: %s", err, a.body)
		}
		if strings.Contains(string(a.body), "secret") {
			t.Error("the cause is shown")
		}
	}
}

// TestStreamOfAnotherOrigin wants a page to be able to come back to a stream.
func TestStreamOfAnotherOrigin(t *testing.T) {
	w := openWorkshop(t, newPacer(1), func(d *Deps) { d.Origins = []string{"https://app.example"} })
	r := httptest.NewRequest(http.MethodOptions, "/v1/jobs/"+noJob()+"/events", nil)
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "GET")
	r.Header.Set("Access-Control-Request-Headers", "authorization,last-event-id")
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	if h := rec.Header(); h.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(strings.ToLower(h.Get("Access-Control-Allow-Headers")), "last-event-id") {
		t.Errorf("%d %v", rec.Code, h)
	}
}
