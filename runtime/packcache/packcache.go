// Package packcache keeps a base's packed weights in files, from one start to the next: to
// map them takes a small part of the time in which they are packed.
package packcache

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"valence/runtime/newfile"
	"valence/runtime/safetensors"
	"valence/runtime/stamp"
)

// ErrDamaged is wrapped by errors about a file that is not what was kept.
var ErrDamaged = errors.New("packcache: damaged")

// Cache is a folder of files, one for each base and layout. Each has its SHA-256 in a file
// beside it, which is compared when it is opened.
type Cache struct {
	Folder string
	Sums   stamp.Sums // so that a large file is not read at every start
}

// most is how many files are kept: those of a base that nobody uses any more are large.
const most = 3

const (
	filesEnd = ".safetensors"
	sumsEnd  = ".sha256"
)

// path is that of a base's file, without its end.
func (c Cache) path(base, layout string) (string, error) {
	sum, ok := strings.CutPrefix(base, "sha256:")
	if !ok || len(sum) != 2*sha256.Size || layout == "" || strings.ContainsAny(layout, "/.") {
		return "", fmt.Errorf("packcache: no base %q in the layout %q", base, layout)
	}
	return filepath.Join(c.Folder, sum[:32]+"-"+layout), nil
}

// File is an open file of packed weights.
type File struct{ file *safetensors.File }

// Open maps what was kept of the base with a digest in a layout. fs.ErrNotExist is wrapped
// where nothing was, and ErrDamaged where it is something else.
func (c Cache) Open(base, layout string) (_ *File, err error) {
	path, err := c.path(base, layout)
	if err != nil {
		return nil, err
	}
	want, err := os.ReadFile(path + sumsEnd)
	if err != nil {
		return nil, fmt.Errorf("packcache: %w", err)
	}
	file, err := safetensors.Open(path + filesEnd)
	if err != nil {
		return nil, fmt.Errorf("packcache: %w", err)
	}
	if got := hex.EncodeToString(c.Sums.Of(file)); got != strings.TrimSpace(string(want)) || file.Metadata()["base"] != base || file.Metadata()["layout"] != layout {
		return nil, errors.Join(fmt.Errorf("%w: %s%s is not what %s%s says", ErrDamaged, path, filesEnd, filepath.Base(path), sumsEnd), file.Close())
	}
	now := time.Now()
	_ = os.Chtimes(path+sumsEnd, now, now) // tells when it was last used; to know better is not worth an error
	return &File{file}, nil
}

// Packed is the packed weight of the checkpoint's tensor of that name, in mapped memory,
// until Close.
func (f *File) Packed(name string) ([]byte, bool) {
	t, ok := f.file.Tensor(name)
	return t.Data, ok
}

// Close gives the memory back.
func (f *File) Close() error { return f.file.Close() }

// Weight is a packed weight and the name of the checkpoint's tensor.
type Weight struct {
	Name string
	Data []byte
}

// Save keeps the packed weights of a base. The file appears whole or not at all, and those
// that were used longest ago are removed. It ends early with ctx.
func (c Cache) Save(ctx context.Context, base, layout string, weights []Weight) (err error) {
	path, err := c.path(base, layout)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Folder, 0o755); err != nil {
		return fmt.Errorf("packcache: %w", err)
	}
	sum := sha256.New()
	err = newfile.Write(path+filesEnd, func(w io.Writer) error {
		tensors := make([]safetensors.Tensor, len(weights))
		for i, p := range weights {
			tensors[i] = safetensors.Tensor{Name: p.Name, DType: safetensors.U8, Shape: []int64{int64(len(p.Data))}, Data: p.Data}
		}
		out := bufio.NewWriterSize(&endsWith{ctx, io.MultiWriter(w, sum)}, 1<<20)
		if err := safetensors.Write(out, tensors, map[string]string{"base": base, "layout": layout}); err != nil {
			return err
		}
		return out.Flush()
	})
	if err == nil {
		err = newfile.Write(path+sumsEnd, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%x\n", sum.Sum(nil))
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("packcache: %w", err)
	}
	c.Sums.Remember(path+filesEnd, sum.Sum(nil))
	return c.prune()
}

// endsWith is a writer that fails when a context ends.
type endsWith struct {
	ctx context.Context
	io.Writer
}

func (w *endsWith) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

// abandoned is how long a file that is being written may rest before it is a killed
// process's.
const abandoned = time.Hour

// prune removes what was used longest ago, and what a killed process left.
func (c Cache) prune() error {
	entries, err := os.ReadDir(c.Folder)
	if err != nil {
		return fmt.Errorf("packcache: %w", err)
	}
	var kept []fs.FileInfo
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil: // it is gone
		case strings.HasPrefix(e.Name(), newfile.Unfinished) && time.Since(info.ModTime()) > abandoned:
			errs = append(errs, os.Remove(filepath.Join(c.Folder, e.Name())))
		case strings.HasSuffix(e.Name(), sumsEnd):
			kept = append(kept, info)
		}
	}
	slices.SortFunc(kept, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, old := range kept[min(most, len(kept)):] {
		path := filepath.Join(c.Folder, strings.TrimSuffix(old.Name(), sumsEnd))
		errs = append(errs, os.Remove(path+sumsEnd), os.Remove(path+filesEnd))
	}
	return errors.Join(errs...)
}
