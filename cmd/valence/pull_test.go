package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// oneAnswer is a server that gives one answer and keeps what it was asked.
func oneAnswer(t *testing.T, status int, answer string) (url string, asked *string) {
	t.Helper()
	asked = new(string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*asked = strings.Join([]string{r.Method, r.URL.EscapedPath(), string(body), r.Header.Get("Authorization"), r.Header.Get("X-Hub-Token")}, " ")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestPull(t *testing.T) {
	t.Setenv("VALENCE_ADMIN_KEY", "first-key,second-key")
	url, asked := oneAnswer(t, 201, `{"id":"acme/reviews","version":"v2","new":true,"versions":[
		{"version":"v1","digest":"sha256:1","source":"upload","created":"2026-01-02T03:04:05Z"},
		{"version":"v2","digest":"sha256:2","source":"hub","origin":"acme/r@c0ffee","created":"2026-01-03T03:04:05Z","active":true}]}`)
	status, stdout, stderr := valence(t, "", "pull", "acme/reviews", "--repo", "acme/r", "--revision", "main", "--no-activate", "--server", url, "--hub-token", "mine")
	want := `POST /v1/adapters/acme%2Freviews/pull {"repo":"acme/r","revision":"main","activate":false} Bearer first-key mine`
	if status != 0 || *asked != want {
		t.Errorf("status %d, %s, asked %s", status, stderr, *asked)
	}
	for _, part := range []string{"acme/reviews@v2 is new", "v2       yes     2026-01-03 03:04:05  sha256:2  hub acme/r@c0ffee"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("%q is not in\n%s", part, stdout)
		}
	}
}

func TestPush(t *testing.T) {
	t.Setenv("VALENCE_KEY", "the-key")
	url, asked := oneAnswer(t, 200, `{"repo":"acme/r","branch":"main","commit":"c0ffee","url":"https://hub.example/acme/r/commit/c0ffee"}`)
	status, stdout, stderr := valence(t, "", "push", "reviews@v3", "--repo", "acme/r", "--create", "--private", "-m", "June", "--server", url)
	want := `POST /v1/adapters/reviews/push {"repo":"acme/r","message":"June","version":"v3","create":true,"private":true} Bearer the-key `
	if status != 0 || *asked != want {
		t.Errorf("status %d, %s, asked %s", status, stderr, *asked)
	}
	if stdout != "reviews@v3 is commit c0ffee on main of acme/r\nhttps://hub.example/acme/r/commit/c0ffee\n" {
		t.Errorf("%q", stdout)
	}
}

func TestPullAndPushTellWhatIsWrong(t *testing.T) {
	url, _ := oneAnswer(t, 424, `{"title":"Failed Dependency","status":424,"code":"hub_unauthorized","detail":"no token may read acme/r","request_id":"r7"}`)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"pull", "acme/r", "--server", url}, "424 Failed Dependency (hub_unauthorized): no token may read acme/r [request r7]"},
		{[]string{"push", "acme/r", "--server", url}, "hub_unauthorized"},
		{[]string{"pull"}, "<id>"},
		{[]string{"push"}, "<ref>"},
		{[]string{"push", "a", "--private"}, "--create"},
		{[]string{"pull", "a", "--server", "localhost"}, "write http://HOST:PORT"},
	} {
		status, _, stderr := valence(t, "", tc.args...)
		if status == 0 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %s", tc.args, status, stderr)
		}
	}
}
