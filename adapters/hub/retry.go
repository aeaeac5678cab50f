package hub

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Waits between tries: the first is up to firstWait, each next up to twice that.
const (
	firstWait = 500 * time.Millisecond
	maxWait   = 8 * time.Second
	// maxRetryAfter is the longest wait that the Hub may ask for before the caller is
	// told instead.
	maxRetryAfter = 30 * time.Second
)

// pause waits before the next try and tells whether there should be one: not after
// the call's end, nor where the wait would outlast it.
func (c *Client) pause(ctx context.Context, e *Error, attempt int) bool {
	wait := backoff(attempt)
	if e.RetryAfter > maxRetryAfter {
		return false
	}
	wait = max(wait, e.RetryAfter)
	if deadline, ok := ctx.Deadline(); ok && c.now().Add(wait).After(deadline) {
		return false
	}
	c.log.WarnContext(ctx, "asking the Hub again", "repo", e.Repo, "file", e.File, "wait", wait, "error", e)
	return c.sleep(ctx, wait) == nil
}

// backoff is a random time between half and all of a bound that doubles with each
// attempt, so that clients that failed together do not return together.
func backoff(attempt int) time.Duration {
	bound := maxWait
	if attempt < 10 {
		bound = min(maxWait, firstWait<<attempt)
	}
	return bound/2 + rand.N(bound/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryAfter reads how long a server asks to wait: Retry-After in seconds or as a
// date (RFC 9110), or the Hub's RateLimit: "api";r=0;t=55, whose t is in seconds
// (https://huggingface.co/docs/hub/rate-limits). It returns 0 where neither says.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	if value == "" {
		for field := range strings.SplitSeq(h.Get("RateLimit"), ";") {
			if t, ok := strings.CutPrefix(strings.TrimSpace(field), "t="); ok {
				value = t
			}
		}
	}
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
