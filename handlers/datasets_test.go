package handlers

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"valence/adapters/datasets"
)

func TestUploadDataset(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	parquet, err := os.ReadFile("../adapters/datasets/table/testdata/plain.parquet")
	if err != nil {
		t.Fatal(err)
	}
	fields := func(parts ...sent) (string, string) { return form(t, parts...) }
	formType, formBody := fields(sent{"label", "", "stars"}, sent{"labels", "", `{"1":"-","5":"+"}`}, sent{"file", "r.tsv", "text\tstars\ngut\t5\nschlecht\t1\n"})
	latinType, latin := fields(sent{"encoding", "", "iso-8859-1"}, sent{"header", "", "false"}, sent{"delimiter", "", "@"}, sent{"quotes", "", "none"},
		sent{"text", "", "1"}, sent{"label", "", "2"}, sent{"file", "Sentences.csv", "d\xe9j\xe0 \"vu@neutral\ntr\xe8s bien@positive\n"})
	tests := []struct {
		name, query, media, body string
		want                     string // name, format, rows, labels
	}{
		{"csv", "", "text/csv", reviews + "more,positive\n", "upload.csv csv 5 [{positive 3} {negative 2}]"},
		{"named", "?name=a.csv", "text/csv; charset=utf-8", reviews, "a.csv csv 4 [{negative 2} {positive 2}]"},
		{"by its name", "?name=a.tsv", "application/octet-stream", "text\tlabel\nx\ty\n", "a.tsv tsv 1 [{y 1}]"},
		{"as curl has it", "?format=jsonl", "application/x-www-form-urlencoded", `{"text":"x","label":"y"}`, "upload.jsonl jsonl 1 [{y 1}]"},
		{"array", "", "application/json", `[{"text":"x","label":1}]`, "upload.jsonl jsonl 1 [{1 1}]"},
		{"ndjson", "?label=l", "application/x-ndjson", `{"text":"x","l":"y"}`, "upload.jsonl jsonl 1 [{y 1}]"},
		{"dropped", "?empty=drop&unmapped=drop&labels=%7B%22positive%22%3A%22%2B%22%7D", "text/csv", reviews + ",positive\n", "upload.csv csv 2 [{+ 2}]"},
		{"charset", "", "text/csv; charset=windows-1252", "text,label\n\x80 5,y\n", "upload.csv csv 1 [{y 1}]"},
		{"form", "", formType, formBody, "r.tsv tsv 2 [{+ 1} {- 1}]"},
		{"form and query", "?name=stars&empty=drop", formType, formBody, "stars tsv 2 [{+ 1} {- 1}]"},
		{"latin-1", "", latinType, latin, "Sentences.csv csv 2 [{neutral 1} {positive 1}]"},
		{"parquet", "?empty=drop", "application/vnd.apache.parquet", string(parquet), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			a := w.do(http.MethodPost, "/v1/datasets"+tt.query, tt.body, "Content-Type", tt.media)
			var got datasetDetail
			w.get(a, 201, &got)
			if s := fmt.Sprintf("%s %s %d %v", got.Name, got.Format, got.Rows, got.Labels); tt.want != "" && s != tt.want {
				t.Error(s)
			}
			if a.Header.Get("Location") != "/v1/datasets/"+got.ID {
				t.Errorf("Location %s", a.Header.Get("Location"))
			}
			if same := w.do(http.MethodGet, "/v1/datasets/"+got.ID, ""); string(same.body) != string(a.body) {
				t.Errorf("%s, not %s", same.body, a.body)
			}
		})
	}
	w.t = t
	var d datasetDetail
	w.get(w.do(http.MethodPost, "/v1/datasets", latin, "Content-Type", latinType), 201, &d)
	for row, err := range w.data.Rows(t.Context(), d.ID) {
		if want := []string{"déjà \"vu", "très bien"}[row.Row-1]; err != nil || row.Text != want {
			t.Errorf("%q, %v", row.Text, err)
		}
	}
}

