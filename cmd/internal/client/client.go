// Package client calls the HTTP API of a Valence server. The contract is
// openapi.yaml; types hold what callers here need of it.
package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// ErrURL is wrapped by errors about an address that cannot be a server's.
var ErrURL = errors.New("client: server address")

// DefaultPatience is how long one call waits, in all, for a server that is busy.
const DefaultPatience = 30 * time.Second

// Options say which server is called, and how.
type Options struct {
	URL      string // "http://host:port", with a path where the API is mounted below one
	Key      string // API key, or ""
	HubToken string // the caller's own token for the Hub, or ""
	// Patience is the longest time that one call waits, in all, for a server that says it
	// is busy (429) or not ready (503); 0 means not at all.
	Patience time.Duration
	Waiting  func(*Problem, time.Duration) // told of each such wait before it, or nil
	HTTP     *http.Client                  // or nil for one that keeps a connection for each caller
}

// Client calls one server. It is safe for concurrent use.
type Client struct {
	options Options
	base    string // without a final "/"
}

// New checks the address; it does not call it. The error wraps ErrURL.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "", u.User != nil:
		return nil, fmt.Errorf("%w %q: write http://HOST:PORT or https://HOST", ErrURL, o.URL)
	}
	if o.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = transport.MaxIdleConns
		o.HTTP = &http.Client{Transport: transport}
	}
	return &Client{o, strings.TrimSuffix(u.String(), "/")}, nil
}

// URL is the server's address.
func (c *Client) URL() string { return c.base }

// call is one request of the API.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	media  string // of the body, or ""
	body   []byte
	file   string // whose content is the body, in place of body; "" for none
	key    string // idempotency key, or ""
	// once says that a second run would be another change: such a call is repeated only
	// where the server has not begun it.
	once bool
	// fresh asks for an answer that was not kept.
	fresh bool
}

// Trip tells when the attempt that was answered left and came back.
type Trip struct {
	Sent, Received time.Time
}

// do runs the call and decodes its answer into out unless that is nil. An answer
// that is not of 2xx is a *Problem.
func (c *Client) do(ctx context.Context, call call, out any) (Trip, error) {
	left := c.options.Patience
	for {
		trip, err := c.try(ctx, call, out)
		problem, ok := errors.AsType[*Problem](err)
		if !ok {
			return trip, err
		}
		wait := problem.wait(call.once)
		if wait == 0 || wait > left {
			return trip, err
		}
		left -= wait
		if c.options.Waiting != nil {
			c.options.Waiting(problem, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return trip, ctx.Err()
		}
	}
}

func (c *Client) try(ctx context.Context, call call, out any) (Trip, error) {
	req, err := c.request(ctx, call)
	if err != nil {
		return Trip{}, err
	}
	trip := Trip{Sent: time.Now()}
	status, header, body, err := c.exchange(req)
	trip.Received = time.Now()
	if err != nil {
		return trip, fmt.Errorf("client: %s %s: %w", call.method, call.path, err)
	}
	if status < 200 || status > 299 {
		return trip, problemOf(status, header, body)
	}
	if out == nil {
		return trip, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return trip, fmt.Errorf("client: %s %s: the answer cannot be read: %w", call.method, call.path, err)
	}
	return trip, nil
}

func (c *Client) request(ctx context.Context, call call) (*http.Request, error) {
	address := c.base + call.path
	if len(call.query) > 0 {
		address += "?" + call.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.method, address, bytes.NewReader(call.body))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if call.file != "" {
		if req.Body, req.ContentLength, err = call.openBody(); err != nil {
			return nil, err
		}
		req.GetBody = nil
	}
	if call.key != "" {
		req.Header.Set("Idempotency-Key", call.key)
	}
	if call.media != "" {
		req.Header.Set("Content-Type", call.media)
	}
	if c.options.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.options.Key)
	}
	if call.fresh {
		req.Header.Set("Cache-Control", "no-cache")
	}
	if c.options.HubToken != "" {
		req.Header.Set("X-Hub-Token", c.options.HubToken)
	}
	return req, nil
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

func (c *Client) exchange(req *http.Request) (status int, header http.Header, body []byte, err error) {
	resp, err := c.options.HTTP.Do(req)
	if err != nil {
		return 0, nil, nil, withoutURL(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return resp.StatusCode, resp.Header, body, err
}

// withoutURL drops what net/http says of the request: the caller says it.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// mediaJSON is the type of most bodies.
const mediaJSON = "application/json"

// post is a call with a JSON body, or none where v is nil.
func post(path string, v any) (call, error) {
	if v == nil {
		return call{method: http.MethodPost, path: path}, nil
	}
	body, err := json.Marshal(v)
	if err != nil {
		return call{}, fmt.Errorf("client: POST %s: %w", path, err)
	}
	return call{method: http.MethodPost, path: path, media: mediaJSON, body: body}, nil
}
