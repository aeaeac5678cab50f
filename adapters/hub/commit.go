package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
)

// planned is a file that must be part of the commit.
type planned struct {
	Upload
	lfs    bool
	sha256 string
}

// maxSample is how much of a file the Hub wants to see to choose its storage.
const maxSample = 512

// mode is how the Hub wants a file stored.
type mode struct {
	Path         string
	UploadMode   string // "lfs" or "regular"
	Oid          string // of the content that the branch has, or ""
	ShouldIgnore bool   // by the repository's .gitignore
}

// plan asks the Hub how each file is to be stored, and leaves out those that it has.
func (u *push) plan(ctx context.Context) ([]planned, error) {
	modes, err := u.modes(ctx)
	if err != nil {
		return nil, err
	}
	var files []planned
	for _, f := range u.Files {
		m, ok := modes[f.Path]
		switch {
		case !ok:
			return nil, u.of(f.Path).fail(ErrCorrupt, nil, "the Hub does not tell how to store it")
		case m.ShouldIgnore:
			return nil, u.of(f.Path).fail(ErrRejected, nil, "the repository's .gitignore leaves it out")
		}
		// An empty file cannot be in large file storage.
		p := planned{f, m.UploadMode == "lfs" && len(f.Data) > 0, sha256Of(f.Data)}
		if m.Oid == "" || m.Oid != p.oid() {
			files = append(files, p)
		}
	}
	return files, nil
}

// modes asks how the files are to be stored. The answer is by path.
func (u *push) modes(ctx context.Context) (map[string]mode, error) {
	type file struct {
		Path   string `json:"path"`
		Sample []byte `json:"sample"` // base64
		Size   int    `json:"size"`
	}
	var ask struct {
		Files []file `json:"files"`
	}
	for _, f := range u.Files {
		ask.Files = append(ask.Files, file{f.Path, f.Data[:min(len(f.Data), maxSample)], len(f.Data)})
	}
	var told struct{ Files []mode }
	if err := u.post(ctx, u.target, u.api(u.repo, "preupload", u.revision), jsonMedia, ask, &told); err != nil {
		return nil, err
	}
	modes := map[string]mode{}
	for _, m := range told.Files {
		modes[m.Path] = m
	}
	return modes, nil
}

// oid is the hash that the Hub knows a file's content by.
func (p *planned) oid() string {
	if p.lfs {
		return p.sha256
	}
	return gitHash(p.Data)
}

func gitHash(data []byte) string {
	h := gitHasher(int64(len(data)))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// line is one line of a commit's body.
type line struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// commit makes the commit of files whose large ones are stored.
func (u *push) commit(ctx context.Context, files []planned) (string, error) {
	var body bytes.Buffer
	out := json.NewEncoder(&body)
	header := map[string]string{"summary": u.Message, "description": u.Description}
	if u.Parent != "" {
		header["parentCommit"] = u.Parent
	}
	lines := []line{{"header", header}}
	for _, f := range files {
		lines = append(lines, f.line())
	}
	for _, l := range lines {
		if err := out.Encode(l); err != nil {
			return "", u.fail(ErrInvalid, err, "writing the commit")
		}
	}
	r := &request{
		target: u.target, method: http.MethodPost, url: u.api(u.repo, "commit", u.revision), token: u.token,
		header: http.Header{"Content-Type": {"application/x-ndjson"}}, body: body.Bytes(), once: true,
	}
	var made struct{ CommitOid string }
	err := u.do(ctx, r, func(resp *http.Response) error { return u.decode(resp.Body, &made) })
	if err == nil && !isCommit(made.CommitOid) {
		err = u.fail(ErrCorrupt, nil, "the Hub names the commit %.60q", made.CommitOid)
	}
	return made.CommitOid, err
}

func (p *planned) line() line {
	if p.lfs {
		return line{"lfsFile", map[string]any{"path": p.Path, "algo": "sha256", "oid": p.sha256, "size": len(p.Data)}}
	}
	content := base64.StdEncoding.EncodeToString(p.Data)
	return line{"file", map[string]any{"path": p.Path, "encoding": "base64", "content": content}}
}
