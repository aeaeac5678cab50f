package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// metadata is what the Hub announces of a file.
type metadata struct {
	hash string // SHA-256 or git hash: the blob's name
	size int64
}

// resolveURL is the address of a file's content.
func (c *Client) resolveURL(repo, commit, file string) string {
	parts := strings.Split(file, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return c.endpoint.String() + "/" + repo + "/resolve/" + url.PathEscape(commit) + "/" + strings.Join(parts, "/")
}

// head asks for a file's metadata, and with that whether the token may read it. The
// error of a file that the commit lacks has the code codeEntry.
func (c *Client) head(ctx context.Context, t target, commit, token string) (metadata, error) {
	var meta metadata
	r := &request{target: t, method: http.MethodHead, url: c.resolveURL(t.repo, commit, t.file), token: token, stay: true}
	err := c.do(ctx, r, func(resp *http.Response) error {
		var err error
		meta, err = t.announced(resp.Header, commit)
		return err
	})
	return meta, err
}

// announced reads the headers of a file's address. Those of the file behind a
// redirect, X-Linked-*, come before those of the answer itself.
func (t target) announced(h http.Header, commit string) (metadata, error) {
	if got := h.Get("X-Repo-Commit"); got != commit {
		return metadata{}, t.fail(ErrCorrupt, nil,
			"the Hub answers with commit %.60q where %s was asked; does the endpoint lead to a Hub?", got, commit)
	}
	etag, length := h.Get("X-Linked-Etag"), h.Get("X-Linked-Size")
	if etag == "" {
		etag = h.Get("ETag")
	}
	if length == "" {
		length = h.Get("Content-Length")
	}
	hash := strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
	if _, err := hashFor(hash, 0); err != nil {
		return metadata{}, t.fail(ErrCorrupt, err, "the Hub announces no hash that its content could be checked by")
	}
	size, err := strconv.ParseInt(length, 10, 64)
	if err != nil || size < 0 {
		return metadata{}, t.fail(ErrCorrupt, nil, "the Hub announces the size %.40q", length)
	}
	return metadata{hash, size}, nil
}

// bring gets a file into the cache, unless another has done so by now.
func (p *pull) bring(ctx context.Context, file content) error {
	t := p.of(file.name)
	unlock, err := p.folder.lock(ctx, file.hash)
	if err != nil {
		if e := p.ended(ctx, t); e != nil {
			return e
		}
		return t.fail(ErrCache, err, "locking")
	}
	defer unlock()
	if err := verify(p.folder.blob(file.hash), file.hash); err != nil {
		if err := p.download(ctx, t, file); err != nil {
			return err
		}
	}
	if err := p.folder.link(p.commit, file.name, file.hash); err != nil {
		return t.fail(ErrCache, err, "linking the snapshot to the content")
	}
	return nil
}

// download fetches a file into its blob. What is not as announced is fetched once
// more, from its beginning.
func (p *pull) download(ctx context.Context, t target, file content) error {
	blob := p.folder.blob(file.hash)
	incomplete := blob + ".incomplete"
	if err := os.MkdirAll(filepath.Dir(blob), dirMode); err != nil {
		return t.fail(ErrCache, err, "making a folder")
	}
	err := p.fill(ctx, t, file, incomplete)
	if errors.Is(err, ErrCorrupt) {
		p.log.WarnContext(ctx, "fetching a file again", "error", err)
		err = p.fill(ctx, t, file, incomplete)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(incomplete, blob); err != nil {
		return t.fail(ErrCache, err, "naming the content")
	}
	return nil
}

// fill completes the file at path, from where an earlier try left it, and checks it.
// Where it is not as announced, it is removed.
func (p *pull) fill(ctx context.Context, t target, file content, path string) error {
	err := p.transfer(ctx, t, file, path)
	if err == nil {
		if err = verify(path, file.hash); err != nil {
			err = t.fail(ErrCorrupt, err, "what was fetched is not what the Hub announced")
		}
	}
	if errors.Is(err, ErrCorrupt) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return t.fail(ErrCache, err, "removing what was fetched")
		}
	}
	return err
}

