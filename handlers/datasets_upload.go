package handlers

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/handlers/middleware"
)

// fieldFile is the field of a form that holds the file.
const fieldFile = "file"

// uploadFields are the parameters of an upload: of the URL's query, or fields of a form
// before its file.
func uploadFields() []string {
	return []string{"name", "format", "encoding", "text", "label", "labels", "unmapped", "empty", "header", "delimiter", "quotes"}
}

// mediaFormats are the types that a body can have that is the file itself; "" goes by the
// parameters.
func mediaFormats() map[string]table.Format {
	return map[string]table.Format{
		"text/csv": table.CSV, "text/tab-separated-values": table.TSV,
		"application/jsonl": table.JSONL, "application/x-ndjson": table.JSONL, "application/x-jsonlines": table.JSONL, middleware.JSON: table.JSONL,
		"application/vnd.apache.parquet": table.Parquet,
		"application/octet-stream":       "", "application/x-www-form-urlencoded": "", // what curl says of any file
	}
}

// maxFieldBytes bounds a field of a form.
const maxFieldBytes = 64 << 10

// datasetUpload is a file on its way. Reading it reads the body.
type datasetUpload struct {
	name    string
	format  table.Format
	mapping datasets.Mapping

	file     io.Reader // in UTF-8
	form     *multipart.Reader
	boundary string
	tail     *tail
	err      error // the first of the body, or nil
}

// openDatasetUpload reads all of an upload but its file. Errors wrap errInvalid,
// errUpload, errReadBody or middleware.ErrMediaType.
func openDatasetUpload(r *http.Request) (*datasetUpload, error) {
	u := &datasetUpload{}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return u, fmt.Errorf("%w: Content-Type %q: %w", middleware.ErrMediaType, r.Header.Get("Content-Type"), err)
	}
	q, err := queryOf(r, uploadFields()...)
	if err != nil {
		return u, err
	}
	if media == typeForm {
		u.boundary = params["boundary"]
		return u, u.openForm(r.Body, q)
	}
	format, known := mediaFormats()[media]
	if !known {
		return u, fmt.Errorf("%w: Content-Type %q; send a form with a field %q, or the file as text/csv, text/tab-separated-values, application/jsonl or application/vnd.apache.parquet",
			middleware.ErrMediaType, media, fieldFile)
	}
	return u, u.open(r.Body, q, "", format, params["charset"])
}

// open takes a file with what is said about it: by its own name and type, and by the
// parameters, which count more.
func (u *datasetUpload) open(file io.Reader, q *query, name string, format table.Format, charset string) error {
	u.name = q.values.Get("name")
	u.format = q.format(format)
	if u.format == "" && len(q.faults) == 0 {
		u.format = q.formatOf(u.name, name)
	}
	u.name = cmp.Or(u.name, name, "upload."+string(u.format))
	u.mapping = q.mapping()
	encoding := cmp.Or(q.values.Get("encoding"), charset)
	text, err := decodeText(&bodyReader{file, u}, encoding)
	switch {
	case err != nil:
		q.fault("encoding", "invalid", "%v", err)
	case u.format == table.Parquet && q.values.Has("encoding"):
		q.fault("encoding", "invalid", "has no meaning with format parquet")
	case u.format == table.Parquet:
		text = &bodyReader{file, u}
	}
	u.file = &bodyReader{text, u}
	return q.err()
}

// format is one that is named, or else what the type says.
func (q *query) format(media table.Format) table.Format {
	if !q.values.Has("format") {
		return media
	}
	f, err := table.ParseFormat(q.values.Get("format"))
	if err != nil {
		q.fault("format", "not_allowed", "must be one of csv, tsv, jsonl, parquet")
	}
	return f
}

// formatOf goes by the first name that tells it.
func (q *query) formatOf(names ...string) table.Format {
	for _, name := range names {
		if f, err := table.FormatOf(name); err == nil {
			return f
		}
	}
	q.fault("format", "invalid", "is needed: csv, tsv, jsonl or parquet, unless the Content-Type or the end of a name says it")
	return ""
}