func TestUploadDatasetRefuses(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	file := sent{"file", "a.csv", reviews}
	formOf := func(parts ...sent) [2]string {
		media, body := form(t, parts...)
		return [2]string{media, body}
	}
	cut := formOf(file)
	cut[1] = cut[1][:len(cut[1])-20]
	csv := func(body string) [2]string { return [2]string{"text/csv", body} }
	tests := []struct {
		name, query string
		sent        [2]string
		status      int
		code, says  string
	}{
		{"no type", "?format=csv", [2]string{"", reviews}, 415, "unsupported_media_type", "Content-Type"},
		{"another type", "", [2]string{"application/pdf", reviews}, 415, "unsupported_media_type", "text/csv"},
		{"no format", "", [2]string{"application/octet-stream", reviews}, 422, codeInvalid, "format is needed"},
		{"another format", "?format=xlsx", csv(reviews), 422, codeInvalid, "format must be one of csv, tsv, jsonl, parquet"},
		{"parameter", "?colour=red", csv(reviews), 422, codeInvalid, "no such parameter"},
		{"policy", "?empty=keep", csv(reviews), 422, codeInvalid, "empty must be one of refuse, drop"},
		{"header", "?header=maybe", csv(reviews), 422, codeInvalid, "header must be true or false"},
		{"labels", "?labels=positive", csv(reviews), 422, codeInvalid, "labels must be a JSON object"},
		{"encoding", "?encoding=klingon", csv(reviews), 422, codeInvalid, `"klingon" is no known encoding`},
		{"encoding of parquet", "?encoding=utf-16&format=parquet", csv(reviews), 422, codeInvalid, "has no meaning with format parquet"},
		{"not in the encoding", "?encoding=shift_jis", csv("text,label\nx,y\n\x81\xff,y\n"), 422, "unsupported_encoding", "line 3"},
		{"latin-1 as utf-8", "", csv("text,label\nx,y\nd\xe9j\xe0,y\n"), 422, "unsupported_encoding", "not UTF-8"},
		{"utf-16 as utf-8", "", csv("\xff\xfet\x00e\x00"), 422, "unsupported_encoding", "UTF-16"},
		{"packed", "", csv("\x1f\x8b\x08\x00abc"), 422, "unsupported_encoding", "gunzip"},
		{"a workbook", "", csv("PK\x03\x04abc"), 422, "unsupported_encoding", "save the sheet"},
		{"empty", "", csv(" "), 422, "invalid_mapping", "text"},
		{"no rows", "", csv("text,label\n"), 422, "invalid_dataset", "no rows"},
		{"broken", "", csv("text,label\na,x\n\"b,y\n"), 422, "invalid_dataset", "line 3"},
		{"fields", "", csv("text,label\na,x\nb\n"), 422, "invalid_dataset", "1 of 2 rows cannot be used"},
		{"empty rows", "", csv("text,label\na,x\n,x\nb,\n"), 422, "invalid_dataset", "2 of 3 rows cannot be used"},
		{"unknown label", "?labels=%7B%22x%22%3A%22y%22%7D", csv("text,label\na,x\nb,z\n"), 422, "invalid_dataset", "1 of 2 rows cannot be used"},
		{"no such column", "?text=review", csv(reviews), 422, "invalid_mapping", `no column "review"`},
		{"which column", "", csv("text,review,label\na,b,c\n"), 422, "invalid_mapping", "could be each of"},
		{"json", "", [2]string{"application/jsonl", `{"text": "a", "label": "b"}` + "\n{"}, 422, "invalid_dataset", "rows cannot be used"},
		{"parquet", "", [2]string{"application/vnd.apache.parquet", "PAR1"}, 422, "invalid_dataset", "too few"},
		{"no boundary", "", [2]string{typeForm, "x"}, 422, "invalid_upload", "boundary"},
		{"no file", "", formOf(sent{"text", "", "a"}), 422, "invalid_upload", `no field "file"`},
		{"another field", "", formOf(sent{"colour", "", "red"}, file), 422, "invalid_upload", `no field "colour"`},
		{"behind the file", "", formOf(file, sent{"text", "", "a"}), 422, "invalid_upload", "the file must come last"},
		{"twice", "?text=a", formOf(sent{"text", "", "a"}, file), 422, codeInvalid, "must be given once"},
		{"cut off", "", cut, 400, "incomplete_body", "could not be read to its end"},
		{"a long field", "", formOf(sent{"labels", "", strings.Repeat("x", maxFieldBytes+1)}, file), 422, "invalid_upload", "more than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			headers := []string{"Content-Type", tt.sent[0]}
			p := w.do(http.MethodPost, "/v1/datasets"+tt.query, tt.sent[1], headers...).problem(t, tt.status, tt.code)
			if !strings.Contains(p.Detail, tt.says) {
				t.Errorf("detail %q", p.Detail)
			}
		})
	}
	if list, err := w.data.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%d data sets, %v", len(list), err)
	}
}

