package handlers

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
)

// apiContract is openapi.yaml, read and ready to be asked.
type apiContract struct {
	doc    *openapi3.T
	router routers.Router
}

var loadContract = sync.OnceValues(func() (*apiContract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(contract)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	for _, media := range []string{typeEvents, "application/x-www-form-urlencoded", "application/jsonl", "application/x-ndjson", "application/x-jsonlines", "application/vnd.apache.parquet", "text/csv", "text/tab-separated-values"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.FileBodyDecoder)
	}
	router, err := legacy.NewRouter(doc)
	return &apiContract{doc, router}, err
})

func document(t testing.TB) *apiContract {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkContract holds an exchange against openapi.yaml. A request that was
// answered well must be one that the contract allows, one that was refused as
// invalid must be one that it does not, and every answer must be listed there.
func checkContract(t testing.TB, r *http.Request, body []byte, status int, header http.Header, answer []byte) {
	t.Helper()
	c := document(t)
	asked := asContract(r, body)
	route, params, err := c.router.FindRoute(asked)
	if err != nil || strings.HasSuffix(asked.URL.Path, "/") { // the library's router ignores a "/" at the end
		c.checkUnrouted(t, status, answer)
		return
	}
	for name, value := range params { // the library leaves them escaped
		if params[name], err = url.PathUnescape(value); err != nil {
			t.Fatal(err)
		}
	}
	in := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc, // TestKeys holds the keys
		IncludeResponseStatus: true, ExcludeResponseBody: r.Method == http.MethodHead,
	}}
	checkRequest(t, in, status, answer)
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: status, Header: header, Body: io.NopCloser(bytes.NewReader(answer)), Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s %s: the answer breaks the contract: %v", r.Method, r.URL, err)
	}
}

// adapterCalls are the calls below an adapter.
var adapterCalls = regexp.MustCompile(`^(/v1/adapters/)(.+?)(/(?:anatomy|diff|pull|push|activate|rollback|pin|unpin|train))?$`)

// asContract spells a request as the contract lists it: HEAD as GET, a plain "/"
// in an id as "%2F", a body as JSON unless it is an upload, a stream's headers.
func asContract(r *http.Request, body []byte) *http.Request {
	method, path := r.Method, r.URL.EscapedPath()
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if m := adapterCalls.FindStringSubmatch(path); m != nil {
		path = m[1] + strings.Replace(m[2], "/", "%2F", 1) + m[3]
	}
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	out := httptest.NewRequest(method, path, bytes.NewReader(body))
	if len(body) > 0 {
		out.Header.Set("Content-Type", typeJSON)
	}
	if method == http.MethodPut || path == "/v1/datasets" || strings.HasPrefix(path, "/v1/datasets?") {
		out.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	}
	for _, name := range []string{headerIdempotencyKey, headerLastEventID} {
		if v := r.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	return out
}

func checkRequest(t testing.TB, in *openapi3filter.RequestValidationInput, status int, answer []byte) {
	t.Helper()
	err := openapi3filter.ValidateRequest(t.Context(), in)
	if status < 300 && err != nil {
		t.Errorf("answered a request that the contract forbids: %v", err)
	}
	var p problem
	if err != nil || status != http.StatusUnprocessableEntity || json.Unmarshal(answer, &p) != nil || p.Code != codeInvalid {
		return
	}
	for _, f := range p.Errors {
		switch {
		case f.Code == "too_many": // a limit that the contract leaves to the configuration
		case f.Code == codeWeights, f.Code == codeID: // a schema cannot say it
		case f.Parameter != "" && (f.Code == "unknown_field" || f.Code == "duplicate"), f.Code == "invalid": // the library does not look
		default:
			t.Errorf("refused a request that the contract allows: %s", answer)
		}
	}
}

// checkUnrouted wants a problem for a path or method that the contract lacks.
func (c *apiContract) checkUnrouted(t testing.TB, status int, answer []byte) {
	t.Helper()
	if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
		t.Errorf("status %d on a route that the contract lacks", status)
	}
	if len(answer) == 0 { // HEAD
		return
	}
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Errorf("not a problem: %v", err)
		return
	}
	if err := c.doc.Components.Schemas["Problem"].Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("not a problem of the contract: %v", err)
	}
}

func TestContractCopy(t *testing.T) {
	top, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(top, contract) {
		t.Error("handlers/openapi.gen.yaml differs from openapi.yaml: run go generate ./handlers")
	}
}

// TestRoutesMatchContract walks the router against the contract, both ways.
func TestRoutesMatchContract(t *testing.T) {
	router, err := newRouter(Deps{
		Engine: fakeEngine{}, Adapters: fakeAdapters{}, Jobs: fakeJobs{}, Datasets: fakeDatasets{}, Base: testBase(), Ready: new(Gate), Limits: DefaultLimits(),
		Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	err = chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+strings.Replace(route, "{owner}/{name}", "{id}", 1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(served)
	served = slices.Compact(served) // a route by id exists for either spelling
	var listed []string
	doc := document(t).doc
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			listed = append(listed, method+" "+path)
		}
	}
	slices.Sort(listed)
	if !slices.Equal(served, listed) {
		t.Errorf("served:\n%s\nin openapi.yaml:\n%s", strings.Join(served, "\n"), strings.Join(listed, "\n"))
	}
}

// TestCodesMatchContract holds the table of errors against the codes listed.
func TestCodesMatchContract(t *testing.T) {
	codes := []string{codeInternal, codeNoAnswer}
	for _, k := range kinds() {
		codes = append(codes, k.code)
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	doc := document(t).doc
	var listed []string
	for _, v := range doc.Components.Schemas["Code"].Value.Enum {
		listed = append(listed, v.(string))
	}
	if !slices.Equal(codes, listed) {
		t.Errorf("errors.go has\n%v\nopenapi.yaml has\n%v", codes, listed)
	}
}

// TestContractExamples sends the requests that the contract shows.
func TestContractExamples(t *testing.T) {
	doc := document(t).doc
	examples := doc.Paths.Value("/v1/sentiment").Post.RequestBody.Value.Content[typeJSON].Examples
	if len(examples) == 0 {
		t.Fatal("there are none")
	}
	s := serve(t, func(d *Deps) {
		shelf := newShelf()
		shelf.entries = append(shelf.entries, entry("acme/finance"))
		shelf.entries[3].Version = "v3"
		d.Adapters = shelf.fake()
	})
	for name, ex := range examples {
		body, err := json.Marshal(ex.Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		if a := s.post(string(body)); a.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d: %s", name, a.StatusCode, a.body)
		}
	}
}

func TestServeContract(t *testing.T) {
	s := serve(t, nil)
	a := s.do(http.MethodGet, "/openapi.yaml", "")
	if a.StatusCode != http.StatusOK || !bytes.Equal(a.body, contract) || a.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("status %d, type %q, %d bytes", a.StatusCode, a.Header.Get("Content-Type"), len(a.body))
	}
	again := s.do(http.MethodGet, "/openapi.yaml", "", "If-None-Match", a.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("status %d for the same ETag", again.StatusCode)
	}
}
