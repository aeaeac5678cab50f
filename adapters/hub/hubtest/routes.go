package hubtest

import (
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// answer is what a handler says; it is written when the hub's lock is free again.
type answer struct {
	status int // 200 if 0
	header map[string]string
	json   any
	file   []byte // in place of json, if not nil; ranges of it can be asked
}

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	switch {
	case a.file != nil:
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.file))
	case a.status >= 300 && a.status < 400:
		w.WriteHeader(a.status)
	default:
		writeJSON(w, max(a.status, http.StatusOK), a.json)
	}
}

// handler answers a request about the repository id; rest is the path behind it.
type handler func(r *http.Request, id string, rest []string) (answer, *refusal)

func notFound() (answer, *refusal) {
	return answer{}, &refusal{http.StatusNotFound, "", "Sorry, we can't find the page you are looking for."}
}

// route answers a request to the hub.
func (h *Hub) route(r *http.Request) (answer, *refusal) {
	path := segments(r)
	switch strings.Join(path, "/") {
	case "api/whoami-v2":
		return h.whoami(r)
	case "api/validate-yaml":
		return answer{json: map[string]any{"errors": []string{}, "warnings": []string{}}}, nil
	case "api/repos/create":
		return h.createRepo(r)
	}
	api := len(path) > 2 && path[0] == "api" && path[1] == "models"
	if api {
		path = path[2:]
	}
	handlers := h.handlers(api)
	for n := min(2, len(path)); n > 0; n-- { // an id has one part or two
		verb := ""
		if n < len(path) {
			verb = path[n]
		}
		if handle := handlers[verb]; handle != nil && (verb != "" || api) {
			return h.about(r, strings.Join(path[:n], "/"), path[min(n+1, len(path)):], handle)
		}
	}
	return notFound()
}

func (h *Hub) handlers(api bool) map[string]handler {
	if !api {
		return map[string]handler{"resolve": h.resolve, "info": h.lfs}
	}
	return map[string]handler{
		"": h.info, "revision": h.info, "tree": h.tree, "commits": h.commits, "refs": h.refs,
		"branch": h.makeBranch, "tag": h.makeTag, "preupload": h.preupload, "commit": h.makeCommit,
	}
}

// about redirects requests for a renamed repository, and answers others.
func (h *Hub) about(r *http.Request, id string, rest []string, handle handler) (answer, *refusal) {
	id = strings.TrimSuffix(id, ".git")
	if to, ok := h.renamed[id]; ok {
		location := strings.Replace(r.URL.EscapedPath(), id, to, 1)
		return answer{status: http.StatusTemporaryRedirect, header: map[string]string{"Location": location}}, nil
	}
	return handle(r, id, rest)
}

// segments are the parts of the path, unescaped one by one: a branch can hold "/".
func segments(r *http.Request) []string {
	path := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i, part := range path {
		if plain, err := url.PathUnescape(part); err == nil {
			path[i] = plain
		}
	}
	return path
}

func (h *Hub) whoami(r *http.Request) (answer, *refusal) {
	user, refused := h.user(r)
	if refused == nil && user == "" {
		refused = &refusal{http.StatusUnauthorized, "", "Invalid username or password."}
	}
	return answer{json: map[string]any{"type": "user", "name": user, "orgs": []string{}}}, refused
}

// revised gives the commit of a visible repository that rest begins with, and main's
// where it is empty.
func (h *Hub) revised(r *http.Request, id string, rest []string) (*commit, *refusal) {
	repo, refused := h.visible(r, id)
	if refused != nil {
		return nil, refused
	}
	revision := "main"
	if len(rest) > 0 {
		revision = rest[0]
	}
	if c := repo.find(revision); c != nil {
		return c, nil
	}
	return nil, &refusal{http.StatusNotFound, "RevisionNotFound", "Invalid rev id: " + revision}
}

func (h *Hub) info(r *http.Request, id string, rest []string) (answer, *refusal) {
	c, refused := h.revised(r, id, rest)
	if refused != nil {
		return answer{}, refused
	}
	siblings := []map[string]string{}
	for _, name := range c.names() {
		siblings = append(siblings, map[string]string{"rfilename": name})
	}
	return answer{json: map[string]any{
		"id": id, "modelId": id, "sha": c.id, "private": h.repos[id].Private, "siblings": siblings,
		"tags": []string{}, "downloads": 0, "likes": 0,
	}}, nil
}

func (c *commit) names() []string { return slices.Sorted(maps.Keys(c.files)) }

// tree lists every file, however deep.
func (h *Hub) tree(r *http.Request, id string, rest []string) (answer, *refusal) {
	c, refused := h.revised(r, id, rest)
	if refused != nil {
		return answer{}, refused
	}
	list := []map[string]any{}
	for _, name := range c.names() {
		f := c.files[name]
		entry := map[string]any{"type": "file", "path": name, "size": len(f.data), "oid": f.git}
		if f.sha256 != "" {
			entry["lfs"] = map[string]any{"oid": f.sha256, "size": len(f.data), "pointerSize": len(pointer(f.sha256, len(f.data)))}
		}
		list = append(list, entry)
	}
	return answer{json: list}, nil
}

// resolve answers with a file, or where the storage has it.
func (h *Hub) resolve(r *http.Request, id string, rest []string) (answer, *refusal) {
	if _, refused := h.readable(r, id); refused != nil {
		return answer{}, refused
	}
	c, refused := h.revised(r, id, rest)
	if refused != nil {
		return answer{}, refused
	}
	header := map[string]string{"X-Repo-Commit": c.id}
	f, ok := c.files[strings.Join(rest[1:], "/")]
	switch {
	case !ok:
		header["X-Error-Code"], header["X-Error-Message"] = "EntryNotFound", "Entry not found"
		return answer{status: http.StatusNotFound, header: header, json: map[string]string{"error": "Entry not found"}}, nil
	case f.sha256 != "":
		header["X-Linked-Etag"], header["X-Linked-Size"] = quote(f.sha256), size(f.data)
		header["Location"] = h.signed(f.sha256)
		return answer{status: http.StatusFound, header: header}, nil
	}
	header["ETag"] = quote(f.git)
	return answer{header: header, file: nonNil(f.data)}, nil
}

// nonNil keeps an empty file apart from none.
func nonNil(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