// TestDatasetFaults wants rows named by row, line and column.
func TestDatasetFaults(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	p := w.do(http.MethodPost, "/v1/datasets?name=r.csv", "text,label\na,x\n\"b\nb\",\n,x\nc,x,y\n", "Content-Type", "text/csv").problem(t, 422, "invalid_dataset")
	if p.Detail != `invalid data: r.csv: 3 of 4 rows cannot be used; line 3: column "label": it is empty; say "empty": "drop" to leave such rows out` {
		t.Errorf("detail %q", p.Detail)
	}
	var got []string
	for _, f := range p.Errors {
		got = append(got, fmt.Sprintf("%d %d %s", f.Row, f.Line, f.Column))
	}
	if s := strings.Join(got, ", "); s != "2 3 label, 3 5 text, 4 6 " {
		t.Errorf("%s: %+v", s, p.Errors)
	}
}

// endlessBody is a body that does not end.
type endlessBody struct{ read *int64 }

func (e endlessBody) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "text,label\n"[int(*e.read+int64(i))%11]
	}
	*e.read += int64(len(p))
	return len(p), nil
}

// TestLargeDataset refuses a gigabyte at once where it is announced, and else when it
// passes the limit; neither is read into memory.
func TestLargeDataset(t *testing.T) {
	w := openWorkshop(t, newPacer(1), func(d *Deps) { d.Limits.DatasetBytes = 1 << 16 })
	for name, length := range map[string]int64{"announced": 1 << 30, "not announced": -1} {
		read := int64(0)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/datasets", io.LimitReader(endlessBody{&read}, 1<<30))
		r.ContentLength = length
		r.Header.Set("Content-Type", "text/csv")
		rec := httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w.h.ServeHTTP(rec, r)
		runtime.ReadMemStats(&after)
		if rec.Code != 413 || !strings.Contains(rec.Body.String(), "too_large") {
			t.Errorf("%s: status %d: %s", name, rec.Code, rec.Body)
		}
		if read > 4<<20 || after.TotalAlloc-before.TotalAlloc > 8<<20 {
			t.Errorf("%s: %d bytes were read, %d allocated", name, read, after.TotalAlloc-before.TotalAlloc)
		}
	}
	media, body := form(t, sent{"file", "a.csv", "text,label\n" + strings.Repeat("x,y\n", 1<<15)})
	w.do(http.MethodPost, "/v1/datasets", body, "Content-Type", media).problem(t, 413, "dataset_too_large")
}

