package conformance

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Print writes the report as tables.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("server", "%s", r.URL)
	line("base", "%s, %s, on %s, %s", r.Base.Name, r.Base.DType, r.Base.Device, r.Base.Digest)
	line("adapters", "%d in %d versions, seed %d", r.Adapters, r.Versions, r.Seed)
	line("asked alone", "%d rows; %.1f %% of exchanged answers would be found", r.References, 100*r.Apart)
	if r.Load != nil {
		r.printLoad(line)
	}
	r.printCounts(line)
	r.printServer(w)
	r.printWrong(w)
	return w.Flush()
}

func (r *Report) printLoad(line func(name, format string, args ...any)) {
	l := r.Load
	line("load", "%d clients, %s, %.0f s: %d requests, %d rows, %.0f rows/s", r.Clients, r.Distribution, l.Seconds, l.Requests, l.Rows, l.RowsPerSecond)
	line("latency", "%s", l.latency())
	if r.One == nil {
		return
	}
	line("on one adapter", "%d rows, %.0f rows/s", r.One.Rows, r.One.RowsPerSecond)
	line("  latency", "%s", r.One.latency())
	if r.Ratio != nil {
		line("  many to one", "p50 %.2f, p99 %.2f", r.Ratio.P50, r.Ratio.P99)
	}
}

func (l *Load) latency() string {
	return fmt.Sprintf("p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms", 1e3*l.P50, 1e3*l.P90, 1e3*l.P99, 1e3*l.Max)
}

func (r *Report) printCounts(line func(name, format string, args ...any)) {
	for _, c := range []struct {
		name   string
		counts map[string]int
	}{
		{"rows", r.Rows}, {"errors in place", r.Expected}, {"sent away", r.Waits}, {"changes", r.Changes}, {"refused changes", r.Refused},
	} {
		if n := total(c.counts); n > 0 {
			line(c.name, "%d: %s", n, list(c.counts))
		}
	}
	if r.Undecided > 0 {
		line("undecided", "%d rows", r.Undecided)
	}
}

func (r *Report) printServer(w io.Writer) {
	if r.Server == nil {
		if r.NoMetrics != "" {
			fmt.Fprintf(w, "metrics\tnone: %s\n", r.NoMetrics)
		}
		return
	}
	fmt.Fprintln(w, "\nof the server\tbefore\tafter the load\tafter clean-up")
	for _, name := range figures() {
		if f, ok := r.Server[name]; ok {
			fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\n", name, f.Before, f.Loaded, f.After)
		}
	}
}

func (r *Report) printWrong(w io.Writer) {
	if r.Wrong == 0 {
		fmt.Fprintf(w, "\nwrong answers\t0 of %d\n", total(r.Rows))
		return
	}
	fmt.Fprintf(w, "\nWRONG\t%d: %s\n", r.Wrong, list(r.Kinds))
	for i, e := range r.Examples {
		fmt.Fprintf(w, "%d. %s: %s\n   %s\n", i+1, e.Kind, e.Row, e.Detail)
	}
	if more := r.Wrong - len(r.Examples); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
}

// list names counts, the greatest first.
func list(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", cmp.Or(name, "unnamed"), counts[name])
	}
	return strings.Join(names, ", ")
}

func total(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
