package handlers

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
)

// maxUploadEntries bounds the entries of a zip, folders and files that are refused among
// them. (The parts of a form are each known and different, or the last one.)
const maxUploadEntries = 16

// zipDirectory opens each record of a zip's directory.
var zipDirectory = []byte("PK\x01\x02")

// readZip reads the files of a zip. The sizes that it declares only refuse it sooner:
// what is unpacked is counted.
func (f *folder) readZip(body io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(body, f.limit+1))
	if err != nil {
		return readError(err, "the zip")
	}
	// archive/zip reads the whole directory before it can be asked for its length, and
	// millions of records fit into an upload. A few of these bytes can stand in a file.
	if bytes.Count(data, zipDirectory) > 4*maxUploadEntries {
		return errManyEntries()
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // paths are checked below
		return fmt.Errorf("%w: the zip cannot be read: %w", errUpload, err)
	}
	if len(archive.File) > maxUploadEntries {
		return errManyEntries()
	}
	for _, file := range archive.File {
		if err := f.addZipped(file); err != nil {
			return err
		}
	}
	return nil
}

func errManyEntries() error {
	return fmt.Errorf("%w: the zip has more than %d entries", errUpload, maxUploadEntries)
}

func (f *folder) addZipped(file *zip.File) error {
	mode := file.Mode()
	switch {
	case mode.IsDir():
		return checkTopFolder(file.Name)
	case !mode.IsRegular():
		return fmt.Errorf("%w: %q is a link or another thing that is no file", errUpload, file.Name)
	case file.UncompressedSize64 > uint64(max(f.left, 0)):
		return f.tooLarge()
	}
	content, err := file.Open()
	if err != nil {
		return fmt.Errorf("%w: %q: %w", errUpload, file.Name, err)
	}
	defer content.Close()
	return f.add(file.Name, unpacked{content, file.Name})
}

// unpacked reads a file of a zip. Its faults are those of the zip: the body is there.
type unpacked struct {
	io.Reader
	name string
}

func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // readers return it bare
		err = fmt.Errorf("%w: %q cannot be unpacked: %v", errUpload, u.name, err) //nolint:errorlint // an end of it is no end of the body
	}
	return n, err
}

// checkTopFolder allows the entry of a folder in the root.
func checkTopFolder(name string) error {
	clean := path.Clean(name)
	if err := checkUploadPath(clean); err != nil {
		return err
	}
	if path.Dir(clean) != "." {
		return fmt.Errorf("%w: %q is a nested folder", errUpload, name)
	}
	return nil
}
