package store

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"valence/adapters"
)

// Bounds of what is stored.
const (
	maxText  = 1024     // bytes of a text that says where something is from
	maxFiles = 16       // of a version
	maxFile  = 64 << 20 // bytes of a file of a version; it is in memory as a whole
)

// sidecarFile is the file whose text is a version's Sidecar.
const sidecarFile = "valence.json"

// checkID allows ids that adapters may have, without a revision.
func checkID(id string) error {
	ref, err := adapters.ParseID(id)
	switch {
	case err != nil:
		return err
	case ref.Revision != "":
		return fmt.Errorf("%w %q: a version is named by its number here", adapters.ErrID, id)
	case id == adapters.BaseID:
		return fmt.Errorf("%w %q: it names the base model", adapters.ErrID, id)
	}
	return nil
}

// checkText allows what both databases keep as it is.
func checkText(field, text string, needed bool) error {
	switch {
	case needed && text == "":
		return fmt.Errorf("%w: %s is empty", ErrInvalid, field)
	case len(text) > maxText:
		return fmt.Errorf("%w: %s has %d bytes; at most %d are allowed", ErrInvalid, field, len(text), maxText)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return fmt.Errorf("%w: %s is not UTF-8 without NUL", ErrInvalid, field)
	}
	return nil
}

func checkDigest(field, digest string) error {
	hexadecimal, ok := strings.CutPrefix(digest, "sha256:")
	if b, err := hex.DecodeString(hexadecimal); !ok || err != nil || len(b) != 32 || strings.ToLower(digest) != digest {
		return fmt.Errorf("%w: %s %q: sha256: and 64 hexadecimal digits in lower case are wanted", ErrInvalid, field, digest)
	}
	return nil
}

// check is about everything but the number and what follows from the files.
func (v *Version) check() error {
	if err := checkID(v.Adapter); err != nil {
		return err
	}
	if err := checkDigest("digest", v.Digest); err != nil {
		return err
	}
	if err := checkText("base", v.Base, true); err != nil {
		return err
	}
	if err := checkText("origin", v.Origin, false); err != nil {
		return err
	}
	if sources := []Source{SourceUpload, SourceHub, SourceTrain, SourceImport}; !slices.Contains(sources, v.Source) {
		return fmt.Errorf("%w: source %q: one of %q is wanted", ErrInvalid, v.Source, sources)
	}
	if v.Sites < 0 || v.Parameters < 0 {
		return fmt.Errorf("%w: %d sites with %d parameters", ErrInvalid, v.Sites, v.Parameters)
	}
	return nil
}

func checkFiles(files map[string][]byte) error {
	if len(files) == 0 || len(files) > maxFiles {
		return fmt.Errorf("%w: %d files; from 1 to %d are allowed", ErrInvalid, len(files), maxFiles)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := checkFile(name, int64(len(files[name]))); err != nil {
			return err
		}
	}
	return nil
}

// checkFile allows names that are the same on any file system, and that are not those
// of folders in an export: each holds a dot, and does not begin with one.
func checkFile(name string, size int64) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	most := int64(maxFile)
	if name == sidecarFile { // a listing reads its first chunk
		most = chunkBytes
	}
	switch {
	case len(name) > 100 || strings.Trim(name, allowed) != "" || strings.Index(name, ".") < 1 || strings.HasSuffix(name, "."):
		return fmt.Errorf("%w: file %.100q: a name such as adapter_config.json is wanted", ErrInvalid, name)
	case size > most:
		return fmt.Errorf("%w: file %s has %d bytes; at most %d are allowed", ErrInvalid, name, size, most)
	case size == 0 && name == sidecarFile:
		return fmt.Errorf("%w: file %s is empty", ErrInvalid, name)
	}
	return nil
}
