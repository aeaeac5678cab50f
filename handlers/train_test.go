package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/jobs"
)

const trainPath = "/v1/adapters/acme/new/train"

func (w *workshop) postTrain(body string, headers ...string) answer {
	w.t.Helper()
	return w.do(http.MethodPost, trainPath, body, append([]string{"Content-Type", typeJSON}, headers...)...)
}

func TestTrain(t *testing.T) {
	w := openWorkshop(t, newPacer(3), nil)
	set := w.upload(reviews)
	other := w.upload("text,label\nsplendid,positive\npoor,negative\n")
	a := w.postTrain(fmt.Sprintf(`{"data":{"dataset":%q},"validation":{"dataset":%q},"labels":["negative","positive"],"objective":"labels",
		"epochs":5,"batch_size":4,"learning_rate":0.002,"seed":7,"dropout":true,"class_weights":true,"early_stop":2,"warm_start_from":"acme/reviews@v2",
		"sweep":{"seed":[1,2]},"verbalisers":{"negative":"bad"},"template":"Review: {text}","clip_norm":1,"max_tokens":64,"max_label_tokens":4,"abstain_target":0.9,"activate":"if_better","push":{"branch":"next","private":true}}`, set, other))
	var got jobDetail
	w.get(a, http.StatusAccepted, &got)
	if a.Header.Get("Location") != "/v1/jobs/"+got.ID || got.State != jobs.Queued || got.Adapter != "acme/new" {
		t.Errorf("%s: %+v", a.Header.Get("Location"), got)
	}
	want := jobs.Spec{
		Validation: jobs.Validation{Dataset: other}, Labels: []string{"negative", "positive"}, Objective: "labels",
		Epochs: 5, BatchSize: 4, LearningRate: 0.002, Seed: 7, Dropout: true, ClassWeights: true, EarlyStop: 2, WarmStartFrom: "acme/reviews@v2",
		Verbalisers: map[string]string{"negative": "bad"}, ClipNorm: 1, MaxTokens: 64, MaxLabelTokens: 4, AbstainTarget: 0.9,
		Sweep: jobs.Sweep{Seed: []int64{1, 2}}, Activate: jobs.ActivateIfBetter, Push: jobs.Push{Repo: "acme/new", Branch: "next", Private: true},
	}
	job, err := w.manager.Get(t.Context(), got.ID)
	if err != nil || job.Spec.Template == nil || *job.Spec.Template != "Review: {text}" {
		t.Fatalf("%v %+v", err, job.Spec)
	}
	if job.Spec.Template = nil; fmt.Sprintf("%+v", job.Spec) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v\n%+v", job.Spec, want)
	}
	if job.Data.Dataset != set || job.Data.Validation != other || len(job.Data.Blobs) != 2 {
		t.Errorf("%+v", job.Data)
	}
	w.do(http.MethodDelete, "/v1/datasets/"+set, "").problem(t, 409, "dataset_in_use")
	close(w.pacer.free)
	w.reaches(got.ID, jobs.Succeeded)
	w.get(w.do(http.MethodGet, "/v1/jobs/"+got.ID, ""), 200, &got)
	if got.State != jobs.Succeeded || got.Version != "v1" || !got.Activated || len(got.Metrics) != 1 || got.Progress.Step != 3 || got.Plan == nil {
		t.Errorf("%+v", got)
	}
}

// Defaults are the trainer's to choose: what is left out is left out.
func TestTrainLeavesOut(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	job, err := w.manager.Get(t.Context(), w.train())
	if err != nil || fmt.Sprintf("%+v", job.Spec) != fmt.Sprintf("%+v", jobs.Spec{}) {
		t.Errorf("%v %+v", err, job.Spec)
	}
}

