package middleware

import (
	"log/slog"
	"net/http"
	"time"

	chimw "github.com/go-chi/chi/v5/middleware"
)

// AccessLog writes one line for each request when it ends. Requests to a quiet
// route (a probe, a scrape) and those whose client left are debug lines; other
// answers with a 5xx status are warnings. Neither bodies nor query strings are
// logged.
func AccessLog(log *slog.Logger, quiet ...string) func(http.Handler) http.Handler {
	silent := make(map[string]bool, len(quiet))
	for _, route := range quiet {
		silent[route] = true
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			ww := chimw.NewWrapResponseWriter(w, r.ProtoMajor)
			defer func() {
				route, status := route(r), status(ww, r)
				log.LogAttrs(r.Context(), level(status, silent[route]), "request",
					slog.String("method", r.Method),
					slog.String("path", r.URL.Path),
					slog.String("route", route),
					slog.Int("status", status),
					slog.Int("bytes", ww.BytesWritten()),
					slog.Duration("took", time.Since(start)),
					slog.String("remote", r.RemoteAddr),
					slog.String("request_id", RequestIDFrom(r.Context())))
			}()
			next.ServeHTTP(ww, r)
		})
	}
}

func level(status int, quiet bool) slog.Level {
	switch {
	case quiet, status == StatusClientGone:
		return slog.LevelDebug
	case status >= 500:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}
