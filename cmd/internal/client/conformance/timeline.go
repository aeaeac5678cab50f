package conformance

import (
	"maps"
	"strings"
	"sync"
	"time"
)

// snapshot is what there is of an adapter at a moment. It is immutable.
type snapshot struct {
	active   string            // the version that the id stands for; "" where there is no such adapter
	versions map[string]string // digests by the versions' names
}

// resolve gives what a revision stands for: "" the active version, "v3" that one, and
// anything else the version whose digest begins so.
func (s snapshot) resolve(revision string) (version, digest string, ok bool) {
	if revision == "" {
		return s.active, s.versions[s.active], s.active != ""
	}
	if digest, ok := s.versions[revision]; ok {
		return revision, digest, true
	}
	for name, digest := range s.versions {
		if isDigest(revision) && strings.HasPrefix(digest, digestScheme+revision) {
			return name, digest, true
		}
	}
	return "", "", false
}

const digestScheme = "sha256:"

// isDigest tells a digest's beginning from a version's name, which begins with "v".
func isDigest(revision string) bool { return !strings.HasPrefix(revision, "v") }

// with is the snapshot with one version more, active or not.
func (s snapshot) with(version, digest string, activate bool) snapshot {
	versions := maps.Clone(s.versions)
	if versions == nil {
		versions = map[string]string{}
	}
	versions[version] = digest
	if activate || s.active == "" {
		return snapshot{version, versions}
	}
	return snapshot{s.active, versions}
}

// without is the snapshot with one version less.
func (s snapshot) without(version string) snapshot {
	versions := maps.Clone(s.versions)
	delete(versions, version)
	return snapshot{s.active, versions}
}

// activated is the snapshot with another active version.
func (s snapshot) activated(version string) snapshot { return snapshot{version, s.versions} }

// change is one change of an adapter. It took effect at some moment between began and
// ended, for all who ask.
type change struct {
	began, ended time.Time // ended is zero while the change is under way
	// after is what there was then: one snapshot, or several where the outcome is not known.
	after []snapshot
}

// timeline is what there was of an adapter when. Its changes come one after another.
type timeline struct {
	lag time.Duration // see Options.Lag

	mu      sync.Mutex
	changes []change // the first is how it all began
}

// begin notes that a change has been asked for. done notes that it was answered, and
// what there is since.
func (t *timeline) begin() (done func(after ...snapshot)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes = append(t.changes, change{began: time.Now()})
	at := len(t.changes) - 1
	return func(after ...snapshot) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.changes[at].ended, t.changes[at].after = time.Now(), after
	}
}

// now is what there is while no change is under way: no snapshot where there was no
// change ever, which is an adapter that does not exist, and several where that is not
// known.
func (t *timeline) now() []snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.changes) == 0 {
		return []snapshot{{}}
	}
	return t.changes[len(t.changes)-1].after
}

// during is what a row may have met that was sent and received then. open tells that a
// change is under way whose outcome it may have met too.
func (t *timeline) during(sent, received time.Time) (possible []snapshot, open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.changes) - 1; i >= 0; i-- {
		c := t.changes[i]
		switch {
		case c.began.After(received):
			continue
		case c.ended.IsZero():
			open = true
			continue
		}
		possible = append(possible, c.after...)
		if c.ended.Add(t.lag).Before(sent) {
			return possible, open // and what was before is over
		}
	}
	return append(possible, snapshot{}), open // before the first change there was nothing
}