// transfer appends to the file at path until it has the announced size.
func (p *pull) transfer(ctx context.Context, t target, file content, path string) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return t.fail(ErrCache, err, "opening")
	}
	defer out.Close()
	info, err := out.Stat()
	if err != nil {
		return t.fail(ErrCache, err, "opening")
	}
	part := &partial{target: t, out: out, have: info.Size(), size: file.size, report: p.report}
	if part.have > part.size {
		return t.fail(ErrCorrupt, nil, "the part fetched before has %d bytes, the file %d", part.have, part.size)
	}
	part.most = part.have
	if part.have < part.size {
		r := &request{
			target: t, method: http.MethodGet, url: p.resolveURL(t.repo, p.commit, t.file), token: p.token, prepare: part.ask,
		}
		if err := p.do(ctx, r, part.take); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return t.fail(ErrCache, err, "writing")
	}
	p.finished += file.size
	return nil
}

// report tells how far the fetching of all files is when the present one has so many
// bytes.
func (p *pull) report(have int64) {
	if p.o.Progress == nil {
		return
	}
	total := int64(0)
	for _, c := range p.fetch {
		total += c.size
	}
	p.o.Progress(p.finished+have, total)
}

// partial is a file on its way.
type partial struct {
	target
	out  *os.File
	have int64 // bytes of it that are there
	size int64 // announced
	most int64 // the highest that have was

	report func(have int64)
}

// ask asks for the part that is missing.
func (p *partial) ask(h http.Header) {
	if p.have > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", p.have))
	}
}

// take writes an answer's body behind what is there, or over it if the answer is the
// whole file.
func (p *partial) take(resp *http.Response) error {
	if err := p.seek(resp); err != nil {
		return err
	}
	rest := p.size - p.have
	if n := resp.ContentLength; n >= 0 && n != rest {
		return p.fail(ErrCorrupt, nil, "%d bytes are sent where %d were announced", n, rest)
	}
	n, err := io.Copy(&diskWriter{p, p.have}, io.LimitReader(resp.Body, rest+1))
	p.have += n
	switch e, disk := errors.AsType[*diskError](err); {
	case disk:
		return p.fail(ErrCache, e.error, "writing")
	case err != nil:
		return p.broken(err)
	case p.have > p.size:
		return p.fail(ErrCorrupt, nil, "more is sent than the %d bytes announced", p.size)
	case p.have < p.size:
		return p.fail(ErrCorrupt, nil, "%d bytes are sent of the %d announced", p.have, p.size)
	}
	return nil
}

// seek sets the position that the answer begins at.
func (p *partial) seek(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		want := fmt.Sprintf("bytes %d-%d/%d", p.have, p.size-1, p.size)
		if got := resp.Header.Get("Content-Range"); got != want {
			return p.fail(ErrCorrupt, nil, "the range %.60q is sent where %q was asked", got, want)
		}
	} else {
		p.have = 0
		if err := p.out.Truncate(0); err != nil {
			return p.fail(ErrCache, err, "writing")
		}
	}
	if _, err := p.out.Seek(p.have, io.SeekStart); err != nil {
		return p.fail(ErrCache, err, "writing")
	}
	return nil
}

// broken is the error of a body that broke off.
func (p *partial) broken(cause error) *Error {
	e := p.fail(ErrUnavailable, cause, "the transfer broke off after %d of %d bytes", p.have, p.size)
	e.temporary = true
	e.progress = p.have > p.most
	p.most = max(p.most, p.have)
	return e
}

// diskWriter tells errors of the disk from those of the network, and how far it is.
type diskWriter struct {
	p    *partial
	have int64
}

type diskError struct{ error }

func (w *diskWriter) Write(b []byte) (int, error) {
	n, err := w.p.out.Write(b)
	w.have += int64(n)
	w.p.report(w.have)
	if err != nil {
		return n, &diskError{err}
	}
	return n, nil
}
