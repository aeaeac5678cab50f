package tokenizer

import "testing"

// pythonReplace is bytes.decode("utf-8", "replace") by way of the package's own repairer, which TestRepair checks.
func pythonReplace(s string) string {
	var r repairer
	return r.run(s)
}

// The wanted texts are what Python 3.11 gives.
func TestRepair(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"plain é 日 😀", "plain é 日 😀"},
		{"\xff", "\ufffd"},
		{"\xff\xff", "\ufffd\ufffd"},
		{"\x80a", "\ufffda"},
		{"\xc3", "\ufffd"},
		{"\xc0\x80", "\ufffd\ufffd"},
		{"\xe2\x82", "\ufffd"},
		{"\xe2\x82x", "\ufffdx"},
		{"\xe0\x80\x80", "\ufffd\ufffd\ufffd"},
		{"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
		{"\xf0\x9f\x98", "\ufffd"},
		{"\xf0\x9f\x98\xf0\x9f\x98\x80", "\ufffd😀"},
		{"\xf0\x80\x80\x80", "\ufffd\ufffd\ufffd\ufffd"},
		{"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"},
		{"\xf5\x80", "\ufffd\ufffd"},
		{"\ufffd", "\ufffd"},
	} {
		var r repairer
		if got := r.run(c.in); got != c.want {
			t.Errorf("repair of %q = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestRestore(t *testing.T) {
	var r repairer
	r.run("a\xffb\xe2\x82c") // a U+FFFD b U+FFFD c: characters begin at bytes 0 1 4 5 8
	spans := []Span{{0, 1}, {1, 4}, {4, 5}, {5, 8}, {8, 9}, {0, 9}}
	r.restore(spans)
	for i, want := range []Span{{0, 1}, {1, 2}, {2, 3}, {3, 5}, {5, 6}, {0, 6}} {
		if spans[i] != want {
			t.Errorf("span %d = %v, want %v", i, spans[i], want)
		}
	}
}
