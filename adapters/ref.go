package adapters

import (
	"errors"
	"fmt"
	"strings"
)

// ErrID is wrapped by every error about an adapter's id or revision.
var ErrID = errors.New("adapters: invalid adapter id")

// BaseID names the base model without any adapter. No adapter may have it.
const BaseID = "base"

// Bounds of an id's parts, in bytes. The first is the Hub's.
const (
	maxNameBytes     = 96
	maxRevisionBytes = 256
)

// Ref names an adapter, and one of its versions where Revision is not empty.
type Ref struct {
	ID       string // "name" or "owner/name"
	Revision string
}

func (r Ref) String() string {
	if r.Revision == "" {
		return r.ID
	}
	return r.ID + "@" + r.Revision
}

// ParseID reads "name", "owner/name" and either with "@revision". The rules for
// the id are those of huggingface_hub's validate_repo_id, with letters and digits
// of ASCII only; a revision is a version, a digest's beginning, a job, or a Hub
// branch, tag or commit. Errors wrap ErrID.
func ParseID(s string) (Ref, error) {
	id, revision, revised := strings.Cut(s, "@")
	ref := Ref{id, revision}
	if err := checkID(id); err != nil {
		return Ref{}, fmt.Errorf("%w %q: %w", ErrID, clip(s), err)
	}
	if !revised {
		return ref, nil
	}
	if id == BaseID {
		return Ref{}, fmt.Errorf("%w %q: %q has no revisions", ErrID, clip(s), BaseID)
	}
	if err := checkRevision(revision); err != nil {
		return Ref{}, fmt.Errorf("%w %q: %w", ErrID, clip(s), err)
	}
	return ref, nil
}

// clip keeps an error short whatever was sent.
func clip(s string) string {
	const most = 128
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

func checkID(id string) error {
	if id == "" {
		return errors.New("it is empty")
	}
	parts := strings.Split(id, "/")
	if len(parts) > 2 {
		return errors.New(`it may hold one "/" at most`)
	}
	for _, bad := range []string{"..", "--"} {
		if strings.Contains(id, bad) {
			return fmt.Errorf("it must not hold %q", bad)
		}
	}
	for _, part := range parts {
		if err := checkName(part); err != nil {
			return err
		}
	}
	if strings.HasSuffix(id, ".git") {
		return errors.New(`it must not end in ".git"`)
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New(`nothing stands before or after "/"`)
	case len(name) > maxNameBytes:
		return fmt.Errorf("a part of it has %d characters; at most %d are allowed", len(name), maxNameBytes)
	case strings.ContainsAny(name[:1], "-.") || strings.ContainsAny(name[len(name)-1:], "-."):
		return fmt.Errorf(`%q must not begin or end with "-" or "."`, name)
	}
	return checkCharacters(name, "._-")
}

func checkRevision(rev string) error {
	switch {
	case rev == "":
		return errors.New(`no revision follows "@"`)
	case len(rev) > maxRevisionBytes:
		return fmt.Errorf("the revision has %d characters; at most %d are allowed", len(rev), maxRevisionBytes)
	case strings.Contains(rev, "..") || strings.Contains(rev, "//"):
		return errors.New(`the revision must not hold ".." or "//"`)
	case strings.ContainsAny(rev[:1], "-./") || strings.ContainsAny(rev[len(rev)-1:], "./"):
		return errors.New(`the revision must not begin with "-", "." or "/", nor end with "." or "/"`)
	}
	return checkCharacters(rev, "._-/:+")
}

// checkCharacters allows ASCII letters and digits and those in more.
func checkCharacters(s, more string) error {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune(more, r):
		default:
			return fmt.Errorf("it must not hold %q; letters and digits of ASCII and %q are allowed", r, more)
		}
	}
	return nil
}
