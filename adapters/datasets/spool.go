package datasets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"valence/adapters/store"
)

// spool copies a stream of at most limit bytes to a file without a name, which is gone
// when it is closed, and with the process. It gives the content's digest and leaves the
// file at its start.
func spool(ctx context.Context, dir string, r io.Reader, limit int64) (f *os.File, digest string, size int64, err error) {
	if f, err = unnamed(dir); err != nil {
		return nil, "", 0, err
	}
	if digest, size, err = fill(ctx, f, r, limit); err != nil {
		return nil, "", 0, errors.Join(err, f.Close())
	}
	return f, digest, size, nil
}

func fill(ctx context.Context, f *os.File, r io.Reader, limit int64) (digest string, size int64, err error) {
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(diskWriter{f}, h), &contextReader{ctx, io.LimitReader(r, limit+1)})
	if err != nil {
		return "", 0, fmt.Errorf("datasets: take in the file at byte %d: %w", size, err)
	}
	if size > limit {
		return "", 0, fmt.Errorf("%w: the file has more than %d bytes", ErrTooLarge, limit)
	}
	_, err = f.Seek(0, io.SeekStart)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), size, err
}

// spoolName begins a file's name before the file loses it.
const spoolName = "dataset-"

func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, spoolName+"*")
	if err != nil {
		return nil, fmt.Errorf("datasets: %w", full(err))
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) { // another process may be sweeping
		return nil, errors.Join(fmt.Errorf("datasets: %w", err), f.Close())
	}
	return f, nil
}

// sweepSpool makes the folder and removes the files of processes that were killed between
// the two steps of unnamed. "" is the system's folder, which is not ours to sweep.
func sweepSpool(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("datasets: folder for uploads: %w", full(err))
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("datasets: folder for uploads: %w", err)
	}
	for _, file := range left {
		if !strings.HasPrefix(file.Name(), spoolName) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, file.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("datasets: remove what is left of an upload: %w", err)
		}
	}
	return nil
}

// full gives a disk without room the store's name for it.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}

// diskWriter names a full disk.
type diskWriter struct{ w io.Writer }

func (d diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	return n, full(err)
}

// contextReader stops with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
