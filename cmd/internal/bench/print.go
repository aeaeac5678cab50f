package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// PrintHead says where it is measured.
func (r *Report) PrintHead(out io.Writer) error {
	m, v := r.Machine, r.Versions
	if m.Device != "" {
		m.CPU = m.Device + "; " + m.CPU
	}
	_, err := fmt.Fprintf(out, "%s, %d cores (%s), %d threads, %s of memory\nvalence %s, libtorch %s, %s%s\nlarge base: %s; %d rounds\n",
		m.CPU, m.Cores, strings.Join(m.ISA, " "), m.Threads, gigabytes(m.MemoryBytes), v.Valence, v.Libtorch, v.Go, v.peers(), r.Shape, r.Rounds)
	return err
}

// Print writes the question's table.
func (q *Question) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s: %s (%.0f s)\n", q.Name, q.Title, q.Seconds)
	if len(q.Series) > 0 {
		fmt.Fprint(w, "\nmeasured\tmin\tmedian\tunit\t\n")
	}
	for _, s := range q.Series {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", s.Name, Number(s.Min), Number(s.Median), s.Unit)
	}
	if len(q.Bars) > 0 {
		fmt.Fprint(w, "\nbar\tasked\tworst\tmedian\tunit\t\n")
	}
	for _, b := range q.Bars {
		worst, middle := Number(b.Worst), Number(b.Median)
		if !b.measured() {
			worst, middle = "-", "-"
		}
		verdict := b.verdict()
		if b.Why != "" {
			verdict += ": " + b.Why
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.Name, b.asked(), worst, middle, b.Unit, verdict)
	}
	for _, line := range q.Notes {
		fmt.Fprintf(w, "note: %s\n", line)
	}
	if q.Error != "" {
		fmt.Fprintf(w, "failed: %s\n", q.Error)
	}
	return w.Flush()
}

// PrintEnd writes the line that counts.
func (r *Report) PrintEnd(out io.Writer) error {
	left := ""
	if len(r.LeftOut) > 0 {
		left = fmt.Sprintf(" (not asked: %s)", strings.Join(r.LeftOut, ", "))
	}
	_, err := fmt.Fprintf(out, "\nbars met %d of %d%s\n", r.Met, r.Bars, left)
	return err
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }
