package datasets

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Report is what a set's rows tell as a whole.
type Report struct {
	Rows       int          `json:"rows"`
	Labels     []LabelCount `json:"labels"` // the most frequent first
	Dropped    Dropped      `json:"dropped"`
	Duplicates Duplicates   `json:"duplicates"`
	Conflicts  Conflicts    `json:"conflicts"`
	// Alike are labels that differ in case, space or punctuation only: one label,
	// probably, written in several ways.
	Alike   [][]string `json:"labels_alike,omitempty"`
	Lengths Lengths    `json:"characters"`
	Longest []Length   `json:"longest"` // rows, the longest first
}

// LabelCount is how many rows have a label.
type LabelCount struct {
	Label string `json:"label"`
	Rows  int    `json:"rows"`
}

// Duplicates counts rows whose text stands in an earlier row.
type Duplicates struct {
	Exact int    `json:"exact"`           // letter by letter
	Near  int    `json:"near"`            // others, equal but for case, space and punctuation
	First []Pair `json:"first,omitempty"` // of both
}

// Conflicts counts rows whose text, but for case, space and punctuation, stands first
// with another label.
type Conflicts struct {
	Rows  int    `json:"rows"`
	First []Pair `json:"first,omitempty"`
}

// Pair is a row and the first row with the same text.
type Pair struct {
	Row     int `json:"row"`
	Earlier int `json:"earlier"`
}

// Length is how long a row's text is.
type Length struct {
	Row        int `json:"row"`
	Characters int `json:"characters"`
}

// Most examples that a report lists of each kind.
const (
	maxPairs   = 20
	maxLongest = 5
)

// Survey looks at rows as they come. It keeps some fifty bytes for each different text,
// and none of the texts. It is not safe for concurrent use.
type Survey struct {
	folder   folder
	exact    exact
	first    map[fingerprint]firstRow
	variants map[variant]struct{} // beside the first ones
	labels   map[string]int
	names    []string
	report   Report
	counts   []int
	lengths  lengths
}

// firstRow is the first row of all whose texts fold alike.
type firstRow struct {
	row   int32
	label int32 // number
	exact uint64
}

// variant is another way to write a text.
type variant struct {
	folded fingerprint
	exact  uint64
}

// NewSurvey makes an empty survey.
func NewSurvey() *Survey {
	return &Survey{
		exact: exact{maphash.MakeSeed()}, first: map[fingerprint]firstRow{}, variants: map[variant]struct{}{},
		labels: map[string]int{}, lengths: lengths{},
	}
}

// Add takes a row into account.
func (s *Survey) Add(row Row) {
	label, ok := s.labels[row.Label]
	if !ok {
		label = len(s.names)
		s.labels[row.Label] = label
		s.names, s.counts = append(s.names, row.Label), append(s.counts, 0)
	}
	s.counts[label]++
	s.report.Rows++
	characters := utf8.RuneCountInString(row.Text)
	s.lengths[characters]++
	s.longest(Length{row.Row, characters})
	s.compare(row, label)
}

func (s *Survey) compare(row Row, label int) {
	folded, letters := s.folder.fingerprint(row.Text), s.exact.fingerprint(row.Text)
	first, ok := s.first[folded]
	if !ok {
		s.first[folded] = firstRow{int32(row.Row), int32(label), letters}
		return
	}
	pair := Pair{row.Row, int(first.row)}
	d, c := &s.report.Duplicates, &s.report.Conflicts
	_, seen := s.variants[variant{folded, letters}]
	if seen || letters == first.exact {
		d.Exact++
	} else {
		d.Near++
		s.variants[variant{folded, letters}] = struct{}{}
	}
	if len(d.First) < maxPairs {
		d.First = append(d.First, pair)
	}
	if int(first.label) == label {
		return
	}
	c.Rows++
	if len(c.First) < maxPairs {
		c.First = append(c.First, pair)
	}
}

func (s *Survey) longest(l Length) {
	all := s.report.Longest
	if len(all) == maxLongest && all[maxLongest-1].Characters >= l.Characters {
		return
	}
	at, _ := slices.BinarySearchFunc(all, l.Characters, func(e Length, n int) int {
		if e.Characters >= n {
			return -1
		}
		return 1
	})
	all = slices.Insert(all, at, l)
	s.report.Longest = all[:min(len(all), maxLongest)]
}

// Report tells what was seen. Dropped rows are the reader's to count.
func (s *Survey) Report() Report {
	r := s.report
	r.Longest = slices.Clone(r.Longest)
	r.Duplicates.First, r.Conflicts.First = slices.Clone(r.Duplicates.First), slices.Clone(r.Conflicts.First)
	r.Lengths = s.lengths.report()
	for i, name := range s.names {
		r.Labels = append(r.Labels, LabelCount{name, s.counts[i]})
	}
	slices.SortFunc(r.Labels, func(a, b LabelCount) int {
		return cmp.Or(b.Rows-a.Rows, strings.Compare(a.Label, b.Label))
	})
	r.Alike = alike(s.names)
	return r
}

// alike groups labels that fold alike.
func alike(names []string) (out [][]string) {
	groups := map[string][]string{}
	for _, name := range names {
		groups[Fold(name)] = append(groups[Fold(name)], name)
	}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		if group := groups[key]; len(group) > 1 {
			slices.Sort(group)
			out = append(out, group)
		}
	}
	return out
}
