package peft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"testing/fstest"

	"valence/runtime/mt5/spec"
)

// The files of a folder. The sidecar may be absent.
const (
	configFile  = "adapter_config.json"
	weightsFile = "adapter_model.safetensors"
	pickleFile  = "adapter_model.bin"
	sidecarFile = "valence.json"
	cardFile    = "README.md"
)

// Bounds of the files in bytes. The weights' is several times what vectors for every
// projection of the largest mT5 need in float32.
const (
	maxConfig  = 1 << 20
	maxWeights = 64 << 20
	maxSidecar = 1 << 20
)

// Folder is an adapter as a folder holds it. Read and NewFolder make them.
type Folder struct {
	Config  Config
	Vectors *spec.Vectors
	Sidecar []byte // valence.json, or nil where there is none; only what the digest covers is looked at here
	Digest  string // what function Digest says of Vectors and Sidecar
}

// NewFolder puts together what the configuration chooses on the model: its Sites, in
// their order, must be those of the vectors. The sidecar is the text of valence.json,
// or nil. Errors wrap ErrAdapter.
func NewFolder(model *spec.Config, config Config, vectors *spec.Vectors, sidecar []byte) (*Folder, error) {
	sites, err := config.Sites(model)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(sites, vectors.Sites) {
		return nil, fmt.Errorf("%w: the vectors are not those that target_modules choose on the model", ErrAdapter)
	}
	return withDigest(config, vectors, sidecar)
}

func withDigest(config Config, vectors *spec.Vectors, sidecar []byte) (*Folder, error) {
	digest, err := Digest(vectors, sidecar)
	if err != nil {
		return nil, err
	}
	return &Folder{config, vectors, sidecar, digest}, nil
}

// ReadDir reads the adapter in a folder on disk. Symbolic links are followed within
// the folder only: one that leads out of it is an error. For a cache that links into
// a folder beside it, give Read a sub-folder of the common root's FS instead.
func ReadDir(path string, model *spec.Config) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAdapter, err)
	}
	defer root.Close()
	folder, err := Read(root.FS(), model)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return folder, nil
}

// Read reads the adapter at the root of fsys, for the given model. It checks that
// every vector that the configuration asks for is there with its shape and finite
// values, and nothing else is. The vectors are in adapter_model.safetensors or,
// where there is none, in adapter_model.bin, of which no code is run. Errors wrap ErrAdapter and name the file, and the
// field or tensor.
func Read(fsys fs.FS, model *spec.Config) (*Folder, error) {
	f, err := ReadKnown(fsys, model, "")
	if err != nil {
		return nil, err
	}
	return withDigest(f.Config, f.Vectors, f.Sidecar)
}

// ReadKnown is Read for those who know the digest: it is not computed, nor compared.
func ReadKnown(fsys fs.FS, model *spec.Config, digest string) (*Folder, error) {
	data, err := readFile(fsys, configFile, maxConfig)
	if err != nil {
		return nil, err
	}
	config, err := ParseConfig(data)
	if err != nil {
		return nil, err
	}
	sites, err := config.Sites(model)
	if err != nil {
		return nil, err
	}
	vectors, err := readVectors(fsys, sites)
	if err != nil {
		return nil, err
	}
	sidecar, err := readFile(fsys, sidecarFile, maxSidecar)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &Folder{*config, vectors, sidecar, digest}, nil
}

// Files is a folder in memory: files by their names. Read does not copy them.
type Files map[string][]byte

// Open is fs.FS's.
func (f Files) Open(name string) (fs.File, error) {
	folder := fstest.MapFS{}
	for name, data := range f {
		folder[name] = &fstest.MapFile{Data: data, Mode: 0o444}
	}
	return folder.Open(name)
}

// read is a file of at most limit bytes.
func (f Files) read(name string, limit int64) ([]byte, error) {
	data, ok := f[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case int64(len(data)) > limit:
		return nil, tooLarge(limit)
	}
	return data, nil
}

func tooLarge(limit int64) error { return fmt.Errorf("it is larger than the limit of %d bytes", limit) }

// readFile reads a regular file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) (data []byte, err error) {
	if files, ok := fsys.(Files); ok {
		data, err = files.read(name, limit)
	} else {
		data, err = readRegular(fsys, name, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAdapter, name, err)
	}
	return data, nil
}

func readRegular(fsys fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(fsys, name) // before opening, which can block on a pipe
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var data bytes.Buffer
	data.Grow(int(min(max(info.Size(), 0), limit)) + bytes.MinRead)
	if _, err := data.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > limit {
		return nil, tooLarge(limit)
	}
	return data.Bytes(), nil
}
