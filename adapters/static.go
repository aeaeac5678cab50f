package adapters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotFound is wrapped when no entry has the id, or the revision of it, that
// was asked for.
var ErrNotFound = errors.New("adapters: no such adapter")

// minDigestPrefix is the fewest hexadecimal digits that name a digest.
const minDigestPrefix = 6

const digestKind = "sha256:"

// Static is a registry whose entries are fixed when it is made: one version of
// each adapter. It is safe for concurrent use.
type Static struct {
	entries []*Entry // the base, then the others by id
	byID    map[string]*Entry
}

// NewStatic makes a registry of the base, whose id must be BaseID, and others.
// Errors wrap ErrID.
func NewStatic(base *Entry, others ...*Entry) (*Static, error) {
	if base.ID != BaseID {
		return nil, fmt.Errorf("%w %q: the base must be named %q", ErrID, base.ID, BaseID)
	}
	others = slices.SortedFunc(slices.Values(others), func(a, b *Entry) int { return strings.Compare(a.ID, b.ID) })
	s := &Static{entries: append([]*Entry{base}, others...), byID: make(map[string]*Entry)}
	for _, e := range s.entries {
		if ref, err := ParseID(e.ID); err != nil {
			return nil, err
		} else if ref.Revision != "" {
			return nil, fmt.Errorf("%w %q: an entry's id has no revision", ErrID, e.ID)
		}
		if s.byID[e.ID] != nil {
			return nil, fmt.Errorf("%w %q: two entries have it", ErrID, e.ID)
		}
		s.byID[e.ID] = e
	}
	return s, nil
}

// Lookup gives the entry that ref names: an id, or an id with "@" and the entry's
// version or the beginning of its digest, with or without "sha256:". "" and
// BaseID are the base. Errors wrap ErrID or ErrNotFound and name ref.
func (s *Static) Lookup(_ context.Context, ref string) (*Entry, error) {
	if ref == "" {
		ref = BaseID
	}
	r, err := ParseID(ref)
	if err != nil {
		return nil, err
	}
	e := s.byID[r.ID]
	if e == nil {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, r.ID)
	}
	if r.Revision != "" && !e.is(r.Revision) {
		return nil, fmt.Errorf("%w: %q has no revision %q", ErrNotFound, r.ID, r.Revision)
	}
	return e, nil
}

// is tells whether revision names this version.
func (e *Entry) is(revision string) bool {
	return revision == e.Version || IsDigestPrefix(revision, e.Digest)
}

// IsDigestPrefix tells whether a revision is the beginning of a digest, of 6 hexadecimal
// digits or more, with or without "sha256:".
func IsDigestPrefix(revision, digest string) bool {
	prefix := strings.TrimPrefix(revision, digestKind)
	return len(prefix) >= minDigestPrefix && strings.HasPrefix(strings.TrimPrefix(digest, digestKind), prefix)
}

// List gives the base, then the others by id.
func (s *Static) List() []*Entry { return slices.Clone(s.entries) }
