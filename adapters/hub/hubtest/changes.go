package hubtest

import (
	"bufio"
	"encoding/json"
	"maps"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// commitsPage is how many commits the hub lists at once.
const commitsPage = 50

func (h *Hub) commits(r *http.Request, id string, rest []string) (answer, *refusal) {
	c, refused := h.revised(r, id, rest)
	if refused != nil {
		return answer{}, refused
	}
	all := h.repos[id].history(c)
	page, _ := strconv.Atoi(r.URL.Query().Get("p"))
	from := min(max(page, 0)*commitsPage, len(all))
	to := min(from+commitsPage, len(all))
	list := []map[string]any{}
	for _, c := range all[from:to] {
		list = append(list, map[string]any{"id": c.id, "title": c.message, "message": "", "date": epoch, "authors": []string{}})
	}
	a := answer{json: list, header: map[string]string{}}
	if to < len(all) {
		a.header["Link"] = "<http://" + r.Host + r.URL.EscapedPath() + "?p=" + strconv.Itoa(page+1) + `>; rel="next"`
	}
	return a, nil
}

// epoch is the date of everything.
const epoch = "2024-01-01T00:00:00.000Z"

func (h *Hub) refs(r *http.Request, id string, _ []string) (answer, *refusal) {
	repo, refused := h.visible(r, id)
	if refused != nil {
		return answer{}, refused
	}
	list := func(prefix string, names map[string]string) []map[string]string {
		refs := []map[string]string{}
		for name, commit := range names {
			refs = append(refs, map[string]string{"name": name, "ref": prefix + name, "targetCommit": commit})
		}
		return refs
	}
	return answer{json: map[string]any{
		"branches": list("refs/heads/", repo.branches), "tags": list("refs/tags/", repo.tags), "converts": []string{},
	}}, nil
}

func read(r *http.Request, to any) *refusal {
	if err := json.NewDecoder(r.Body).Decode(to); err != nil {
		return badRequest("the body is no JSON: " + err.Error())
	}
	return nil
}

func (h *Hub) createRepo(r *http.Request) (answer, *refusal) {
	user, refused := h.user(r)
	var body struct {
		Name, Organization, Type string
		Private                  bool
	}
	if refused == nil {
		refused = read(r, &body)
	}
	if refused != nil {
		return answer{}, refused
	}
	if body.Organization == "" {
		body.Organization = user
	}
	id := body.Organization + "/" + body.Name
	reply := map[string]string{"url": "http://" + r.Host + "/" + id, "name": id, "id": id}
	switch {
	case user == "" || user != body.Organization:
		return answer{}, &refusal{http.StatusForbidden, "", "You don't have the rights to create a model under the namespace " + body.Organization}
	case !h.create(id, Repo{Private: body.Private}):
		reply["error"] = "You already created this model repo"
		return answer{status: http.StatusConflict, json: reply}, nil
	}
	return answer{json: reply}, nil
}

func (h *Hub) makeBranch(r *http.Request, id string, rest []string) (answer, *refusal) {
	var body struct{ StartingPoint string }
	if refused := read(r, &body); refused != nil || len(rest) == 0 {
		return answer{}, refused
	}
	return h.makeRef(r, id, rest[0], body.StartingPoint, func(repo *repo) map[string]string { return repo.branches })
}

func (h *Hub) makeTag(r *http.Request, id string, rest []string) (answer, *refusal) {
	var body struct{ Tag string }
	if refused := read(r, &body); refused != nil || len(rest) == 0 {
		return answer{}, refused
	}
	return h.makeRef(r, id, body.Tag, rest[0], func(repo *repo) map[string]string { return repo.tags })
}

func (h *Hub) makeRef(r *http.Request, id, name, from string, of func(*repo) map[string]string) (answer, *refusal) {
	repo, refused := h.writable(r, id)
	if refused != nil {
		return answer{}, refused
	}
	if from == "" {
		from = "main"
	}
	c, refused := h.revised(r, id, []string{from})
	if refused != nil {
		return answer{}, refused
	}
	if of(repo)[name] != "" {
		return answer{}, &refusal{http.StatusConflict, "", "Reference already exists"}
	}
	of(repo)[name] = c.id
	return answer{json: map[string]any{}}, nil
}

// preupload says how files are to be stored.
func (h *Hub) preupload(r *http.Request, id string, rest []string) (answer, *refusal) {
	var body struct {
		Files     []struct{ Path string }
		GitIgnore string
	}
	if _, refused := h.writable(r, id); refused != nil {
		return answer{}, refused
	}
	c, refused := h.revised(r, id, rest)
	if refused == nil {
		refused = read(r, &body)
	}
	if refused != nil {
		return answer{}, refused
	}
	ignored := strings.Fields(string(c.files[".gitignore"].data) + "\n" + body.GitIgnore)
	list := []map[string]any{}
	for _, f := range body.Files {
		entry := map[string]any{"path": f.Path, "uploadMode": "regular", "shouldIgnore": matches(ignored, f.Path)}
		if isLarge(f.Path) {
			entry["uploadMode"] = "lfs"
		}
		if there, ok := c.files[f.Path]; ok {
			entry["oid"] = there.git
			if there.sha256 != "" {
				entry["oid"] = there.sha256
			}
		}
		list = append(list, entry)
	}
	return answer{json: map[string]any{"files": list}}, nil
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

// operation is one line of a commit's body, the header or a change.
type operation struct {
	Key   string
	Value struct {
		Summary, ParentCommit string // of the header
		Path, OID             string
		Content               []byte // base64 in the JSON
	}
}

func (h *Hub) makeCommit(r *http.Request, id string, rest []string) (answer, *refusal) {
	repo, refused := h.writable(r, id)
	if refused != nil {
		return answer{}, refused
	}
	if len(rest) == 0 || repo.branches[rest[0]] == "" {
		return answer{}, &refusal{http.StatusNotFound, "RevisionNotFound", "Invalid branch"}
	}
	branch := rest[0]
	head := repo.commits[repo.branches[branch]]
	files := maps.Clone(head.files)
	message := ""
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var o operation
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return answer{}, badRequest("a line is no JSON: " + err.Error())
		}
		if o.Key == "header" {
			message = o.Value.Summary
			if p := o.Value.ParentCommit; p != "" && p != head.id {
				return answer{}, &refusal{http.StatusPreconditionFailed, "", "A commit has happened since. Please refresh and try again."}
			}
		} else if refused := h.apply(o, files); refused != nil {
			return answer{}, refused
		}
	}
	if err := lines.Err(); err != nil || message == "" {
		return answer{}, badRequest("the commit has no summary, or broke off")
	}
	commit := repo.commit(branch, message, files)
	return answer{json: map[string]any{
		"success": true, "commitOid": commit, "commitUrl": "http://" + r.Host + "/" + id + "/commit/" + commit, "hookOutput": "",
	}}, nil
}

// apply changes the files of a commit in the making.
func (h *Hub) apply(o operation, files map[string]file) *refusal {
	v := o.Value
	switch o.Key {
	case "file":
		files[v.Path] = newFile(v.Content)
	case "lfsFile":
		data, ok := h.objects[v.OID]
		if !ok {
			return badRequest("LFS pointer pointed to a file that does not exist: " + v.Path)
		}
		files[v.Path] = h.newLargeFile(data)
	case "deletedFile":
		if _, ok := files[v.Path]; !ok {
			return &refusal{http.StatusNotFound, "EntryNotFound", "A file with this name doesn't exist"}
		}
		delete(files, v.Path)
	case "deletedFolder":
		maps.DeleteFunc(files, func(name string, _ file) bool {
			return strings.HasPrefix(name, strings.TrimSuffix(v.Path, "/")+"/")
		})
	default:
		return badRequest("unknown operation " + o.Key)
	}
	return nil
}
