package middleware

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRecover(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name    string
		h       http.HandlerFunc
		told    string // the error given to fail, or ""
		aborted bool   // the connection is cut
		status  int
	}{
		{"no panic", answer(200, "ok"), "", false, 200},
		{"a value", func(http.ResponseWriter, *http.Request) { panic("boom") }, "panic in a handler: boom", false, 418},
		{"an error", func(http.ResponseWriter, *http.Request) { panic(boom) }, "panic in a handler: boom", false, 418},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "half"); panic(boom) }, "panic in a handler: boom", true, 200},
		{"an abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f failures
			aborted, status := false, 0
			func() {
				defer func() {
					err, _ := recover().(error)
					aborted = errors.Is(err, http.ErrAbortHandler)
				}()
				status = send(t, get("/things/1"), tt.h, Recover(f.fail)).Code
			}()
			if aborted != tt.aborted {
				t.Errorf("aborted is %v", aborted)
			}
			if !aborted && status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			if tt.told == "" {
				if len(f.errs) > 0 {
					t.Errorf("fail was given %v", f.errs)
				}
				return
			}
			if len(f.errs) != 1 || f.errs[0].Error() != tt.told || !errors.Is(f.errs[0], ErrPanic) {
				t.Fatalf("fail was given %v", f.errs)
			}
			if p, ok := errors.AsType[*PanicError](f.errs[0]); !ok || !strings.Contains(string(p.Stack), "recover_test.go") {
				t.Error("the stack does not lead to the panic")
			}
		})
	}
}
