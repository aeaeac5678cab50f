package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"

	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/handlers/middleware"
)

// datasetID is what ids look like. Others are not asked for: no data set has them.
var datasetID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// datasetIDOf is the id that the path names. Errors wrap errNoDataset.
func datasetIDOf(r *http.Request) (string, error) {
	id := pathPart(r, chi.URLParam(r, "id"))
	if !datasetID.MatchString(id) {
		return "", fmt.Errorf("%w: %q", errNoDataset, id)
	}
	return id, nil
}

// datasetList answers GET /v1/datasets.
type datasetList struct {
	Datasets []datasetInfo `json:"datasets"`      // the newest first
	Next     string        `json:"next,omitzero"` // "after" of the next page; none of the last one
}

// datasetInfo is a line of the list.
type datasetInfo struct {
	ID      string                `json:"id"`
	Name    string                `json:"name"`
	Format  table.Format          `json:"format"`
	Content string                `json:"content"`
	Bytes   int64                 `json:"bytes"`
	Created time.Time             `json:"created"`
	Rows    int                   `json:"rows"`
	Labels  []datasets.LabelCount `json:"labels"`
}

// datasetDetail answers GET /v1/datasets/{id} and uploads.
type datasetDetail struct {
	datasetInfo
	Mapping datasets.Mapping `json:"mapping"`
	Report  datasets.Report  `json:"report"`
}

func datasetInfoOf(d datasets.Dataset) datasetInfo {
	return datasetInfo{d.ID, d.Name, d.Format, d.Content, d.Bytes, d.Created, d.Report.Rows, d.Report.Labels}
}

func datasetDetailOf(d datasets.Dataset) datasetDetail {
	return datasetDetail{datasetInfoOf(d), d.Mapping, d.Report}
}

// listDatasets answers GET /v1/datasets.
func (a *api) listDatasets(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r, "limit", "after")
	if err != nil {
		a.fail(w, r, err)
		return
	}
	limit := q.limit(defaultPage, maxPage)
	if err := q.err(); err != nil {
		a.fail(w, r, err)
		return
	}
	list, err := a.Datasets.List(r.Context())
	if after := q.values.Get("after"); err == nil && q.values.Has("after") {
		at := slices.IndexFunc(list, func(d datasets.Dataset) bool { return d.ID == after })
		if at < 0 {
			q.fault("after", "invalid", "there is no such data set any more; begin again without it")
			err = q.err()
		}
		list = list[at+1:]
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := datasetList{Datasets: make([]datasetInfo, min(limit, len(list)))}
	for i := range out.Datasets {
		out.Datasets[i] = datasetInfoOf(list[i])
	}
	if len(list) > limit {
		out.Next = list[limit-1].ID
	}
	a.respond(w, r, out)
}

func (a *api) getDataset(w http.ResponseWriter, r *http.Request) {
	id, err := datasetIDOf(r)
	if err == nil {
		_, err = queryOf(r)
	}
	var d datasets.Dataset
	if err == nil {
		d, err = a.dataset(r.Context(), id)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, datasetDetailOf(d))
}

func (a *api) deleteDataset(w http.ResponseWriter, r *http.Request) {
	id, err := datasetIDOf(r)
	if err == nil {
		err = datasetError(a.Datasets.Delete(r.Context(), id), id)
	}
	a.deleted(w, r, err)
}

// uploadDataset answers POST /v1/datasets.
func (a *api) uploadDataset(w http.ResponseWriter, r *http.Request) {
	u, err := openDatasetUpload(r)
	var d datasets.Dataset
	if err == nil {
		d, err = a.Datasets.Put(r.Context(), u.name, u.format, u, u.mapping)
	}
	// What went wrong with the body is the cause of what the reader of rows says of it.
	if cause := u.cause(); cause != nil {
		err = cause
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/v1/datasets/"+d.ID)
	a.write(w, r, http.StatusCreated, typeJSON, datasetDetailOf(d))
}

// bodyError gives errors of reading a body their kind.
func bodyError(err error) error {
	for _, known := range []error{middleware.ErrBodyTooLarge, table.ErrEncoding, errUpload, errReadBody} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errReadBody, err)
}
