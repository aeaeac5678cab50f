package pickle

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// zipMagic is how torch.load tells a zip archive.
const zipMagic = "PK\x03\x04"

// maxRecords bounds the files in an archive.
const maxRecords = 1 << 14

// encrypted is the bit of a zip file's flags that says so.
const encrypted = 1

// archive holds the files that torch.save writes into one folder: data.pkl, the
// pickle; byteorder, "little" or "big", which PyTorch before 2.1 did not write;
// data/<key>, the bytes of a storage; and more that tell of the format.
type archive map[string]*zip.File // by the path within the folder

// parseArchive gives the object of a zip archive, its storages filled.
func parseArchive(data []byte, s *storages) (any, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, fmt.Errorf("zip archive: %w", err)
	}
	program, err := a.read("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	root, n, err := unpickle(program, s)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	if n != len(program) {
		return nil, fmt.Errorf("data.pkl: %d bytes follow the pickle", len(program)-n)
	}
	return root, a.fill(s)
}

func openArchive(data []byte) (archive, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if n := len(r.File); n == 0 || n > maxRecords {
		return nil, fmt.Errorf("it has %d files; from 1 to %d are supported", n, maxRecords)
	}
	root, _, _ := strings.Cut(r.File[0].Name, "/")
	out, room := make(archive, len(r.File)), uint64(len(data))
	for _, f := range r.File {
		if err := checkRecord(f, room); err != nil {
			return nil, fmt.Errorf("%q: %w", f.Name, err)
		}
		// Files that lie over each other would together be larger than the archive.
		room -= f.UncompressedSize64
		name, ok := strings.CutPrefix(f.Name, root+"/")
		if !ok {
			return nil, fmt.Errorf("%q is not in folder %q, where the first file is", f.Name, root)
		}
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("%q comes twice", f.Name)
		}
		out[name] = f
	}
	return out, nil
}

// checkRecord refuses what torch.save never writes. No name is ever used as a path
// on disk; a strange one still tells of a file made to deceive.
func checkRecord(f *zip.File, room uint64) error {
	switch {
	case !fs.ValidPath(f.Name) || strings.ContainsAny(f.Name, "\\\x00"):
		return errors.New("the name is not a plain path")
	case f.Flags&encrypted != 0:
		return errors.New("it is encrypted")
	case f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64:
		return errors.New("it is compressed; torch.save stores files as they are")
	case f.UncompressedSize64 > room:
		return fmt.Errorf("its %d bytes are more than the archive has room for", f.UncompressedSize64)
	}
	return nil
}

// read reads a file of at most limit bytes and checks its CRC.
func (a archive) read(name string, limit uint64) ([]byte, error) {
	f, ok := a[name]
	if !ok {
		return nil, fmt.Errorf("%s: the zip archive has no such file", name)
	}
	if f.UncompressedSize64 > limit {
		return nil, fmt.Errorf("%s: its %d bytes are above the limit of %d", name, f.UncompressedSize64, limit)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// fill gives each storage the bytes of its file.
func (a archive) fill(s *storages) error {
	big, err := a.isBigEndian()
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(s.byKey)) {
		x := s.byKey[key]
		data, err := a.read("data/"+key, uint64(s.limit))
		if err != nil {
			return err
		}
		if err := x.fill(data); err != nil {
			return err
		}
		if big {
			swapBytes(data, int(x.elementSize()))
		}
	}
	return nil
}

func (a archive) isBigEndian() (bool, error) {
	const name = "byteorder"
	if a[name] == nil {
		return false, nil // as PyTorch does on a little-endian machine
	}
	order, err := a.read(name, 16)
	switch {
	case err != nil:
		return false, err
	case string(order) != "little" && string(order) != "big":
		return false, fmt.Errorf("%s: it is %q, not \"little\" or \"big\"", name, order)
	}
	return string(order) == "big", nil
}

// swapBytes turns the byte order of each element.
func swapBytes(data []byte, size int) {
	for ; len(data) > 0; data = data[size:] {
		slices.Reverse(data[:size])
	}
}
