package hub

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	maxRedirects = 10
	userAgent    = "valence"
)

// request is one request to the Hub, or to where the Hub redirects it.
type request struct {
	target
	method  string
	url     string
	token   string              // sent to the endpoint only
	header  http.Header         // may be nil
	body    []byte              // may be nil
	prepare func(h http.Header) // may be nil; completes the header before each try
	stay    bool                // give a redirect to another host to the caller of do, not followed
	once    bool                // not to be repeated unless the Hub surely did nothing
}

// do sends a request, again after passing failures, and hands the successful answer
// to use. What use returns as a temporary *Error makes do try again too.
func (c *Client) do(ctx context.Context, r *request, use func(*http.Response) error) error {
	for attempt := 0; ; attempt++ {
		err := c.try(ctx, r, use)
		e, ok := errors.AsType[*Error](err)
		if !ok || !e.temporary {
			return err
		}
		if e.progress {
			attempt = 0
		}
		if attempt >= c.o.Retries || !r.repeatable(e.Status) || !c.pause(ctx, e, attempt) {
			return cmp.Or(c.ended(ctx, r.target), e)
		}
	}
}

// repeatable tells whether the request may be sent again after a failure: 429 and
// 503 say that the Hub did nothing.
func (r *request) repeatable(status int) bool {
	return !r.once || status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// try sends a request once, following redirects.
func (c *Client) try(ctx context.Context, r *request, use func(*http.Response) error) error {
	ctx, watch := c.watch(ctx)
	defer watch.stop()
	at, err := url.Parse(r.url)
	if err != nil {
		return r.fail(ErrCorrupt, nil, "the Hub gave an address that is no URL")
	}
	trusted := c.isEndpoint(at)
	for range maxRedirects {
		resp, err := c.send(ctx, r, at, trusted, watch)
		if err != nil {
			return c.failed(ctx, r, err, "%s could not be asked", at.Host)
		}
		next, err := c.redirect(r, at, resp)
		if err == nil && next == nil {
			err = c.finish(ctx, r, at, resp, use)
		}
		resp.Body.Close()
		if err != nil || next == nil {
			return err
		}
		at, trusted = next, trusted && c.isEndpoint(next)
	}
	return r.fail(ErrUnavailable, nil, "more than %d redirects", maxRedirects)
}

// send makes one exchange with one host. The token goes along where trusted: to the
// endpoint, until another host has had a say in the address.
func (c *Client) send(ctx context.Context, r *request, at *url.URL, trusted bool, watch *watch) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, at.String(), watch.body(bytes.NewReader(r.body)))
	if err != nil {
		return nil, err
	}
	if len(r.body) == 0 {
		req.Body = http.NoBody
	}
	req.ContentLength = int64(len(r.body))
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	req.Header.Set("User-Agent", userAgent)
	// Sizes and hashes are those of the content as it is stored.
	req.Header.Set("Accept-Encoding", "identity")
	if r.token != "" && trusted {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.prepare != nil {
		r.prepare(req.Header)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = watch.body(resp.Body)
	return resp, nil
}

// isEndpoint tells whether u is on the configured host, by the same scheme.
func (c *Client) isEndpoint(u *url.URL) bool {
	return u.Scheme == c.endpoint.Scheme && u.Host == c.endpoint.Host
}

// redirect gives the next address to ask, or nil if resp is the answer. Only
// downloads may leave the endpoint's host.
func (c *Client) redirect(r *request, at *url.URL, resp *http.Response) (*url.URL, error) {
	location := resp.Header.Get("Location")
	if resp.StatusCode < 300 || resp.StatusCode > 399 || location == "" {
		return nil, nil
	}
	next, err := at.Parse(location)
	if err != nil || (next.Scheme != "http" && next.Scheme != "https") {
		return nil, r.fail(ErrUnavailable, nil, "%s redirects to what is no web address", at.Host)
	}
	if at.Scheme == "https" && next.Scheme == "http" {
		return nil, r.fail(ErrUnavailable, nil, "%s redirects from https to http, which is not followed", at.Host)
	}
	if next.Host == at.Host {
		return next, nil
	}
	if r.stay {
		return nil, nil
	}
	if r.method != http.MethodGet {
		return nil, r.fail(ErrUnavailable, nil, "%s redirects a %s to %s, which is not followed", at.Host, r.method, next.Host)
	}
	return next, nil
}

// finish hands a successful answer on, and makes an error of any other.
func (c *Client) finish(ctx context.Context, r *request, at *url.URL, resp *http.Response, use func(*http.Response) error) error {
	if resp.StatusCode >= 400 || (resp.StatusCode >= 300 && !r.stay) {
		return c.refused(r, at, resp)
	}
	err := use(resp)
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return c.failed(ctx, r, err, "the answer of %s broke off", at.Host)
	}
	if e.temporary {
		e.Cause = c.reason(ctx, e.Cause)
		return cmp.Or(c.ended(ctx, r.target), e)
	}
	return e
}

// failed makes an *Error of a failure to send or receive, which a later try may not
// meet unless the call has ended. The error names hosts only: addresses can be
// signed.
func (c *Client) failed(ctx context.Context, r *request, err error, detail string, args ...any) *Error {
	if e := c.ended(ctx, r.target); e != nil {
		return e
	}
	e := r.fail(ErrUnavailable, c.reason(ctx, err), detail, args...)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	e.temporary = !untrusted
	return e
}

// reason says in place of a broken connection that it was ended for its silence, and
// takes the address off an error of net/http.
func (c *Client) reason(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("nothing came for %s", c.o.StallTimeout)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

var (
	errStalled = errors.New("hub: stalled")
	errTimeout = errors.New("hub: timeout")
)

// bound limits a whole call by Options.Timeout.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.o.Timeout, errTimeout)
}

// ended gives the error of a call whose time is over or whose caller has gone, or
// nil if neither is so.
func (c *Client) ended(ctx context.Context, t target) *Error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil || errors.Is(cause, errStalled):
		return nil
	case errors.Is(cause, errTimeout):
		return t.fail(ErrUnavailable, nil, "it took longer than the limit of %s", c.o.Timeout)
	}
	return t.fail(ctx.Err(), cause, "the caller stopped waiting")
}

// watch ends a request during which nothing moves for a time.
type watch struct {
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

func (c *Client) watch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.o.StallTimeout, func() { cancel(errStalled) })
	return ctx, &watch{timer, c.o.StallTimeout, cancel}
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// body watches a body on its way.
func (w *watch) body(r io.Reader) io.ReadCloser { return &watchedBody{r, w} }

type watchedBody struct {
	io.Reader
	watch *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.watch.timer.Reset(b.watch.limit)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	if c, ok := b.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