// mapping is what the parameters say.
func (q *query) mapping() datasets.Mapping {
	m := datasets.Mapping{
		Text: q.values.Get("text"), Label: q.values.Get("label"),
		Unmapped: datasets.Policy(q.oneOf("unmapped", "refuse", "drop")), Empty: datasets.Policy(q.oneOf("empty", "refuse", "drop")),
		Delimiter: q.values.Get("delimiter"), Quotes: table.Quotes(q.oneOf("quotes", "rfc4180", "loose", "none")),
	}
	if q.values.Has("header") {
		header := q.flag("header", true)
		m.Header = &header
	}
	if q.values.Has("labels") {
		if err := json.Unmarshal([]byte(q.values.Get("labels")), &m.Labels); err != nil || len(m.Labels) == 0 {
			q.fault("labels", "invalid", `must be a JSON object from values to labels, such as {"0": "negative", "1": "positive"}`)
		}
	}
	return m
}

// oneOf is one of some values, or "" where it is absent.
func (q *query) oneOf(name string, allowed ...string) string {
	v := q.values.Get(name)
	if q.values.Has(name) && !slices.Contains(allowed, v) {
		q.fault(name, "not_allowed", "must be one of %s", strings.Join(allowed, ", "))
	}
	return v
}

// openForm reads the fields before the file. Those of the form and of the URL count
// alike.
func (u *datasetUpload) openForm(body io.Reader, q *query) error {
	if u.boundary == "" {
		return fmt.Errorf("%w: the Content-Type has no boundary", errUpload)
	}
	u.tail = &tail{Reader: body}
	u.form = multipart.NewReader(u.tail, u.boundary)
	for n := 1; ; n++ {
		part, err := u.next(n)
		switch {
		case err != nil:
			return err
		case part == nil:
			return fmt.Errorf("%w: the form has no field %q", errUpload, fieldFile)
		case part.FormName() == fieldFile:
			_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
			return u.open(part, q, part.FileName(), "", params["charset"])
		}
		if err := q.take(part); err != nil {
			return err
		}
	}
}

// next is the next part of the form, or nil.
func (u *datasetUpload) next(n int) (*multipart.Part, error) {
	part, err := u.form.NextPart()
	switch {
	case err != nil && u.tail.cutBefore("--"+u.boundary+"--"):
		return nil, readError(io.ErrUnexpectedEOF, "part %d of the form", n)
	case err == io.EOF:
		return nil, nil
	case err != nil:
		return nil, readError(err, "part %d of the form", n)
	}
	return part, nil
}

// take adds a field of a form to the parameters.
func (q *query) take(part *multipart.Part) error {
	name := part.FormName()
	if !slices.Contains(uploadFields(), name) {
		return fmt.Errorf("%w: there is no field %.100q; allowed are %s and, behind them, %s", errUpload, name, strings.Join(uploadFields(), ", "), fieldFile)
	}
	value, err := io.ReadAll(io.LimitReader(part, maxFieldBytes+1))
	switch {
	case err != nil:
		return readError(err, "field %q", name)
	case len(value) > maxFieldBytes:
		return fmt.Errorf("%w: field %q has more than %d bytes", errUpload, name, maxFieldBytes)
	case q.values.Has(name):
		q.fault(name, "duplicate", "must be given once")
	}
	if q.values == nil {
		q.values = url.Values{}
	}
	q.values.Set(name, string(value))
	return nil
}

// Read reads the file. At its end it looks behind it, so that nothing is kept of an
// upload that is wrong there.
func (u *datasetUpload) Read(p []byte) (int, error) {
	n, err := u.file.Read(p)
	if errors.Is(err, io.EOF) {
		if wrong := u.finish(); wrong != nil {
			u.err, err = wrong, wrong
		}
	}
	return n, err
}

// finish looks behind the file: nothing may stand there.
func (u *datasetUpload) finish() error {
	if u.form == nil {
		return nil
	}
	part, err := u.next(2)
	if err == nil && part != nil {
		err = fmt.Errorf("%w: field %.100q stands behind the file; the file must come last", errUpload, part.FormName())
	}
	return err
}

// cause is the first error of the body, or nil.
func (u *datasetUpload) cause() error {
	if u == nil || u.err == nil {
		return nil
	}
	return bodyError(u.err)
}

// bodyReader remembers the first error but the end.
type bodyReader struct {
	io.Reader
	u *datasetUpload
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.u.err == nil {
		b.u.err = err
	}
	return n, err
}
