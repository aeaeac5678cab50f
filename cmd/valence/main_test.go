package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"valence/runtime/builtin"
)

// valence runs the program and gives its exit status and what it wrote.
func valence(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	return status, out.String(), errs.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const fixtures = "../../runtime/mt5/testdata/"

func TestUsageSaysWhatIsAllowed(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"predict", "--dtype", "int4", "x"}, `must be one of "auto","float32","bfloat16","float16","int8"`},
		{[]string{"predict", "--device", "tpu", "x"}, "allowed are auto, cpu, cuda and cuda:N"},
		{[]string{"predict", "--base", "/no/such", "x"}, "there is no such folder"},
		{[]string{"predict", "--threads=-1", "x"}, "allowed are 0"},
		{[]string{"predict", "--max-tokens", "4", "x"}, "allowed are 8 to 8192"},
		{[]string{"predict", "--adapter", "a=/no/such", "x"}, "/no/such"},
		{[]string{"predict", "--adapter", "a..b=" + fixtures + "mt5/adapters/default", "x"}, "mt5"},
		{[]string{"predict", "--input", "/no/such.csv"}, "/no/such.csv"},
		{[]string{"serve", "--listen", "8080"}, "HOST:PORT"},
		{[]string{"serve", "--listen", "0.0.0.0:0"}, "VALENCE_INFER_KEY"},
		{[]string{"serve", "--infer-key", "short"}, "infer key 1 has 5 bytes"},
		{[]string{"serve", "--timeout", "0s"}, "positive"},
		{[]string{"serve", "--threads=-1"}, "allowed are 0"},
		{[]string{"serve", "--cache-bytes=-1"}, "must not be negative"},
		{[]string{"serve", "--data-dir", "/no/such", "--database-url", "postgres://localhost/x"}, "two places for one thing"},
		{[]string{"evaluate", "--data", "x.csv", "--threads=-1"}, "allowed are 0"},
		{[]string{"serve", "--cors-origin", "example.com", "--listen", "127.0.0.1:0"}, "example.com"},
		{[]string{"frobnicate"}, "frobnicate"},
		{[]string{"predict", "--frobnicate"}, "--frobnicate"},
	} {
		status, _, stderr := valence(t, "", tc.args...)
		if status == 0 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %s", tc.args, status, stderr)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("VALENCE_DTYPE", "int4")
	if status, _, stderr := valence(t, "", "predict", "x"); status != exitUsage || !strings.Contains(stderr, "float32") {
		t.Errorf("a bad value: status %d, %s", status, stderr)
	}
	t.Setenv("VALENCE_DTYPE", "float32")
	t.Setenv("VALENCE_LISTENN", "127.0.0.1:0")
	if status, _, stderr := valence(t, "", "predict", "x"); status != exitUsage || !strings.Contains(stderr, "VALENCE_LISTENN is not a setting") {
		t.Errorf("a misspelt name: status %d, %s", status, stderr)
	}
}

func TestHelpTeaches(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"serve", "--help"}} {
		status, stdout, _ := valence(t, "", args...)
		if status != 0 || !strings.Contains(stdout, "Usage: valence") {
			t.Errorf("%q: status %d, %s", args, status, stdout)
		}
	}
	if _, stdout, _ := valence(t, "", "serve", "--help"); !strings.Contains(stdout, "VALENCE_LISTEN") {
		t.Error("serve --help does not name VALENCE_LISTEN")
	}
}

