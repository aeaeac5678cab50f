package client

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Published answers an upload or a pull.
type Published struct {
	Adapter
	New bool `json:"new"` // the version was not there before
}

// Upload sends the files of a PEFT folder by their names. The same files again give the
// version that is there.
func (c *Client) Upload(ctx context.Context, id string, files map[string][]byte, activate bool) (*Published, error) {
	body, media, err := multipartBody(files)
	if err != nil {
		return nil, fmt.Errorf("client: upload of %s: %w", id, err)
	}
	out := &Published{}
	_, err = c.do(ctx, call{
		method: http.MethodPut, path: adapterPath(id, ""), query: url.Values{"activate": {strconv.FormatBool(activate)}},
		media: media, body: body,
	}, out)
	return out, err
}

func multipartBody(files map[string][]byte) (body []byte, media string, err error) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		part, err := w.CreateFormFile(name, name)
		if err != nil {
			return nil, "", err
		}
		if _, err := part.Write(files[name]); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return out.Bytes(), w.FormDataContentType(), nil
}

// PullRequest asks for a version from the Hub.
type PullRequest struct {
	Repo     string `json:"repo,omitempty"`     // "owner/name"; "" where the id is the repository's name
	Revision string `json:"revision,omitempty"` // branch, tag or commit; "" is the default branch
	Activate *bool  `json:"activate,omitzero"`  // nil leaves it to the server: yes
}

// Pull makes the server fetch a version from the Hub.
func (c *Client) Pull(ctx context.Context, id string, r PullRequest) (*Published, error) {
	call, err := post(adapterPath(id, "/pull"), r)
	if err != nil {
		return nil, err
	}
	out := &Published{}
	_, err = c.do(ctx, call, out)
	return out, err
}

// PushRequest sends a version to the Hub.
type PushRequest struct {
	Repo    string `json:"repo,omitempty"`    // "owner/name"; "" where the id is the repository's name
	Branch  string `json:"branch,omitempty"`  // "" is the default branch
	Message string `json:"message,omitempty"` // of the commit; "" is one that names the version
	Version string `json:"version,omitempty"` // "" is the active one
	Create  bool   `json:"create,omitzero"`   // make the repository where there is none
	Private bool   `json:"private,omitzero"`  // make it private
}

// Pushed answers a push.
type Pushed struct {
	Repo   string `json:"repo"`
	Branch string `json:"branch"`
	Commit string `json:"commit"`
	URL    string `json:"url"`
}

// Push makes the server send a version to the Hub.
func (c *Client) Push(ctx context.Context, id string, r PushRequest) (*Pushed, error) {
	call, err := post(adapterPath(id, "/push"), r)
	if err != nil {
		return nil, err
	}
	call.once = true
	out := &Pushed{}
	_, err = c.do(ctx, call, out)
	return out, err
}
