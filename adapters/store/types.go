package store

import "time"

// Version is one version of an adapter. It never changes.
type Version struct {
	Adapter    string    // id
	Number     int       // 1, 2, ... within the adapter; never used again, whatever is deleted
	Digest     string    // "sha256:..." as peft.Digest gives it; unique within the adapter
	Base       string    // digest of the base that it was checked against
	Source     Source    // how it came here
	Origin     string    // where from, such as "owner/name@<commit>" or a job's id
	Private    bool      // pulled with a caller's own Hub token: access must be asked for each caller
	Created    time.Time // UTC, in whole microseconds
	Bytes      int64     // of its files
	Sites      int       // IA3 vectors
	Parameters int       // their elements
	Sidecar    []byte    // text of valence.json, or nil; unlike Files, a listing does not check it against its hash
}

// Source says how a version came here.
type Source = string

// The sources.
const (
	SourceUpload Source = "upload"
	SourceHub    Source = "hub"
	SourceTrain  Source = "train"
	SourceImport Source = "import"
)

// Adapter is a name with its versions.
type Adapter struct {
	ID       string
	Active   int       // number of the active version; 0 for none
	Pinned   bool      // to be kept in memory
	Versions []Version // ascending; none if all were deleted
	Sequence int64     // of the last change of it
}

// Version gives the version with a number.
func (a *Adapter) Version(number int) (Version, bool) {
	for _, v := range a.Versions {
		if v.Number == number {
			return v, true
		}
	}
	return Version{}, false
}

// NewVersion is a version to publish. Its number, time, size and sidecar follow from
// the files and from what is stored.
type NewVersion struct {
	Adapter    string
	Digest     string
	Base       string
	Source     Source
	Origin     string
	Private    bool
	Sites      int
	Parameters int
	Files      map[string][]byte // by name, such as adapter_config.json; valence.json is the sidecar
	Activate   bool
	IfActive   *int // unless nil, publish only if this is the active version's number (0: none is active), else ErrConflict
}

// Event is a change that has happened.
type Event struct {
	Sequence int64 // 1, 2, ... in the order of the changes, without gaps
	Time     time.Time
	Adapter  string
	Kind     Kind
	Number   int // of the version; 0 where the change is of the whole adapter
}

// Kind is what an event tells of.
type Kind = string

// The kinds of events.
const (
	Published      Kind = "published"
	Activated      Kind = "activated"
	RolledBack     Kind = "rolled_back" // to Number
	Pinned         Kind = "pinned"
	Unpinned       Kind = "unpinned"
	Deleted        Kind = "deleted" // with all versions
	VersionDeleted Kind = "version_deleted"
)
