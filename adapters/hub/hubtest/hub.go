package hubtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// Repo says who may read a repository.
type Repo struct {
	Private bool     // none but its owner sees it
	Gated   bool     // all see that it is there; only those granted read its files
	Granted []string // users, of a gated repository
}

// Hub is the state of a hub. It is safe for concurrent use.
type Hub struct {
	mu      sync.Mutex
	repos   map[string]*repo
	renamed map[string]string
	storage string            // address of the large file storage
	users   map[string]string // by token
	objects map[string][]byte // large files, by SHA-256
	faults  []*Fault
	seen    []Seen
}

type repo struct {
	Repo
	branches map[string]string // commit by name
	tags     map[string]string
	commits  map[string]*commit
}

type commit struct {
	id, parent, message string
	files               map[string]file
}

type file struct {
	data   []byte
	sha256 string // of a large file, or ""
	git    string // object id of the content, or of the pointer of a large file
}

// Seen is a request that the hub or its storage met.
type Seen struct {
	Host          string // "hub" or "storage"
	Method, Path  string
	Authorization string
	Range         string
}

// New makes an empty hub.
func New() *Hub {
	return &Hub{
		repos: map[string]*repo{}, renamed: map[string]string{}, users: map[string]string{}, objects: map[string][]byte{},
	}
}

// AddToken lets a token stand for a user. A user owns the repositories whose id
// begins with the name and a slash.
func (h *Hub) AddToken(token, user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users[token] = user
}

// Create makes a repository with one commit on the branch main. It tells whether
// there was none.
func (h *Hub) Create(id string, settings Repo) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.create(id, settings)
}

func (h *Hub) create(id string, settings Repo) bool {
	if h.repos[id] != nil {
		return false
	}
	r := &repo{Repo: settings, branches: map[string]string{}, tags: map[string]string{}, commits: map[string]*commit{}}
	h.repos[id] = r
	r.commit("main", "initial commit", map[string]file{".gitattributes": newFile([]byte(attributes))})
	return true
}

// attributes is the .gitattributes that decides what is large, in the Hub's manner.
const attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n"

func isLarge(name string) bool {
	return slices.Contains([]string{".bin", ".safetensors"}, path.Ext(name))
}

// Commit puts files on a branch of a repository, which both must be there, and gives
// the commit. Content that is nil deletes a file.
func (h *Hub) Commit(id, branch, message string, contents map[string][]byte) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[id]
	files := maps.Clone(r.commits[r.branches[branch]].files)
	for name, data := range contents {
		switch {
		case data == nil:
			delete(files, name)
		case isLarge(name):
			files[name] = h.newLargeFile(data)
		default:
			files[name] = newFile(data)
		}
	}
	return r.commit(branch, message, files)
}

// Branch makes or moves a branch.
func (h *Hub) Branch(id, name, commit string) { h.name(id, commit, name, false) }

// Tag makes or moves a tag.
func (h *Hub) Tag(id, name, commit string) { h.name(id, commit, name, true) }

func (h *Hub) name(id, commit, name string, tag bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if tag {
		h.repos[id].tags[name] = commit
	} else {
		h.repos[id].branches[name] = commit
	}
}

// Rename moves a repository; requests for the old id are redirected.
func (h *Hub) Rename(from, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[to], h.renamed[from] = h.repos[from], to
	delete(h.repos, from)
}

// Files gives the content of a commit, branch or tag, or nil if there is none.
func (h *Hub) Files(id, revision string) map[string][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[id]
	if r == nil || r.find(revision) == nil {
		return nil
	}
	contents := map[string][]byte{}
	for name, f := range r.find(revision).files {
		contents[name] = f.data
	}
	return contents
}

// Requests gives what was asked since the last call.
func (h *Hub) Requests() []Seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen
	h.seen = nil
	return seen
}

// find gives a commit by branch, tag or full hash. Shortened hashes are unknown, as
// they are to the Hub.
func (r *repo) find(revision string) *commit {
	for _, id := range []string{r.branches[revision], r.tags[revision], revision} {
		if c := r.commits[id]; c != nil {
			return c
		}
	}
	return nil
}

// commit moves a branch on. The same history gives the same hashes.
func (r *repo) commit(branch, message string, files map[string]file) string {
	parent := r.branches[branch]
	sum := sha1.New()
	fmt.Fprintf(sum, "%s\n%s\n", parent, message)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%s %s\n", files[name].git, name)
	}
	c := &commit{hex.EncodeToString(sum.Sum(nil)), parent, message, files}
	r.commits[c.id] = c
	r.branches[branch] = c.id
	return c.id
}

// history gives a commit and those before it, the newest first.
func (r *repo) history(c *commit) []*commit {
	var all []*commit
	for ; c != nil; c = r.commits[c.parent] {
		all = append(all, c)
	}
	return all
}

func newFile(data []byte) file { return file{data: data, git: gitHash(data)} }

// newLargeFile keeps an object. Git has a pointer in its place
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
func (h *Hub) newLargeFile(data []byte) file {
	sum := sha256.Sum256(data)
	oid := hex.EncodeToString(sum[:])
	h.objects[oid] = data
	return file{data: data, sha256: oid, git: gitHash(pointer(oid, len(data)))}
}

func pointer(oid string, size int) []byte {
	return fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, size)
}

func gitHash(data []byte) string {
	sum := sha1.New()
	fmt.Fprintf(sum, "blob %d\x00%s", len(data), data)
	return hex.EncodeToString(sum.Sum(nil))
}

// owner is the user that a repository belongs to; "" for one without.
func owner(id string) string {
	user, _, ok := strings.Cut(id, "/")
	if !ok {
		return ""
	}
	return user
}
