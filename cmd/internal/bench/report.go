package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Report is all that was found.
type Report struct {
	Format    int         `json:"format"` // 1
	Began     time.Time   `json:"began"`
	Seconds   float64     `json:"seconds"`
	Machine   Machine     `json:"machine"`
	Versions  Versions    `json:"versions"`
	Shape     string      `json:"shape"`  // of the large base
	Rounds    int         `json:"rounds"` // of each comparison
	Questions []*Question `json:"questions"`
	LeftOut   []string    `json:"left_out,omitempty"` // questions that were not asked
	Met       int         `json:"bars_met"`
	Bars      int         `json:"bars"`
}

// Question is one comparison or a few that belong together.
type Question struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Series  []*Series `json:"series"`
	Bars    []*Bar    `json:"bars"`
	Notes   []string  `json:"notes,omitempty"`
	Seconds float64   `json:"seconds"`
	Error   string    `json:"error,omitempty"` // it came to an end before its end
}

// add puts a value to the series of that name.
func (q *Question) add(name, unit string, value float64) {
	i := slices.IndexFunc(q.Series, func(s *Series) bool { return s.Name == name })
	if i < 0 {
		i, q.Series = len(q.Series), append(q.Series, &Series{Name: name, Unit: unit})
	}
	q.Series[i].Values = append(q.Series[i].Values, value)
}

// figure puts a figure to the bar of that name. A question that has no such bar is a
// mistake of this package.
func (q *Question) figure(bar string, value float64) {
	i := slices.IndexFunc(q.Bars, func(b *Bar) bool { return b.Name == bar })
	if i < 0 {
		panic("bench: question " + q.Name + " has no bar " + bar)
	}
	q.Bars[i].Figures = append(q.Bars[i].Figures, value)
}

// note adds a line below the table.
func (q *Question) note(line string) { q.Notes = append(q.Notes, line) }

// judge sums all up. why is told of bars without figures.
func (q *Question) judge(why string) {
	for _, s := range q.Series {
		s.sum()
	}
	for _, b := range q.Bars {
		b.judge(why)
	}
}

// cutShort takes the bars back that have not all of their rounds.
func (q *Question) cutShort(rounds int) {
	for _, b := range q.Bars {
		if n := len(b.Figures); n > 0 && n < rounds {
			b.Met, b.Why = false, fmt.Sprintf("cut short after %d of %d rounds", n, rounds)
		}
	}
}

// count counts the bars over all questions.
func (r *Report) count() {
	r.Met, r.Bars = 0, 0
	for _, q := range r.Questions {
		for _, b := range q.Bars {
			r.Bars++
			if b.Met {
				r.Met++
			}
		}
	}
}

// Passed tells whether all bars are met and nothing failed.
func (r *Report) Passed() bool {
	failed := slices.ContainsFunc(r.Questions, func(q *Question) bool { return q.Error != "" })
	return r.Met == r.Bars && !failed
}

// WriteJSON writes the report as one indented object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
