package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Base describes the model that is served.
type Base struct {
	Name       string         `json:"name"`
	Digest     string         `json:"digest"`
	DType      string         `json:"dtype"`
	Device     string         `json:"device"`
	Config     jsontext.Value `json:"config"` // transformers' config.json
	Parameters int64          `json:"parameters"`
}

// Adapter describes an adapter; Version, Digest and Labels are those of its active version.
type Adapter struct {
	ID       string    `json:"id"`
	Version  string    `json:"version"`
	Digest   string    `json:"digest"`
	Labels   []Label   `json:"labels"`
	Fixed    bool      `json:"fixed"`
	Pinned   bool      `json:"pinned"`
	Versions []Version `json:"versions"` // oldest first; none in a list
}

// Label is a class and the text that the model writes for it.
type Label struct {
	Name       string `json:"name"`
	Verbaliser string `json:"verbaliser"`
}

// Version describes one version of an adapter.
type Version struct {
	Version string    `json:"version"`
	Digest  string    `json:"digest"`
	Source  string    `json:"source"`
	Origin  string    `json:"origin"`
	Private bool      `json:"private"`
	Created time.Time `json:"created"`
	Bytes   int64     `json:"bytes"`
	Active  bool      `json:"active"`
}

// ByDigest gives the version with the digest.
func (a *Adapter) ByDigest(digest string) (Version, bool) {
	for _, v := range a.Versions {
		if v.Digest == digest {
			return v, true
		}
	}
	return Version{}, false
}

// Ready waits until the server takes requests, as long as the client's patience lasts.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/readyz"}, nil)
	return err
}

// Base asks for the model that is served.
func (c *Client) Base(ctx context.Context) (*Base, error) {
	out := &Base{}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/base"}, out)
	return out, err
}

// pageSize is the most adapters that one call lists.
const pageSize = 1000

// Adapters lists every adapter, without versions: the base first, then by id.
func (c *Client) Adapters(ctx context.Context) ([]Adapter, error) {
	var all []Adapter
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Adapters []Adapter `json:"adapters"`
			Next     string    `json:"next"`
		}
		if _, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/adapters", query: query}, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Adapters...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// Adapter describes one adapter. A revision in ref puts that version at the top.
func (c *Client) Adapter(ctx context.Context, ref string) (*Adapter, error) {
	out := &Adapter{}
	_, err := c.do(ctx, call{method: http.MethodGet, path: adapterPath(ref, "")}, out)
	return out, err
}

// adapterPath escapes the "/" of an id too: an action's name would win over the second
// half of a plain one.
func adapterPath(ref, action string) string { return "/v1/adapters/" + url.PathEscape(ref) + action }

// Delete removes an adapter, or with a revision in ref that version.
func (c *Client) Delete(ctx context.Context, ref string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: adapterPath(ref, "")}, nil)
	return err
}

// Activate makes the version answer for the id.
func (c *Client) Activate(ctx context.Context, id, version string) (*Adapter, error) {
	return c.change(ctx, adapterPath(id, "/activate"), map[string]string{"version": version})
}

// Rollback makes the version answer that did so before the active one.
func (c *Client) Rollback(ctx context.Context, id string) (*Adapter, error) {
	out := &Adapter{}
	_, err := c.do(ctx, call{method: http.MethodPost, path: adapterPath(id, "/rollback"), once: true}, out)
	return out, err
}

// Pin keeps the adapter in memory.
func (c *Client) Pin(ctx context.Context, id string) (*Adapter, error) {
	return c.change(ctx, adapterPath(id, "/pin"), nil)
}

// Unpin lets the adapter be forgotten when room is needed.
func (c *Client) Unpin(ctx context.Context, id string) (*Adapter, error) {
	return c.change(ctx, adapterPath(id, "/unpin"), nil)
}

func (c *Client) change(ctx context.Context, path string, body any) (*Adapter, error) {
	call, err := post(path, body)
	if err != nil {
		return nil, err
	}
	out := &Adapter{}
	_, err = c.do(ctx, call, out)
	return out, err
}
