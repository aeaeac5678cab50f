package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"valence/adapters"
)

// Upload is one file to push.
type Upload struct {
	Path string // in the repository
	Data []byte
}

// Push is a commit to make.
type Push struct {
	Ref         adapters.Ref // its revision is a branch; "" is DefaultRevision
	Files       []Upload     // files that they do not name stay as they are
	Message     string       // the commit's first line
	Description string       // what follows it, or ""
	Parent      string       // the commit that the branch must stand at, or ""
	Create      bool         // make the repository where there is none
	Private     bool         // make it private
	Token       string       // "" is the client's own
}

// Push uploads files in one commit and gives its hash. Files that the branch has
// already with the same content are left out; if that are all, the hash is that of
// the branch. An error of the kind ErrUnavailable can leave it open whether the
// commit was made: to push again is safe.
func (c *Client) Push(ctx context.Context, p Push) (string, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	t, token, err := c.check(p.Ref, p.Token)
	if err != nil {
		return "", err
	}
	if err := c.checkPush(t, p); err != nil {
		return "", err
	}
	u := &push{Client: c, target: t, Push: p, token: token}
	head, err := u.headOf(ctx)
	if err != nil {
		return "", err
	}
	files, err := u.plan(ctx)
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return head, nil
	}
	if err := u.store(ctx, files); err != nil {
		return "", err
	}
	commit, err := u.commit(ctx, files)
	if err != nil {
		return "", err
	}
	c.log.InfoContext(ctx, "pushed a commit", "repo", t.repo, "branch", t.revision, "commit", commit, "files", len(files))
	return commit, nil
}

func (c *Client) checkPush(t target, p Push) error {
	if c.o.Offline {
		return t.fail(ErrOffline, nil, "nothing can be pushed (HF_HUB_OFFLINE is set)")
	}
	if strings.TrimSpace(p.Message) == "" || len(p.Files) == 0 {
		return fmt.Errorf("%w: a push needs a message and a file", ErrInvalid)
	}
	if p.Parent != "" && !isCommit(p.Parent) {
		return fmt.Errorf("%w: parent %.60q is no full commit hash", ErrInvalid, p.Parent)
	}
	if p.Create && !strings.Contains(t.repo, "/") {
		return fmt.Errorf("%w: repository %q: owner/name is wanted to create one", ErrInvalid, t.repo)
	}
	total, seen := int64(0), map[string]bool{}
	for _, f := range p.Files {
		if err := checkPath(f.Path); err != nil {
			return err
		}
		if seen[f.Path] {
			return fmt.Errorf("%w: file %q is there twice", ErrInvalid, f.Path)
		}
		seen[f.Path] = true
		total += int64(len(f.Data))
	}
	if total > c.o.MaxBytes {
		return t.fail(ErrTooLarge, nil, "the files have %d bytes; the limit is %d", total, c.o.MaxBytes)
	}
	return nil
}

// push is one call of Push.
type push struct {
	*Client
	target
	Push
	token string
}

// headOf gives the branch's commit, and makes the repository if that is wanted and
// there is none.
func (u *push) headOf(ctx context.Context) (string, error) {
	head, err := u.resolve(ctx, u.target, u.token)
	if e, ok := errors.AsType[*Error](err); !ok || !u.Create || e.code != codeRepo {
		return head, err
	}
	if err := u.create(ctx); err != nil {
		return "", err
	}
	return u.resolve(ctx, u.target, u.token)
}

// create makes the repository. That another has made it meanwhile is no error.
func (u *push) create(ctx context.Context) error {
	owner, name, _ := strings.Cut(u.repo, "/")
	body := struct {
		Organization string `json:"organization"`
		Name         string `json:"name"`
		Type         string `json:"type"`
		Private      bool   `json:"private"`
	}{owner, name, "model", u.Private}
	err := u.post(ctx, u.target, u.endpoint.String()+"/api/repos/create", jsonMedia, body, nil)
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// jsonMedia is the media type of the Hub's own API.
const jsonMedia = "application/json"

// post sends JSON, as some media type, with the caller's token, and reads the answer
// into to, or discards it where to is nil.
func (u *push) post(ctx context.Context, t target, address, media string, body, to any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return t.fail(ErrInvalid, err, "writing a request")
	}
	r := &request{
		target: t, method: http.MethodPost, url: address, token: u.token,
		header: http.Header{"Content-Type": {media}, "Accept": {media}}, body: data,
	}
	return u.do(ctx, r, func(resp *http.Response) error {
		if to == nil {
			return nil
		}
		return t.decode(resp.Body, to)
	})
}

// rebase puts the configured endpoint into an address of the Hugging Face Hub: a
// mirror passes its answers on unchanged.
func (c *Client) rebase(address string) (string, error) {
	if rest, ok := strings.CutPrefix(address, DefaultEndpoint+"/"); ok {
		address = c.endpoint.String() + "/" + rest
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", errors.New("the Hub gives an address that is no URL")
	}
	return address, nil
}
