package hubtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// refusal is an answer of the Hub that is no success.
type refusal struct {
	status  int
	code    string // X-Error-Code
	message string
}

func (f *refusal) write(w http.ResponseWriter) {
	if f.code != "" {
		w.Header().Set("X-Error-Code", f.code)
	}
	w.Header().Set("X-Error-Message", f.message)
	writeJSON(w, f.status, map[string]string{"error": f.message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func badRequest(message string) *refusal { return &refusal{http.StatusBadRequest, "", message} }

// user gives the user of a request's token, or "" where it has none.
func (h *Hub) user(r *http.Request) (string, *refusal) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", nil
	}
	token, _ := strings.CutPrefix(header, "Bearer ")
	if user, ok := h.users[token]; ok {
		return user, nil
	}
	return "", &refusal{http.StatusUnauthorized, "", "Invalid credentials in Authorization header"}
}

// visible gives a repository that the request may know of. To others a private one
// is as one that is not there, and to who gives no token both are unauthorized.
func (h *Hub) visible(r *http.Request, id string) (*repo, *refusal) {
	user, refused := h.user(r)
	if refused != nil {
		return nil, refused
	}
	repo := h.repos[id]
	switch {
	case repo != nil && (!repo.Private || user == owner(id)):
		return repo, nil
	case user == "":
		return nil, &refusal{http.StatusUnauthorized, "RepoNotFound", "Invalid username or password."}
	}
	return nil, &refusal{http.StatusNotFound, "RepoNotFound", "Repository not found"}
}

// readable gives a repository whose files the request may read.
func (h *Hub) readable(r *http.Request, id string) (*repo, *refusal) {
	repo, refused := h.visible(r, id)
	if refused != nil || !repo.Gated {
		return repo, refused
	}
	user, _ := h.user(r)
	switch {
	case user == owner(id) || slices.Contains(repo.Granted, user):
		return repo, nil
	case user == "":
		return nil, &refusal{http.StatusUnauthorized, "GatedRepo", "Access to model " + id + " is restricted. You must have access to it and be authenticated to access it. Please log in."}
	}
	return nil, &refusal{http.StatusForbidden, "GatedRepo", "Access to model " + id + " is restricted and you are not in the authorized list."}
}

// writable gives a repository that the request may change.
func (h *Hub) writable(r *http.Request, id string) (*repo, *refusal) {
	repo, refused := h.visible(r, id)
	if refused != nil {
		return nil, refused
	}
	if user, _ := h.user(r); user == "" || user != owner(id) {
		return nil, &refusal{http.StatusForbidden, "", "Forbidden: you must use a write token of " + owner(id) + "."}
	}
	return repo, nil
}