func TestDatasetsAreListed(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	var ids []string
	for i := range 3 {
		ids = append([]string{w.upload(fmt.Sprintf("text,label\nx,%d\n", i))}, ids...)
	}
	var page datasetList
	w.get(w.do(http.MethodGet, "/v1/datasets?limit=2", ""), 200, &page)
	if len(page.Datasets) != 2 || page.Datasets[0].ID != ids[0] || page.Next != ids[1] {
		t.Errorf("%+v", page)
	}
	var rest datasetList
	w.get(w.do(http.MethodGet, "/v1/datasets?limit=2&after="+page.Next, ""), 200, &rest)
	if len(rest.Datasets) != 1 || rest.Datasets[0].ID != ids[2] || rest.Next != "" {
		t.Errorf("%+v", rest)
	}
	if a := w.do(http.MethodDelete, "/v1/datasets/"+ids[0], ""); a.StatusCode != 204 {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	for _, id := range []string{ids[0], noDataset("x"), "x", "..", "%00"} {
		w.do(http.MethodGet, "/v1/datasets/"+id, "").problem(t, 404, "dataset_not_found")
		w.do(http.MethodDelete, "/v1/datasets/"+id, "").problem(t, 404, "dataset_not_found")
	}
	w.do(http.MethodGet, "/v1/datasets?after="+ids[0], "").problem(t, 422, codeInvalid)
}

func TestFeedback(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	tell := func(body string) answer { return w.do(http.MethodPost, "/v1/feedback", body, "Content-Type", typeJSON) }
	var first, again datasets.Feedback
	body := `{"text":"not bad","adapter":"acme/reviews","label":"positive","version":"v2","predicted":"negative","source":"page"}`
	w.get(tell(body), 201, &first)
	w.get(tell(body), 201, &again)
	if first.ID != again.ID || first.Adapter != "acme/reviews" || first.Version != "v2" || first.Predicted != "negative" || first.Source != "page" {
		t.Errorf("%+v %+v", first, again)
	}
	w.get(tell(`{"text":"bad","adapter":"base","label":"negative"}`), 201, nil)
	var page feedbackList
	w.get(w.do(http.MethodGet, "/v1/feedback?limit=1", ""), 200, &page)
	if len(page.Feedback) != 1 || page.Feedback[0].ID != first.ID || page.Next != first.Number {
		t.Errorf("%+v", page)
	}
	var rest feedbackList
	w.get(w.do(http.MethodGet, fmt.Sprintf("/v1/feedback?limit=1&after=%d", page.Next), ""), 200, &rest)
	if len(rest.Feedback) != 1 || rest.Next != 0 {
		t.Errorf("%+v", rest)
	}
	w.get(w.do(http.MethodGet, "/v1/feedback?adapter=acme/careful", ""), 200, &rest)
	if len(rest.Feedback) != 0 {
		t.Errorf("%+v", rest)
	}
	if a := w.do(http.MethodDelete, "/v1/feedback/"+first.ID, ""); a.StatusCode != 204 {
		t.Errorf("status %d", a.StatusCode)
	}
	for _, id := range []string{first.ID, "x", ".."} {
		w.do(http.MethodDelete, "/v1/feedback/"+id, "").problem(t, 404, "feedback_not_found")
	}
	for body, want := range map[string]string{
		`{"text":"a","adapter":"base"}`:                                          "422 invalid_request",
		`{"text":" ","adapter":"base","label":"positive"}`:                       "422 invalid_request",
		`{"text":"a\u0000","adapter":"base","label":"positive"}`:                 "422 invalid_request",
		`{"text":"a","adapter":"a@v1","label":"positive"}`:                       "422 invalid_request",
		`{"text":"a","adapter":"base","label":"good"}`:                           "422 unknown_label",
		`{"text":"a","adapter":"nobody","label":"positive"}`:                     "404 adapter_not_found",
		`{"text":"a","adapter":"base","label":"positive","score":1}`:             "422 invalid_request",
		`{"text":"` + strings.Repeat("a", 5000) + `","adapter":"a","label":"b"}`: "413 body_too_large",
	} {
		var status int
		var code string
		if _, err := fmt.Sscan(want, &status, &code); err != nil {
			t.Fatal(err)
		}
		tell(body).problem(t, status, code)
	}
}
