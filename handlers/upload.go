package handlers

import (
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"valence/adapters"
	"valence/handlers/middleware"
)

// Media types of uploads.
const (
	typeForm = "multipart/form-data"
	typeZip  = "application/zip"
)

// Names of the files of a PEFT folder.
const (
	fileConfig      = "adapter_config.json"
	fileSafetensors = "adapter_model.safetensors"
	fileBin         = "adapter_model.bin"
	fileSidecar     = "valence.json"
	fileReadme      = "README.md"
)

// folderFiles lists them for errors.
const folderFiles = fileConfig + ", " + fileSafetensors + ", " + fileBin + ", " + fileSidecar + " and " + fileReadme

// uploadAdapter answers PUT /v1/adapters/{id}.
func (a *api) uploadAdapter(w http.ResponseWriter, r *http.Request) {
	u, err := a.decodeUpload(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	done, err := a.Adapters.Upload(r.Context(), u)
	a.published(w, r, done, err)
}

// decodeUpload reads the folder that the body holds. Errors wrap adapters.ErrID,
// errInvalid, errUpload, errReadBody or middleware.ErrBodyTooLarge.
func (a *api) decodeUpload(r *http.Request) (adapters.UploadRequest, error) {
	id, err := adapterIDOf(r)
	if err != nil {
		return adapters.UploadRequest{}, err
	}
	q, err := queryOf(r, "activate")
	if err != nil {
		return adapters.UploadRequest{}, err
	}
	activate := q.flag("activate", true)
	if err := q.err(); err != nil {
		return adapters.UploadRequest{}, err
	}
	f := folder{files: map[string][]byte{}, left: a.Limits.UploadBytes, limit: a.Limits.UploadBytes}
	if err := f.read(r); err != nil {
		return adapters.UploadRequest{}, err
	}
	return adapters.UploadRequest{ID: id, Files: f.files, Activate: activate}, f.complete()
}

// folder gathers the files of an upload, bounded in number and bytes.
type folder struct {
	files map[string][]byte
	top   string // the folder that all stand in, or "."
	left  int64  // bytes that it may still grow by
	limit int64
}

func (f *folder) read(r *http.Request) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", middleware.ErrMediaType, err)
	case media == typeZip:
		return f.readZip(r.Body)
	case params["boundary"] == "":
		return fmt.Errorf("%w: the Content-Type has no boundary", errUpload)
	default:
		return f.readForm(r.Body, params["boundary"])
	}
}

// add takes a file under a path of the sender's. Its name decides: nothing is ever
// written to the path.
func (f *folder) add(name string, content io.Reader) error {
	base, err := f.place(name)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(content, f.left+1))
	if err != nil {
		return readError(err, "file %q", name)
	}
	if f.left -= int64(len(data)); f.left < 0 {
		return f.tooLarge()
	}
	f.files[base] = data
	return nil
}

func (f *folder) tooLarge() error {
	return fmt.Errorf("%w: unpacked, its files have more than the %d bytes that are allowed", middleware.ErrBodyTooLarge, f.limit)
}

// place checks a path: a known file, in the root or in one top folder, not seen yet.
func (f *folder) place(name string) (base string, err error) {
	if err := checkUploadPath(name); err != nil {
		return "", err
	}
	top, base := path.Dir(name), path.Base(name)
	_, twice := f.files[base]
	switch {
	case strings.Contains(top, "/"):
		return "", fmt.Errorf("%w: %q lies in a nested folder; the files must stand in the root, or in one top folder", errUpload, name)
	case !isFolderFile(base):
		return "", fmt.Errorf("%w: %q is none of %s", errUpload, name, folderFiles)
	case twice:
		return "", fmt.Errorf("%w: %q is there twice", errUpload, base)
	case len(f.files) > 0 && top != f.top:
		return "", fmt.Errorf("%w: %q stands in another folder than the files before it", errUpload, name)
	}
	f.top = top
	return base, nil
}

// checkUploadPath allows relative paths that stay where they are, on any file system.
func checkUploadPath(name string) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\:\x00") {
		return fmt.Errorf("%w: the path %.100q; a relative path with / and without .. is wanted", errUpload, name)
	}
	return nil
}

func isFolderFile(name string) bool {
	switch name {
	case fileConfig, fileSafetensors, fileBin, fileSidecar, fileReadme:
		return true
	}
	return false
}

// complete tells whether everything is there.
func (f *folder) complete() error {
	_, safe := f.files[fileSafetensors]
	_, bin := f.files[fileBin]
	switch {
	case f.files[fileConfig] == nil:
		return fmt.Errorf("%w: %s is missing", errUpload, fileConfig)
	case !safe && !bin:
		return fmt.Errorf("%w: %s, or %s, is missing", errUpload, fileSafetensors, fileBin)
	case safe && bin:
		return fmt.Errorf("%w: there are both %s and %s; send one of them", errUpload, fileSafetensors, fileBin)
	}
	return nil
}
