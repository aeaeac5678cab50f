package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path"

	"valence/handlers/middleware"
)

// fieldFolder is the field of a form whose part is a zip of the folder.
const fieldFolder = "folder"

// readForm reads multipart/form-data: one part for each file, or one zip.
func (f *folder) readForm(body io.Reader, boundary string) error {
	end := &tail{Reader: body}
	form := multipart.NewReader(end, boundary)
	zipped := false
	for n := 0; ; n++ {
		part, err := form.NextPart()
		switch {
		case err != nil && end.cutBefore("--"+boundary+"--"):
			return readError(io.ErrUnexpectedEOF, "part %d of the form", n+1)
		case err == io.EOF: //nolint:errorlint // wrapped, it is no end
			return nil
		case err != nil:
			return readError(err, "part %d of the form", n+1)
		case zipped || n > 0 && part.FormName() == fieldFolder:
			return fmt.Errorf("%w: a part named %q is the whole upload; send no other part beside it", errUpload, fieldFolder)
		}
		if part.FormName() == fieldFolder {
			zipped = true
			err = f.readZip(part)
		} else {
			err = f.addPart(part)
		}
		if err != nil {
			return err
		}
	}
}

// tail remembers the end of what was read. The reader of a form takes one that is cut
// off within the head of a part for one that has ended, or is malformed.
type tail struct {
	io.Reader
	last  []byte
	ended bool
}

// tailBytes is more than the reader of a form reads ahead, 4 KiB, and a boundary.
const tailBytes = 8 << 10

func (t *tail) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.last = append(t.last, p[:n]...)
	t.last = t.last[max(len(t.last)-tailBytes, 0):]
	t.ended = t.ended || err == io.EOF
	return n, err
}

// cutBefore tells whether everything was read and the last boundary was not there.
func (t *tail) cutBefore(boundary string) bool {
	return t.ended && !bytes.Contains(t.last, []byte(boundary))
}

// addPart takes a file that the part's field name or file name names.
func (f *folder) addPart(part *multipart.Part) error {
	field, file := part.FormName(), rawFileName(part)
	switch known := isFolderFile(path.Base(file)); {
	case isFolderFile(field) && known && path.Base(file) != field:
		return fmt.Errorf("%w: the part %q holds a file named %q; which is it?", errUpload, field, file)
	case isFolderFile(field) && !known:
		return f.add(path.Join(f.folderOrRoot(), field), part)
	case file == "":
		return fmt.Errorf("%w: the part %q is none of %s, nor a zip named %q", errUpload, field, folderFiles, fieldFolder)
	default:
		return f.add(file, part)
	}
}

// folderOrRoot is where a file without a path of its own stands.
func (f *folder) folderOrRoot() string {
	if len(f.files) == 0 {
		return "."
	}
	return f.top
}

// rawFileName is the file name with the path that part.FileName would hide.
func rawFileName(part *multipart.Part) string {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

// readError says that something of the body could not be read: too large, cut off, or
// not what it claims to be.
func readError(err error, what string, args ...any) error {
	what = fmt.Sprintf(what, args...)
	switch {
	case errors.Is(err, middleware.ErrBodyTooLarge), errors.Is(err, errUpload):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: it ends, or stops, within %s", errReadBody, what)
	default:
		return fmt.Errorf("%w: %s: %w", errUpload, what, err)
	}
}
