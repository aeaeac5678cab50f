package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is how often a lock that another holds is tried.
const lockPoll = 20 * time.Millisecond

// Modes of what the cache makes, before the umask: others may share it.
const (
	dirMode  = 0o777
	fileMode = 0o666
)

// folder is the part of the cache that holds one repository.
type folder struct {
	path  string // <cache>/models--<owner>--<name>
	locks string // <cache>/.locks/models--<owner>--<name>
}

func (c *Client) folder(repo string) folder {
	name := "models--" + strings.ReplaceAll(repo, "/", "--")
	return folder{filepath.Join(c.o.CacheDir, name), filepath.Join(c.o.CacheDir, ".locks", name)}
}

func (f folder) blob(hash string) string { return filepath.Join(f.path, "blobs", hash) }
func (f folder) ref(rev string) string   { return filepath.Join(f.path, "refs", filepath.FromSlash(rev)) }
func (f folder) pointer(commit, file string) string {
	return filepath.Join(f.path, "snapshots", commit, filepath.FromSlash(file))
}
func (f folder) absence(commit, file string) string {
	return filepath.Join(f.path, ".no_exist", commit, filepath.FromSlash(file))
}

// resolve gives the commit that a revision stood for when the cache last heard of
// it. Errors are of the kind ErrOffline, or ErrNotFound for an ambiguous commit.
func (f folder) resolve(t target) (string, error) {
	if isCommit(t.revision) {
		return t.revision, nil
	}
	data, err := os.ReadFile(f.ref(t.revision))
	if commit := strings.TrimSpace(string(data)); err == nil && isCommit(commit) {
		return commit, nil
	}
	if !isShortCommit(t.revision) {
		return "", f.missing(t, "this revision")
	}
	found, err := filepath.Glob(filepath.Join(f.path, "snapshots", t.revision+"*")) // hexadecimal: no wildcard
	switch {
	case err != nil || len(found) == 0:
		return "", f.missing(t, "this revision")
	case len(found) > 1:
		return "", t.fail(ErrNotFound, nil, "%d commits in the cache begin so; give more digits", len(found))
	}
	return filepath.Base(found[0]), nil
}

// missing is the error of what the cache lacks offline.
func (f folder) missing(t target, what string) *Error {
	return t.fail(ErrOffline, nil, "%s is not in the cache %s: fetch it once with a network (without HF_HUB_OFFLINE)",
		what, f.path)
}

// unasked is the error of a file of which the cache does not know whether the repository
// has it: a cache that another program filled with what it needed. To go on as if there
// were none would change answers.
func (f folder) unasked(t target) *Error {
	return t.fail(ErrOffline, nil, "the cache %s does not know whether the repository has this file: ask once with a network, "+
		"by a pull without HF_HUB_OFFLINE or by \"hf download %s %s --revision %s\", which notes that there is none",
		f.path, t.repo, t.file, t.revision)
}

// state says what the cache knows of a file.
type state int

const (
	unknown state = iota // nothing, or what it has is damaged
	cached
	absent // the commit has no such file
)

// look tells what the cache has of a commit's file, and its size if it is cached.
// The content is read and checked against the hash that the blob is named by, if it
// has not more than limit bytes. A file that is no link, as a file system without
// links has it, has no hash to check.
func (f folder) look(t target, commit string, limit int64) (state, int64, error) {
	pointer := f.pointer(commit, t.file)
	info, err := os.Stat(pointer)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(f.absence(commit, t.file)); err == nil {
			return absent, 0, nil
		}
		return unknown, 0, nil
	}
	if err != nil {
		return unknown, 0, t.fail(ErrCache, err, "looking it up")
	}
	if info.Size() > limit {
		return cached, info.Size(), nil
	}
	link, err := os.Readlink(pointer)
	if err != nil {
		return cached, info.Size(), nil
	}
	if err := verify(pointer, filepath.Base(link)); err != nil {
		return unknown, 0, t.fail(ErrCorrupt, err, "the cached copy is damaged; delete %s", f.blob(filepath.Base(link)))
	}
	return cached, info.Size(), nil
}

// errHash says that content has not the hash it should have.
var errHash = errors.New("its content has another hash")

// verify reads the file at path and compares it with its hash: 64 hexadecimal
// digits of SHA-256, or 40 of a git blob's SHA-1.
func verify(path, want string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	h, err := hashFor(want, info.Size())
	if err != nil {
		return err
	}
	if _, err := io.Copy(h, file); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%w: %s, not %s", errHash, got, want)
	}
	return nil
}

// hashFor gives the hash function behind a blob's name, ready for the content.
func hashFor(name string, size int64) (hash.Hash, error) {
	switch {
	case !isHex(name):
	case len(name) == 2*sha256.Size:
		return sha256.New(), nil
	case len(name) == 2*sha1.Size:
		return gitHasher(size), nil
	}
	return nil, fmt.Errorf("%.80q is neither a SHA-256 nor a git hash", name)
}

// gitHasher hashes a git blob of the given size.
func gitHasher(size int64) hash.Hash {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// lock takes the lock of a blob, which huggingface_hub takes too.
func (f folder) lock(ctx context.Context, hash string) (unlock func(), err error) {
	if err := os.MkdirAll(f.locks, dirMode); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(f.locks, hash+".lock"), flock.SetPermissions(fileMode))
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

// link makes the pointer of a commit's file to a blob. The lock of the blob is held.
func (f folder) link(commit, file, hash string) error {
	pointer := f.pointer(commit, file)
	if err := os.MkdirAll(filepath.Dir(pointer), dirMode); err != nil {
		return err
	}
	to, err := filepath.Rel(filepath.Dir(pointer), f.blob(hash))
	if err != nil {
		return err
	}
	if at, err := os.Readlink(pointer); err == nil && at == to {
		return nil
	}
	// A new name renamed over the old one: no reader finds the file missing.
	temporary := pointer + "." + hash + ".tmp"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(to, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, pointer)
}

// note records that a commit has no such file.
func (f folder) note(commit, file string) error { return write(f.absence(commit, file), nil) }

// refer records the commit of a revision.
func (f folder) refer(revision, commit string) error {
	if revision == commit {
		return nil
	}
	if data, err := os.ReadFile(f.ref(revision)); err == nil && string(data) == commit {
		return nil
	}
	return write(f.ref(revision), []byte(commit))
}

// write makes a small file and its folders.
func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return err
	}
	return os.WriteFile(path, data, fileMode)
}
