package adapters

import (
	"errors"
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	name96 := strings.Repeat("x", 96)
	for s, want := range map[string]Ref{
		"base":                     {BaseID, ""},
		"reviews":                  {"reviews", ""},
		"acme/reviews_v1.2-de":     {"acme/reviews_v1.2-de", ""},
		name96 + "/" + name96:      {name96 + "/" + name96, ""},
		"_x_/_y_":                  {"_x_/_y_", ""},
		"reviews@v3":               {"reviews", "v3"},
		"acme/reviews@sha256:0aF9": {"acme/reviews", "sha256:0aF9"},
		"acme/reviews@refs/pr/1":   {"acme/reviews", "refs/pr/1"},
		"reviews@job:01ABC":        {"reviews", "job:01ABC"},
	} {
		got, err := ParseID(s)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
		if got.String() != s {
			t.Errorf("%q is written %q", s, got)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, tt := range []struct{ id, says string }{
		{"", "it is empty"},
		{"@v1", "it is empty"},
		{"a/b/c", `one "/"`},
		{"/a", "nothing stands"},
		{"a/", "nothing stands"},
		{"/", "nothing stands"},
		{"a..b", `".."`},
		{"../etc", `".."`},
		{"a--b", `"--"`},
		{"-a", `"-a" must not begin or end`},
		{"a-", "begin or end"},
		{".a", "begin or end"},
		{"a.", "begin or end"},
		{"acme/-a", "begin or end"},
		{"acme./a", "begin or end"},
		{"a.git", ".git"},
		{strings.Repeat("x", 97), "97 characters; at most 96"},
		{"a b", "' '"},
		{"a\\b", `'\\'`},
		{"naïve", "'ï'"},
		{"a\xff", "'�'"},
		{"a\x00", `'\x00'`},
		{"a%2Fb", "'%'"},
		{"base@v1", "no revisions"},
		{"a@", "no revision follows"},
		{"a@b@c", "'@'"},
		{"a@../x", `".."`},
		{"a@x//y", `"//"`},
		{"a@/x", "begin"},
		{"a@-x", "begin"},
		{"a@x/", "end"},
		{"a@" + strings.Repeat("x", 257), "257 characters"},
		{strings.Repeat("x/", 1<<20), `one "/"`},
	} {
		_, err := ParseID(tt.id)
		if !errors.Is(err, ErrID) || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 600 {
			t.Errorf("%.40q: %v", tt.id, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"base", "acme/reviews@v3", "a@refs/pr/1", "..", "a--b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseID(s)
		if err != nil {
			return
		}
		if ref.String() != s || strings.Contains(s, "..") || strings.ContainsAny(s, "\\\x00 %") {
			t.Errorf("%q is read as %+v", s, ref)
		}
	})
}
