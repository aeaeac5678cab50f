package handlers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"valence/adapters"
)

// raw sends a request as it is written to a server on a real connection.
func raw(t *testing.T, address, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestHostileIDs wants every id that is none refused, by its reason or as a path that
// leads nowhere, whatever the call.
func TestHostileIDs(t *testing.T) {
	c := &changed{}
	s := serve(t, func(d *Deps) { d.Adapters = c.fake() })
	server := httptest.NewServer(s.h)
	defer server.Close()
	address := server.Listener.Addr().String()
	tests := []struct {
		name, id string
		status   int
		says     string
	}{
		{"out of the folder", "..", 422, `must not hold \"..\"`},
		{"further out", "../..", 422, `must not hold \"..\"`},
		{"out and in again", "../etc", 422, `must not hold \"..\"`},
		{"out of its owner", "acme/..", 422, `must not hold \"..\"`},
		{"escaped", "%2e%2e", 422, `must not hold \"..\"`},
		{"escaped in capitals", "%2E%2E%2Fetc", 422, `must not hold \"..\"`},
		{"escaped twice", "%252e%252e", 422, `must not hold '%'`},
		{"a dot", ".", 422, `must not begin or end`},
		{"a hidden file", ".ssh", 422, `must not begin or end`},
		{"a backslash", `..\etc`, 422, `must not hold`},
		{"an escaped backslash", `a%5Cb`, 422, `must not hold '\\\\'`},
		{"NUL", "a%00b", 422, `must not hold '\\x00'`},
		{"bytes that are no text", "%ff%fe", 422, `must not hold`},
		{"an absolute path", "/etc/passwd", 404, "not_found"},
		{"an absolute path, escaped", "%2Fetc%2Fpasswd", 422, `it may hold one \"/\" at most`},
		{"an absolute name, escaped", "%2Fetc", 422, `nothing stands before or after`},
		{"a drive", "C:", 422, `must not hold ':'`},
		{"a URL", "https:%2F%2Fevil.example", 422, `one \"/\" at most`},
		{"300 characters", strings.Repeat("a", 300), 422, "has 300 characters; at most 96 are allowed"},
		{"300 characters of an owner", strings.Repeat("a", 300) + "/b", 422, "has 300 characters"},
		{"a revision out of the folder", "a@..", 422, `the revision must not hold`},
		{"a semicolon", "a;b", 422, "must not hold ';'"},
		{"a space", "a%20b", 422, "must not hold ' '"},
		{"a line", "a%0d%0aX-Evil:%201", 422, `must not hold '\\r'`},
	}
	for _, tt := range tests {
		for _, call := range []string{"GET %s", "DELETE %s", "PUT %s", "GET %s/anatomy", "GET %s/diff", "POST %s/activate", "POST %s/pull", "POST %s/pin"} {
			method, path, _ := strings.Cut(fmt.Sprintf(call, "/v1/adapters/"+tt.id), " ")
			body, media := "", ""
			switch {
			case method == http.MethodPut:
				body, media = "--b--\r\n", "multipart/form-data; boundary=b"
			case strings.HasSuffix(call, "activate"):
				body, media = `{"version":"v1"}`, typeJSON
			}
			request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: valence\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", method, path, media, len(body), body)
			if media == "" {
				request = strings.Replace(request, "Content-Type: \r\n", "", 1)
			}
			resp := raw(t, address, request)
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			// Some ids with an action behind them are paths of more parts than any route has.
			refused := resp.StatusCode == tt.status && strings.Contains(string(answer), tt.says) ||
				(resp.StatusCode == 404 && strings.Contains(string(answer), `"code":"not_found"`)) && tt.status == 404
			if !refused || !strings.Contains(string(answer), `"code":`) {
				t.Errorf("%s: %s %s: status %d: %s", tt.name, method, path, resp.StatusCode, answer)
			}
			if resp.Header.Get("X-Evil") != "" {
				t.Errorf("%s: a header was smuggled in", tt.name)
			}
		}
	}
	if resp := raw(t, address, "GET /v1/adapters/a\x00b HTTP/1.1\r\nHost: valence\r\n\r\n"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("NUL as it is: status %d", resp.StatusCode)
	}
	if len(c.calls) > 0 {
		t.Errorf("calls %v", c.calls)
	}
	if resp := raw(t, address, "GET /v1/adapters/acme/reviews HTTP/1.1\r\nHost: valence\r\n\r\n"); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: status %d", resp.StatusCode)
	}
}

// TestSlowUpload wants an upload to outlive the deadlines that the server gives other
// requests.
func TestSlowUpload(t *testing.T) {
	c := &changed{}
	s := serve(t, func(d *Deps) { d.Adapters = c.fake() })
	server := httptest.NewUnstartedServer(s.h)
	server.Config.ReadTimeout, server.Config.WriteTimeout = time.Second, time.Second
	server.Start()
	defer server.Close()
	media, body := form(t, config, weights)
	pr, pw := io.Pipe()
	go func() {
		_, _ = io.WriteString(pw, body[:20])
		time.Sleep(1500 * time.Millisecond)
		_, _ = io.WriteString(pw, body[20:])
		_ = pw.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/v1/adapters/acme/reviews", pr)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", media)
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated || len(c.calls) != 1 {
		t.Errorf("status %d: %s", resp.StatusCode, answer)
	}
}

// TestUploadCutConnection wants a client that leaves halfway to change nothing, and to
// harm no other.
func TestUploadCutConnection(t *testing.T) {
	c := &changed{}
	s := serve(t, func(d *Deps) { d.Adapters = c.fake() })
	server := httptest.NewServer(s.h)
	media, body := form(t, config, weights)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(conn, "PUT /v1/adapters/a HTTP/1.1\r\nHost: valence\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", media, len(body), body[:len(body)/2])
	_ = conn.Close()
	server.Close() // waits for the request to end
	if len(c.calls) > 0 {
		t.Errorf("calls %v", c.calls)
	}
	if a := s.do(http.MethodGet, "/v1/adapters/"+adapters.BaseID, ""); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: status %d", a.StatusCode)
	}
}