func TestTrainData(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	set := w.upload("review,stars\ngood,5\nbad,1\nso so,3\n")
	for _, f := range [][2]string{{"good", "positive"}, {"bad", "negative"}} {
		w.get(w.do(http.MethodPost, "/v1/feedback", fmt.Sprintf(`{"text":%q,"adapter":"base","label":%q}`, f[0], f[1]), "Content-Type", typeJSON), 201, nil)
	}
	tests := []struct {
		name, data string
		rows       string
	}{
		{"a data set", fmt.Sprintf(`{"dataset":%q}`, set), "[{1 good 5} {2 bad 1} {3 so so 3}]"},
		{"another mapping", fmt.Sprintf(`{"dataset":%q,"mapping":{"labels":{"1":"-","5":"+"},"unmapped":"drop"}}`, set), "[{1 good +} {2 bad -}]"},
		{"examples", `{"examples":[{"text":"good","label":"yes"},{"text":"bad","label":0}]}`, "[{1 good yes} {2 bad 0}]"},
		{"examples mapped", `{"examples":[{"text":"good","label":1},{"text":"bad","label":0}],"mapping":{"labels":{"1":"+","0":"-"}}}`, "[{1 good +} {2 bad -}]"},
		{"feedback", `{"feedback":true,"from":"base"}`, "[{1 good positive} {2 bad negative}]"},
	}
	for _, tt := range tests {
		var got jobDetail
		w.get(w.postTrain(`{"data":`+tt.data+`}`), 202, &got)
		var rows []datasets.Row
		for row, err := range w.data.Rows(t.Context(), got.Data.Dataset) {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		if fmt.Sprint(rows) != tt.rows {
			t.Errorf("%s: %v", tt.name, rows)
		}
	}
}

func TestTrainDryRun(t *testing.T) {
	w := openWorkshop(t, newPacer(4), nil)
	set := w.upload(reviews)
	var got planInfo
	w.get(w.postTrain(fmt.Sprintf(`{"data":{"dataset":%q},"validation":{"dataset":%q},"epochs":2,"dry_run":true}`, set, set)), 200, &got)
	if got.Dataset.Rows != 4 || got.Validation.ID != set || !strings.Contains(string(got.Plan), `"epochs":2`) || got.Adapter != "acme/new" {
		t.Errorf("%+v %s", got, got.Plan)
	}
	if list, err := w.manager.List(t.Context(), jobs.Filter{}); err != nil || len(list) != 0 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
}

// TestTrainDryRunKeepsNothing: what a dry run looks at is no data set afterwards, whatever
// it came as.
func TestTrainDryRunKeepsNothing(t *testing.T) {
	w := openWorkshop(t, newPacer(4), nil)
	set := w.upload(reviews)
	w.get(w.do(http.MethodPost, "/v1/feedback", `{"text":"x","adapter":"acme/reviews","label":"positive"}`, "Content-Type", typeJSON), 201, nil)
	for _, data := range []string{
		`{"examples":[{"text":"a","label":"x"},{"text":"b","label":"y"}]}`, `{"feedback":true,"from":"acme/reviews"}`,
		fmt.Sprintf(`{"dataset":%q,"mapping":{"labels":{"positive":"+","negative":"-"}}}`, set),
	} {
		var got planInfo
		w.get(w.postTrain(`{"data":`+data+`,"dry_run":true}`), 200, &got)
		if got.Dataset.ID == set || !strings.Contains(string(got.Plan), got.Dataset.ID) {
			t.Errorf("%s: %+v %s", data, got, got.Plan)
		}
		w.do(http.MethodGet, "/v1/datasets/"+got.Dataset.ID, "").problem(t, 404, "dataset_not_found")
	}
	w.pacer.check = &jobs.InvalidError{Findings: []jobs.Finding{{Code: "one_class", Pointer: "/data", Message: "all rows have one label"}}}
	w.postTrain(`{"data":{"examples":[{"text":"a","label":"x"},{"text":"b","label":"x"}]}}`).problem(t, 422, "invalid_training") // nor of what is refused
	if list, err := w.data.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != set {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestTrainRefuses(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	set := w.upload(reviews)
	data := fmt.Sprintf(`"data":{"dataset":%q}`, set)
	tests := []struct {
		body   string
		code   string
		faults string
	}{
		{`{}`, codeInvalid, "/data required"},
		{`{"data":{}}`, codeInvalid, "/data one_of"},
		{`{"data":{"feedback":false}}`, codeInvalid, "/data one_of"},
		{`{"data":{"feedback":true,"dataset":"x"}}`, codeInvalid, "/data one_of"},
		{`{"data":{"examples":[]}}`, codeInvalid, "/data/examples too_few"},
		{`{"data":{"examples":[{"text":"a"}]}}`, codeInvalid, "/data/examples/0/label required"},
		{`{"data":{"examples":[{"text":"a","label":true}]}}`, codeInvalid, "/data/examples/0/label wrong_type"},
		{`{"data":{"examples":[{"text":"a","label":"x"}],"mapping":{"text":"b"}}}`, codeInvalid, "/data/mapping/text not_allowed"},
		{`{"data":{"examples":[{"text":"a","label":"x"},{"text":" ","label":"x"},{"text":"b","label":""}]}}`, codeInvalid,
			"/data/examples/1/text invalid, /data/examples/2/label invalid"},
		{`{"data":{"examples":[{"text":"a","label":3}],"mapping":{"labels":{"1":"x"}}}}`, codeInvalid, "/data/examples/0/label invalid"},
		{`{"data":{"examples":[{"text":"a","label":"x"}],"from":"base"}}`, codeInvalid, "/data/from not_allowed"},
		{`{"data":{"feedback":true,"from":"a..b"}}`, codeInvalid, "/data/from invalid_adapter_id"},
		{`{"data":{"feedback":true}}`, "invalid_dataset", ""},
		{`{"data":{"dataset":"` + set + `","mapping":{"text":"nowhere"}}}`, "invalid_mapping", ""},
		{`{` + data + `,"epochs":0}`, codeInvalid, "/epochs out_of_range"},
		{`{` + data + `,"epochs":1.5}`, codeInvalid, "/epochs out_of_range"},
		{`{` + data + `,"batch_size":5000}`, codeInvalid, "/batch_size out_of_range"},
		{`{` + data + `,"learning_rate":0}`, codeInvalid, "/learning_rate out_of_range"},
		{`{` + data + `,"learning_rate":11,"seed":-1}`, codeInvalid, "/learning_rate out_of_range, /seed out_of_range"},
		{`{` + data + `,"labels":["a"]}`, codeInvalid, "/labels too_few"},
		{`{` + data + `,"labels":["a","a"]}`, codeInvalid, "/labels duplicate"},
		{`{` + data + `,"objective":"other"}`, codeInvalid, "/objective not_allowed"},
		{`{` + data + `,"activate":"yes"}`, codeInvalid, "/activate not_allowed"},
		{`{` + data + `,"validation":{"split":-0.1}}`, codeInvalid, "/validation/split out_of_range"},
		{`{` + data + `,"validation":{"split":1}}`, codeInvalid, "/validation/split out_of_range"},
		{`{` + data + `,"validation":{"split":0.5,"dataset":"x"}}`, codeInvalid, "/validation one_of"},
		{`{` + data + `,"validation":{"split":0.5},"cross_validation":3}`, codeInvalid, "/validation not_allowed"},
		{`{` + data + `,"cross_validation":1}`, codeInvalid, "/cross_validation out_of_range"},
		{`{` + data + `,"learning_rate":0.1,"sweep":{"learning_rate":[0.1,0.2]}}`, codeInvalid, "/learning_rate not_allowed"},
		{`{` + data + `,"sweep":{"learning_rate":[0.1,-1]}}`, codeInvalid, "/sweep/learning_rate/1 out_of_range"},
		{`{` + data + `,"sweep":{"seed":[1,2,3,4,5,6,7,8,9]},"cross_validation":10}`, codeInvalid, "/sweep too_many"},
		{`{` + data + `,"warm_start_from":"../x"}`, codeInvalid, "/warm_start_from invalid_adapter_id"},
		{`{` + data + `,"push":{"repo":"a@b"}}`, codeInvalid, "/push/repo invalid_adapter_id"},
		{`{` + data + `,"learningrate":1}`, codeInvalid, "/learningrate unknown_field"},
	}
	for _, tt := range tests {
		if p := w.postTrain(tt.body).problem(t, 422, tt.code); p.faults() != tt.faults {
			t.Errorf("%s: %s: %s", tt.body, p.faults(), p.Detail)
		}
	}
	for _, body := range []string{
		fmt.Sprintf(`{"data":{"dataset":%q}}`, noDataset("x")), `{"data":{"dataset":"reviews.csv"}}`,
		fmt.Sprintf(`{%s,"validation":{"dataset":%q}}`, data, noDataset("x")),
	} {
		w.postTrain(body).problem(t, 404, "dataset_not_found")
	}
	w.postTrain("").problem(t, 400, "empty_body")
	w.postTrain(`{"data":`).problem(t, 400, "invalid_json")
	w.postTrain(`{"data":{"examples":[{"text":"`+strings.Repeat("a", 5000)+`","label":"x"}]}}`).problem(t, 413, "body_too_large")
	w.do(http.MethodPost, trainPath, `{}`, "Content-Type", "text/csv").problem(t, 415, "unsupported_media_type")
	w.do(http.MethodPost, "/v1/adapters/base/train", `{`+data+`}`, "Content-Type", typeJSON).problem(t, 409, "adapter_fixed")
	w.do(http.MethodPost, "/v1/adapters/acme/new@v1/train", `{`+data+`}`, "Content-Type", typeJSON).problem(t, 422, "invalid_adapter_id")
	if list, err := w.manager.List(t.Context(), jobs.Filter{}); err != nil || len(list) != 0 || w.pacer.checks != 0 {
		t.Errorf("%d jobs, %v, %d checks", len(list), err, w.pacer.checks)
	}
}

// What the trainer finds is told with the place in the request, or the row.
func TestTrainFindings(t *testing.T) {
	p := newPacer(1)
	p.check = &jobs.InvalidError{Findings: []jobs.Finding{
		{Code: "one_class", Pointer: "/data", Message: "all rows have one label"}, {Code: "unknown_label", Row: 7, Message: "a row's label is \"x\""},
	}}
	w := openWorkshop(t, p, nil)
	for _, dry := range []bool{true, false} {
		got := w.postTrain(fmt.Sprintf(`{"data":{"dataset":%q},"dry_run":%v}`, w.upload("text,label\na,x\nb,x\n"), dry)).problem(t, 422, "invalid_training")
		if got.faults() != "/data one_class,  unknown_label" || got.Errors[1].Row != 7 {
			t.Errorf("%+v", got)
		}
	}
}

func TestTrainExamples(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	w.get(w.do(http.MethodPost, "/v1/feedback", `{"text":"x","adapter":"acme/reviews","label":"positive"}`, "Content-Type", typeJSON), 201, nil)
	set := w.upload(reviews)
	for name, ex := range document(t).doc.Paths.Value("/v1/adapters/{id}/train").Post.RequestBody.Value.Content[typeJSON].Examples {
		body, err := json.Marshal(ex.Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(body), "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", set)
		if a := w.do(http.MethodPost, "/v1/adapters/acme/reviews/train", text, "Content-Type", typeJSON); a.StatusCode >= 300 {
			t.Errorf("%s: status %d: %s", name, a.StatusCode, a.body)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	set := w.upload(reviews)
	body := fmt.Sprintf(`{"data":{"dataset":%q},"epochs":2}`, set)
	first := w.postTrain(body, headerIdempotencyKey, "k1")
	w.get(first, 202, nil)
	close(w.pacer.free)
	var job jobDetail
	w.get(first, 202, &job)
	w.reaches(job.ID, jobs.Succeeded)
	if err := w.data.Delete(t.Context(), set); err != nil { // the answer does not depend on what has become of the data
		t.Fatal(err)
	}
	again := w.postTrain(fmt.Sprintf("{ \"epochs\": 2,\n \"data\": {\"dataset\": %q} }", set), headerIdempotencyKey, "k1")
	if again.StatusCode != 202 || string(again.body) != string(first.body) || again.Header.Get("Location") != first.Header.Get("Location") {
		t.Errorf("status %d: %s, not %s", again.StatusCode, again.body, first.body)
	}
	p := w.postTrain(strings.Replace(body, "2}", "3}", 1), headerIdempotencyKey, "k1").problem(t, 422, "idempotency_key_reused")
	if !strings.Contains(p.Detail, job.ID) {
		t.Errorf("detail %q", p.Detail)
	}
	w.do(http.MethodPost, "/v1/adapters/acme/other/train", body, "Content-Type", typeJSON, headerIdempotencyKey, "k1").problem(t, 422, "idempotency_key_reused")
	for _, key := range []string{"a b", "ü", strings.Repeat("k", 256)} {
		p := w.postTrain(body, headerIdempotencyKey, key).problem(t, 422, codeInvalid)
		if p.Errors[0].Parameter != headerIdempotencyKey {
			t.Errorf("%+v", p)
		}
	}
	if list, err := w.manager.List(t.Context(), jobs.Filter{}); err != nil || len(list) != 1 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
}

// Feedback that comes later does not make another request of the same body.
func TestIdempotencyKeyOfFeedback(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	tell := func(text, label string) {
		w.get(w.do(http.MethodPost, "/v1/feedback", fmt.Sprintf(`{"text":%q,"adapter":"base","label":%q}`, text, label), "Content-Type", typeJSON), 201, nil)
	}
	tell("good", "positive")
	tell("bad", "negative")
	body := `{"data":{"feedback":true,"from":"base"}}`
	first := w.postTrain(body, headerIdempotencyKey, "k")
	tell("more", "neutral")
	if again := w.postTrain(body, headerIdempotencyKey, "k"); again.StatusCode != 202 || string(again.body) != string(first.body) {
		t.Errorf("status %d: %s", again.StatusCode, again.body)
	}
}

// Of many requests at once one makes the job; the others get it or are told to wait.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	body := fmt.Sprintf(`{"data":{"dataset":%q}}`, w.upload(reviews))
	var mu sync.Mutex
	bodies, codes := map[string]int{}, map[int]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a := w.postTrain(body, headerIdempotencyKey, "k")
			mu.Lock()
			defer mu.Unlock()
			codes[a.StatusCode]++
			if a.StatusCode == 202 {
				bodies[string(a.body)]++
			}
		})
	}
	wg.Wait()
	if len(bodies) != 1 || codes[202] < 1 || codes[202]+codes[409] != 8 {
		t.Errorf("%v %d bodies", codes, len(bodies))
	}
}

func TestTrainKinds(t *testing.T) {
	for err, want := range map[error]string{
		jobs.ErrInProgress: "409 request_in_progress", jobs.ErrKeyReused: "422 idempotency_key_reused", jobs.ErrClosed: "503 draining",
		jobs.ErrInvalidJob: "422 invalid_training", adapters.ErrNotFound: "404 adapter_not_found", errors.New("secret"): "500 internal",
	} {
		p := newPacer(1)
		p.check = fmt.Errorf("jobs: acme: %w", err)
		w := openWorkshop(t, p, nil)
		var status int
		var code string
		if _, err := fmt.Sscan(want, &status, &code); err != nil {
			t.Fatal(err)
		}
		w.postTrain(fmt.Sprintf(`{"data":{"dataset":%q}}`, w.upload(reviews))).problem(t, status, code)
	}
}
