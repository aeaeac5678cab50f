package store

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// manifestFormat is the format of store.json that is written and read.
const manifestFormat = 1

// The parts of an export.
const (
	manifestFile   = "store.json"
	adaptersFolder = "adapters"
)

// manifest is the store.json of an export: all that the folders beside it do not say.
type manifest struct {
	Format   int               `json:"format"`
	Adapters []manifestAdapter `json:"adapters"`
}

type manifestAdapter struct {
	ID       string            `json:"id"`
	Deleted  bool              `json:"deleted,omitzero"` // only its numbers are left
	Active   int               `json:"active,omitzero"`
	Earlier  []int             `json:"earlier,omitempty"` // active before, the latest last
	Pinned   bool              `json:"pinned,omitzero"`
	Numbers  []manifestNumber  `json:"numbers"` // all that were ever given
	Versions []manifestVersion `json:"versions,omitempty"`
}

type manifestNumber struct {
	Number int    `json:"number"`
	Digest string `json:"digest"`
}

type manifestVersion struct {
	Number     int                        `json:"number"`
	Digest     string                     `json:"digest"`
	Base       string                     `json:"base"`
	Source     Source                     `json:"source"`
	Origin     string                     `json:"origin,omitzero"`
	Private    bool                       `json:"private,omitzero"`
	Created    time.Time                  `json:"created"`
	Sites      int                        `json:"sites"`
	Parameters int                        `json:"parameters"`
	Files      map[string]manifestContent `json:"files"`
}

type manifestContent struct {
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

// folder is where an export has a version's files.
func folder(id string, number int) string {
	return path.Join(adaptersFolder, id, "v"+strconv.Itoa(number))
}

func (v *manifestVersion) version(id string) Version {
	return Version{
		Adapter: id, Number: v.Number, Digest: v.Digest, Base: v.Base, Source: v.Source, Origin: v.Origin, Private: v.Private,
		Created: v.Created.UTC().Truncate(time.Microsecond), Sites: v.Sites, Parameters: v.Parameters,
	}
}

func (m *manifest) encode() ([]byte, error) {
	return json.Marshal(m, jsontext.WithIndent("  "), json.Deterministic(true))
}

// parseManifest reads a store.json and checks that it agrees with itself. Errors wrap
// ErrInvalid.
func parseManifest(data []byte) (*manifest, error) {
	m := &manifest{}
	if err := json.Unmarshal(data, m, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, manifestFile, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("%w: %s: format is %d; only %d can be read", ErrInvalid, manifestFile, m.Format, manifestFormat)
	}
	seen := map[string]bool{}
	for i := range m.Adapters {
		a := &m.Adapters[i]
		err := a.check()
		if err == nil && seen[a.ID] {
			err = fmt.Errorf("%w: it is there twice", ErrInvalid)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: adapters[%d] %.100s: %w", manifestFile, i, a.ID, err)
		}
		seen[a.ID] = true
	}
	return m, nil
}

func (a *manifestAdapter) check() error {
	if err := checkID(a.ID); err != nil {
		return err
	}
	numbers := map[int]string{}
	for _, n := range a.Numbers {
		if err := checkDigest("digest", n.Digest); err != nil {
			return err
		}
		if n.Number < 1 || numbers[n.Number] != "" {
			return fmt.Errorf("%w: numbers: %d is below 1 or there twice", ErrInvalid, n.Number)
		}
		numbers[n.Number] = n.Digest
	}
	versions := map[int]bool{}
	digests := map[string]bool{}
	for _, v := range a.Versions {
		if err := v.check(a.ID); err != nil {
			return fmt.Errorf("version %d: %w", v.Number, err)
		}
		if versions[v.Number] || digests[v.Digest] || numbers[v.Number] != v.Digest {
			return fmt.Errorf("%w: version %d: its number or digest is there twice, or numbers lacks it", ErrInvalid, v.Number)
		}
		versions[v.Number], digests[v.Digest] = true, true
	}
	return a.checkActive(versions)
}

func (a *manifestAdapter) checkActive(versions map[int]bool) error {
	for _, n := range append(slices.Clone(a.Earlier), a.Active) {
		if n != 0 && !versions[n] {
			return fmt.Errorf("%w: active or earlier: there is no version %d", ErrInvalid, n)
		}
	}
	if a.Active == 0 && len(a.Earlier) > 0 || slices.Contains(a.Earlier, 0) {
		return fmt.Errorf("%w: earlier versions were active, and none is", ErrInvalid)
	}
	if a.Deleted && (a.Pinned || len(a.Versions) > 0) {
		return fmt.Errorf("%w: it is deleted, and pinned or with versions", ErrInvalid)
	}
	return nil
}

func (v *manifestVersion) check(id string) error {
	version := v.version(id)
	if err := version.check(); err != nil {
		return err
	}
	if len(v.Files) == 0 || len(v.Files) > maxFiles {
		return fmt.Errorf("%w: %d files; from 1 to %d are allowed", ErrInvalid, len(v.Files), maxFiles)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Files)) {
		content := v.Files[name]
		if err := checkFile(name, content.Bytes); err != nil {
			return err
		}
		if err := checkDigest("file "+name, content.Digest); err != nil {
			return err
		}
	}
	return nil
}
