package conformance

import (
	"fmt"
	"strings"
	"sync"
)

// variants is how many contents each adapter has, which its versions take in turns.
const variants = 3

// baseID names the base among the adapters.
const baseID = "base"

// subject is an adapter under test.
type subject struct {
	id       string
	index    int
	group    int // subjects of one group are asked the same texts
	steady   bool
	variants []variant
	newcomer bool   // not there when the load begins, if adapters are changed
	hub      string // repository that it is pulled from, or ""
	timeline timeline
	changing sync.Mutex      // held while it is changed
	used     map[string]bool // names of versions that stood for something; guarded by changing
}

// variant is one content of an adapter, known by its digest.
type variant struct {
	kind   kind
	digest string
}

// makeSubjects plans the adapters.
func (r *run) makeSubjects() ([]*subject, error) {
	var out []*subject
	for i := range r.Adapters {
		s, err := r.makeSubject(i)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if r.HubRepo != "" {
		out = append(out, &subject{
			id: r.prefix + "pulled", index: r.Adapters, hub: r.HubRepo,
			timeline: timeline{lag: r.Lag}, used: map[string]bool{},
		})
	}
	return out, nil
}

// makeSubject plans one. The versions of a steady one share their labels, so that it can
// be blended and sit on a jury; those of the others differ in them.
func (r *run) makeSubject(i int) (*subject, error) {
	s := &subject{
		id: fmt.Sprintf("%sa%d", r.prefix, i), index: i, group: i % groupsOf(r.Adapters),
		steady: i%5 != 4, newcomer: i%8 == 7,
		timeline: timeline{lag: r.Lag}, used: map[string]bool{},
	}
	for v := range variants {
		at := s.group
		if !s.steady {
			at += v
		}
		kind := r.maker.kinds[at%len(r.maker.kinds)]
		made, err := r.maker.make(i, v, kind)
		if err != nil {
			return nil, err
		}
		s.variants = append(s.variants, variant{kind, made.Digest})
	}
	return s, nil
}

// digestPrefix shortens a digest to what names it among a few.
func digestPrefix(digest string) string {
	return strings.TrimPrefix(digest, digestScheme)[:12]
}