func TestPredictArguments(t *testing.T) {
	status, stdout, stderr := valence(t, "", "predict", "--threads", "1", "I love it, wonderful!", "An awful, terrible waste of money.")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if status != 0 || len(lines) != 2 || !strings.HasPrefix(lines[0], "positive") || !strings.HasPrefix(lines[1], "negative") {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
}

func TestPredictGenerate(t *testing.T) {
	status, stdout, _ := valence(t, "", "predict", "--threads", "1", "--mode", "generate", "I love it, wonderful!")
	if status != 0 || !strings.HasPrefix(stdout, "positive") {
		t.Errorf("status %d, %q", status, stdout)
	}
}

func TestPredictLinesFromStandardInput(t *testing.T) {
	status, stdout, stderr := valence(t, "I love it!\n\nawful\n", "predict", "--threads", "1")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if status != 1 || len(lines) != 3 || !strings.Contains(stderr, "1 of 3 rows failed") {
		t.Fatalf("status %d\n%s%s", status, stdout, stderr)
	}
	var row struct {
		Text, Label, Error string
		Score              float64
		Scores             map[string]float64
	}
	if err := json.Unmarshal([]byte(lines[0]), &row); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, p := range row.Scores {
		sum += p
	}
	if row.Text != "I love it!" || row.Label != "positive" || math.Abs(sum-1) > 1e-6 || row.Score != row.Scores["positive"] {
		t.Errorf("%+v", row)
	}
	if !strings.Contains(lines[1], "the text is empty") {
		t.Errorf("an empty line gives %s", lines[1])
	}
}

func TestPredictCSVKeepsItsColumns(t *testing.T) {
	in := write(t, "in.csv", "\ufeffid,review\n1,\"I love it,\nreally\"\n2,awful\n3,one,two\n")
	out := filepath.Join(t.TempDir(), "out.csv")
	status, _, stderr := valence(t, "", "predict", "--threads", "1", "-i", in, "-o", out, "--text-column", "review")
	if status != 1 || !strings.Contains(stderr, "1 of 3 rows failed") {
		t.Fatalf("status %d, %s", status, stderr)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("%q, %v", rows, err)
	}
	if got := strings.Join(rows[0], " "); got != "id review label score generated error" {
		t.Errorf("header %q", got)
	}
	if rows[1][0] != "1" || rows[1][1] != "I love it,\nreally" || rows[1][2] != "positive" || rows[2][2] != "negative" {
		t.Errorf("%q", rows[1:3])
	}
	if !strings.Contains(rows[3][5], "line 5 has 3 fields; the header has 2") {
		t.Errorf("a row with a field too many: %q", rows[3])
	}
}

func TestPredictJSONL(t *testing.T) {
	in := write(t, "in.jsonl", `{"id": 7, "text": "I love it", "nested": {"a": [1, 2]}}`+"\n"+
		`{"text": 5}`+"\nnot json\n"+`{"text": "fine", "adapter": "nobody"}`+"\n{}\n")
	status, stdout, _ := valence(t, "", "predict", "--threads", "1", "-i", in)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if status != 1 || len(lines) != 5 {
		t.Fatalf("status %d\n%s", status, stdout)
	}
	for i, want := range []string{
		`{"id": 7, "text": "I love it", "nested": {"a": [1, 2]},"label":"positive"`,
		`line 2: \"text\" is not a text`, `line 3: not a JSON object`, `\"nobody\"`, `line 5: the object has no key \"text\"`,
	} {
		if !strings.Contains(lines[i], want) || !json.Valid([]byte(lines[i])) {
			t.Errorf("line %d is %s, without %s", i+1, lines[i], want)
		}
	}
}

// TestPredictKeepsNamesApart: an answer must not hide what the input holds.
func TestPredictKeepsNamesApart(t *testing.T) {
	for name, text := range map[string]string{
		"in.csv":   "text,label\nI love it,negative\n",
		"in.jsonl": `{"text": "I love it", "label": "negative"}` + "\n",
	} {
		in := write(t, name, text)
		status, _, stderr := valence(t, "", "predict", "--threads", "1", "-i", in)
		if status != 1 || !strings.Contains(stderr, `the input has "label" already; --prefix`) {
			t.Errorf("%s: status %d, %s", name, status, stderr)
		}
		status, stdout, stderr := valence(t, "", "predict", "--threads", "1", "-i", in, "--prefix", "predicted_")
		if status != 0 || !strings.Contains(stdout, "negative") || !strings.Contains(stdout, "predicted_label") || !strings.Contains(stdout, "positive") {
			t.Errorf("%s: status %d, %s%s", name, status, stdout, stderr)
		}
	}
}

func TestDoctorCountsParameters(t *testing.T) {
	status, stdout, stderr := valence(t, "", "doctor", "--threads", "1", "--json", "--repeat", "1")
	if status != 0 {
		t.Fatal(stderr)
	}
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Base != "builtin" || r.BaseParameters < 1e6 || len(r.Adapters) != 1+len(builtin.Adapters()) || r.Adapters[0].MedianSeconds <= 0 || r.PeakBytes < r.WeightBytes {
		t.Errorf("%+v", r)
	}
	if status, stdout, _ := valence(t, "", "doctor", "--threads", "1", "--repeat", "1"); status != 0 || !strings.Contains(stdout, "trainable") {
		t.Errorf("status %d\n%s", status, stdout)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1229863936: "1,229,863,936"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
