package safetensors

import (
	"errors"
	"fmt"
	"io"
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
	mapped   bool // bytes is a mapping to be undone by Close
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
	data, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	f, err := Parse(data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), unmap(data))
	}
	f.mapped = true
	return f, nil
}

// mapFile maps a regular file. An empty file, which cannot be mapped, is nil.
func mapFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() == 0:
		return nil, nil
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	return data, nil
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

// Mapped tells whether the tensors lie in a mapped file, and not in memory of Go's.
func (f *File) Mapped() bool { return f.mapped }

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
	data, mapped := f.bytes, f.mapped
	*f = File{}
	if !mapped {
		return nil
	}
	return unmap(data)
}
