package middleware

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeout(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration
		want  error
	}{
		{"in time", time.Second, nil},
		{"late", time.Hour, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var err error
				rec := send(t, get("/things/1"), func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(tt.takes):
					case <-r.Context().Done():
					}
					err = r.Context().Err()
					w.WriteHeader(http.StatusAccepted)
				}, Timeout(time.Minute))
				if !errors.Is(err, tt.want) || rec.Code != http.StatusAccepted {
					t.Errorf("status %d, %v", rec.Code, err)
				}
			})
		})
	}
}

// deadlines keeps the deadlines that were set.
type deadlines struct {
	http.ResponseWriter
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// TestLongTimeout wants the connection to live until an answer that comes late is
// written, and a context that ends before.
func TestLongTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var d *deadlines
		replace := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				d = &deadlines{ResponseWriter: w}
				next.ServeHTTP(d, r)
			})
		}
		var err error
		send(t, get("/things/1"), func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			err = r.Context().Err()
		}, replace, LongTimeout(time.Hour))
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != time.Hour {
			t.Errorf("%v after %v", err, took)
		}
		if want := start.Add(time.Hour + answerTime); !d.read.Equal(want) || !d.write.Equal(want) {
			t.Errorf("read until %v, write until %v, want %v", d.read, d.write, want)
		}
	})
}
