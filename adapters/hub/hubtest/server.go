package hubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// mirror is the part of the storage's paths under which it gives the hub's answers.
const mirror = "/mirror"

// control is the part of the hub's paths where a test in another process sets faults
// (POST, as JSON, or DELETE) and reads what was asked (GET).
const control = "/-/"

// Server is a hub that listens: the hub itself at one address, its storage at another.
type Server struct {
	*Hub
	URL     string
	servers []*http.Server
}

// Start makes an empty hub and lets it listen on a port of the loopback interface.
func Start() (*Server, error) { return StartAt("127.0.0.1:0") }

// StartAt is Start with the hub's address given. It must be of the loopback interface.
func StartAt(address string) (*Server, error) {
	s := &Server{Hub: New()}
	hub, err := s.listen(address, s.serveHub)
	if err != nil {
		return nil, err
	}
	storage, err := s.listen("127.0.0.1:0", s.serveStorage)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.URL, s.storage = "http://"+hub, "http://"+storage
	return s, nil
}

func (s *Server) listen(address string, handler http.HandlerFunc) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("hubtest: address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", fmt.Errorf("hubtest: address %q: an IP address of the loopback interface is wanted", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("hubtest: %w", err)
	}
	server := &http.Server{Handler: handler}
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), nil
}

// Close stops listening and cuts what is under way.
func (s *Server) Close() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}

func (h *Hub) serveHub(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, control) {
		h.serveControl(w, r)
		return
	}
	h.serve(w, r, "hub", h.route)
}

func (h *Hub) serveStorage(w http.ResponseWriter, r *http.Request) {
	route := h.store
	if strings.HasPrefix(r.URL.Path, mirror+"/") {
		route = func(r *http.Request) (answer, *refusal) {
			r.Header.Del("Authorization")
			r.URL.Path = strings.TrimPrefix(r.URL.Path, mirror)
			r.URL.RawPath = strings.TrimPrefix(r.URL.RawPath, mirror)
			return h.route(r)
		}
	}
	h.serve(w, r, "storage", route)
}

// serve records the request, and answers it or lets it meet a fault.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request, host string, route func(*http.Request) (answer, *refusal)) {
	h.mu.Lock()
	h.seen = append(h.seen, Seen{host, r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), r.Header.Get("Range")})
	fault, storage := h.fault(r), h.storage
	h.mu.Unlock()
	next := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // before the lock: a client may be slow
		if err != nil {
			badRequest("the body broke off").write(w)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.mu.Lock()
		answer, refused := route(r)
		h.mu.Unlock()
		if refused != nil {
			refused.write(w)
			return
		}
		answer.write(w, r)
	}
	if fault == nil {
		next(w, r)
		return
	}
	fault.serve(w, r, storage, next)
}

func (h *Hub) serveControl(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, control) {
	case "POST faults":
		var f Fault
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			badRequest("the fault is no JSON: " + err.Error()).write(w)
			return
		}
		h.Fail(f)
		writeJSON(w, http.StatusOK, f)
	case "DELETE faults":
		h.Heal()
		writeJSON(w, http.StatusOK, nil)
	case "GET requests":
		writeJSON(w, http.StatusOK, h.Requests())
	default:
		_, refused := notFound()
		refused.write(w)
	}
}
