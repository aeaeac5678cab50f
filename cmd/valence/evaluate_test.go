package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const labelled = "text,label\n\"I love it, wonderful!\",positive\nGreat and lovely,positive\n\"Awful, a terrible waste of money.\",negative\n" +
	"I hate this,negative\nI hate this,positive\n"

func TestEvaluate(t *testing.T) {
	data := write(t, "data.csv", labelled)
	for name, magic := range map[string]string{"out.png": "\x89PNG", "out.svg": "<?xml"} {
		picture := filepath.Join(t.TempDir(), name)
		status, stdout, stderr := valence(t, "", "evaluate", "--threads", "1", "--data", data, "--json", "--picture", picture)
		if status != 0 {
			t.Fatal(stderr)
		}
		var e evaluation
		if err := json.Unmarshal([]byte(stdout), &e); err != nil {
			t.Fatal(err)
		}
		if e.Rows != 5 || e.Accuracy != 0.8 || e.Confusion[2][0] != 1 || e.RowsPerSecond <= 0 || e.Base != "builtin" {
			t.Errorf("%s", stdout)
		}
		if drawn, err := os.ReadFile(picture); err != nil || !strings.HasPrefix(string(drawn), magic) {
			t.Errorf("%s: %v, %.10q", name, err, drawn)
		}
	}
	status, stdout, _ := valence(t, "", "evaluate", "--threads", "1", "-d", data)
	if status != 0 || !strings.Contains(stdout, "accuracy           0.8000") {
		t.Errorf("status %d\n%s", status, stdout)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	good := write(t, "good.csv", labelled)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{write(t, "a.csv", labelled+"x,mixed\ny,odd\n")}, `line 7: the label "mixed" is not one of ["negative" "neutral" "positive"]`},
		{[]string{write(t, "a.csv", labelled+"x\n")}, "1 of 6 rows cannot be judged"},
		{[]string{write(t, "a.csv", labelled+"\"  \",neutral\n")}, "line 7: engine: the text is empty"},
		{[]string{write(t, "a.csv", "text,label\n")}, "holds no rows"},
		{[]string{write(t, "a.csv", "")}, "the file is empty"},
		{[]string{write(t, "a.csv", "text,klass\nx,positive\n")}, "--label-column"},
		{[]string{write(t, "a.jsonl", `{"text": "x"}`)}, `no key "label"`},
		{[]string{write(t, "a.txt", "x\n")}, "must be CSV, TSV, JSONL or Parquet"},
		{[]string{good, "--use", "nobody"}, "nobody"},
		{[]string{good, "--picture", "a.jpg"}, ".png or .svg"},
		{[]string{"/no/such.csv"}, "/no/such.csv"},
	} {
		status, _, stderr := valence(t, "", append([]string{"evaluate", "--threads", "1", "--data"}, tc.args...)...)
		if status == 0 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %s", tc.args, status, stderr)
		}
	}
}
