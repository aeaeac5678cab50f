package hub

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second},
		{"Retry-After", " 7 ", 7 * time.Second},
		{"Retry-After", "0", 0},
		{"Retry-After", "-7", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "99999999999999999999", 0},
		{"Retry-After", "Fri, 02 Jan 2026 03:05:05 GMT", time.Minute},
		{"Retry-After", "Fri, 02 Jan 2026 03:04:00 GMT", 0},
		{"RateLimit", `"api";r=0;t=55`, 55 * time.Second},
		{"RateLimit", `"api"; r=0; t=55`, 55 * time.Second},
		{"RateLimit", `"api";r=0`, 0},
		{"X-Other", "7", 0},
	} {
		if got := retryAfter(http.Header{http.CanonicalHeaderKey(tt.name): {tt.value}}, now); got != tt.want {
			t.Errorf("%s: %s is %v", tt.name, tt.value, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	for attempt, bound := range []time.Duration{500, 1000, 2000, 4000, 8000, 8000, 8000} {
		bound *= time.Millisecond
		for range 100 {
			if d := backoff(attempt); d < bound/2 || d > bound {
				t.Fatalf("attempt %d waits %v", attempt, d)
			}
		}
	}
	if d := backoff(1 << 20); d > maxWait {
		t.Errorf("waits %v", d)
	}
}

func TestSleep(t *testing.T) {
	if err := sleep(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
