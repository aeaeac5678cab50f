package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
)

// ErrFormat is wrapped by every error about bytes that are not a well-formed
// safetensors file, or tensors that cannot be written or converted.
var ErrFormat = errors.New("safetensors: malformed")

// File is an open safetensors file. Its methods may be called from several
// goroutines, except Close.
type File struct {
	bytes    []byte
	tensors  map[string]Tensor
	metadata map[string]string
	info     fs.FileInfo // of the file that bytes are a mapping of, which Close undoes; or nil
}

// Open maps a file into memory, read-only, and checks its header against its
// size. Nothing of the tensors is read until it is looked at.
//
// The mapping holds the inode: the file may be renamed, replaced by a rename or
// deleted while it is open. It must not be truncated or overwritten in place: the
// system then ends the process with SIGBUS at the next look at a lost page, or
// shows the new bytes, and no check here can help. Whoever installs files writes
// a new one and renames it.
//
// Errors name the path and wrap ErrFormat for a malformed file, or the system's
// error.
func Open(path string) (*File, error) {
	data, info, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	f, err := Parse(data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), unmap(data))
	}
	f.info = info
	return f, nil
}

// mapFile maps a regular file. An empty file, which cannot be mapped, is nil.
func mapFile(path string) ([]byte, fs.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() == 0:
		return nil, info, nil
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	return data, info, nil
}

func unmap(data []byte) error {
	if data == nil {
		return nil
	}
	return syscall.Munmap(data)
}

// Parse reads a file that is in memory. The tensors alias data, which must not
// change while they are used. Errors wrap ErrFormat and name the tensor.
func Parse(data []byte) (*File, error) {
	head, body, err := split(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	h, err := parseHeader(head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := h.checkLayout(int64(len(body))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	f := &File{bytes: data, metadata: h.metadata, tensors: make(map[string]Tensor, len(h.entries))}
	for _, e := range h.entries {
		// The capacity ends with the tensor, so that no append can reach its neighbour.
		f.tensors[e.name] = Tensor{e.name, e.dtype, e.shape, body[e.begin:e.end:e.end]}
	}
	return f, nil
}

// Info is what the system said of a mapped file when it was opened, or nil where the
// tensors lie in memory of Go's.
func (f *File) Info() fs.FileInfo { return f.info }

// Names lists the tensors in byte order of their names.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Tensor finds a tensor by name. Its Data aliases the file, is read-only, and is
// valid until Close: a look at it later ends the process.
func (f *File) Tensor(name string) (Tensor, bool) {
	t, ok := f.tensors[name]
	return t, ok
}

// Metadata gives the strings that the header carries beside the tensors, or nil
// where there are none. It must not be changed.
func (f *File) Metadata() map[string]string { return f.metadata }

// WriteTo writes the whole file, header and all, as it was read: to hash it, say.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(f.bytes)
	return int64(n), err
}

// Close gives the memory of a mapped file back and forgets the tensors. A second
// Close does nothing.
func (f *File) Close() error {
	data, info := f.bytes, f.info
	*f = File{}
	if info == nil {
		return nil
	}
	return unmap(data)
}
