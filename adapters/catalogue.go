package adapters

import (
	"errors"
	"fmt"
	"time"
)

// Errors of changes to what is served.
var (
	// ErrConflict is wrapped when the state does not allow a change: to delete the active
	// version, to roll back where there is no earlier one, to activate if something else
	// is active meanwhile.
	ErrConflict = errors.New("adapters: conflict")
	// ErrFixed is wrapped when a change is asked for of the base or of an adapter that the
	// configuration names.
	ErrFixed = errors.New("adapters: fixed by the configuration")
	// ErrPullForbidden is wrapped when an adapter is not known here and the configuration
	// does not let it be pulled from the Hub.
	ErrPullForbidden = errors.New("adapters: pulling is not allowed")
	// ErrWrongBase is wrapped when a version was made for another base than is served.
	ErrWrongBase = errors.New("adapters: made for another base")
)

// Source says where a version came from.
type Source string

// The sources of versions.
const (
	SourceConfig Source = "config" // a folder that the configuration names, or the base itself
	SourceUpload Source = "upload"
	SourceHub    Source = "hub"
	SourceTrain  Source = "train"
	SourceImport Source = "import"
)

// Version is what is known of one version of an adapter without loading it.
type Version struct {
	Name       string // "v1", "v2", ...; "" for the base
	Digest     string // see Entry.Digest
	Base       string // digest of the base that it was checked against
	Source     Source
	Origin     string // where exactly: "owner/name@<commit>", a job, or ""
	Private    bool   // pulled with a caller's own Hub token; see Query.HubToken
	Created    time.Time
	Bytes      int64 // of its files; 0 for the base
	Sites      int
	Parameters int
	Sidecar    Sidecar // without its canary rows
	Active     bool
	Residency
}

// Residency tells what of a version is in memory now.
type Residency struct {
	Resident      bool
	ResidentBytes int64
	Leases        int // rows that use it at this moment
}

// Info is what is known of an adapter.
type Info struct {
	ID       string
	Fixed    bool // by the configuration: it cannot be changed by a call
	Pinned   bool
	Requests int64     // leases since the start of this process
	Versions []Version // oldest first; at least one
}

// ActiveVersion is the version that the id alone stands for, or nil.
func (i *Info) ActiveVersion() *Version {
	for v := range i.Versions {
		if i.Versions[v].Active {
			return &i.Versions[v]
		}
	}
	return nil
}

// Query names what shall answer a row.
type Query struct {
	// Parts has one element, or several to blend, whose weights sum to 1.
	Parts []QueryPart
	// Strength turns the effect up or down: 1 is as trained, 0 the base, MaxStrength the most.
	Strength float64
	// HubToken is the caller's own token for the Hub, or "". An adapter that is pulled with
	// it answers only callers whose own token may read the repository.
	HubToken string
}

// QueryPart is one adapter of a query.
type QueryPart struct {
	Ref    string // an id with an optional "@revision"; "" is the base
	Weight float64
}

// Ask is the query for one adapter as it is.
func Ask(ref string) Query { return Query{Parts: []QueryPart{{ref, 1}}, Strength: 1} }

// Check tells whether the weights and the strength are such as can be blended. Errors
// wrap ErrBlend.
func (q Query) Check() error {
	parts := make([]Part, len(q.Parts))
	for i, p := range q.Parts {
		parts[i].Weight = p.Weight
	}
	if err := checkBlend(parts, q.Strength); err != nil {
		return fmt.Errorf("%w: %w", ErrBlend, err)
	}
	return nil
}

// Lease keeps an entry in memory, on the host and on the device, until Release.
type Lease struct {
	*Entry
	release func()
}

// NewLease leases an entry; release, or nil, is called by Release. It must bear being
// called more than once.
func NewLease(e *Entry, release func()) *Lease { return &Lease{e, release} }

// Release ends the lease; more than once does nothing.
func (l *Lease) Release() {
	if l.release != nil {
		l.release()
	}
}

// Published answers an upload, a pull or a training: the version, whether it is new (the
// same digest may have been there already) and the adapter as it is now.
type Published struct {
	Version string
	New     bool
	Info    Info
}

// UploadRequest is a folder that a caller sent.
type UploadRequest struct {
	ID       string
	Files    map[string][]byte // by name: the files of a PEFT folder, and nothing else
	Activate bool
}

// TrainedVersion is what a training gives.
type TrainedVersion struct {
	ID       string
	Files    map[string][]byte // by name: the files of a PEFT folder
	Origin   string            // the job
	Activate bool
	// IfActive, unless nil, is the version that must be the active one ("" for none) for
	// this to be published; otherwise ErrConflict is wrapped.
	IfActive *string
}

// Live is what a job has trained so far, or the version that it has published.
type Live struct {
	Version string // "v1", ... of what was published, or ""
	Step    int    // the following are of this step
	Vectors []float32
	Sidecar []byte // text of valence.json
}

// PullRequest asks for a version from the Hub.
type PullRequest struct {
	ID       string // the name here
	Repo     string // "owner/name", or "" where the ID is the repository's name
	Revision string // branch, tag or commit; "" is the default branch
	Activate bool
	Token    string // the caller's own, or "" for the server's
}

// PushRequest sends a version to the Hub.
type PushRequest struct {
	Ref     string // an id with an optional "@revision"
	Repo    string // "owner/name", or "" where the id is the repository's name
	Branch  string // "" is the default branch
	Message string // "" is one that names the version
	Create  bool   // make the repository where there is none
	Private bool   // make it private
	Token   string // the caller's own, or "" for the server's
}

// Pushed answers a push.
type Pushed struct {
	Repo   string
	Branch string
	Commit string
	URL    string
}
