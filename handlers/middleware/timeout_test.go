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
