package adapters

import (
	"context"
	"errors"
	"strings"
	"testing"
)

const digest = "sha256:0123456789abcdef"

func registry(t *testing.T) *Static {
	t.Helper()
	s, err := NewStatic(
		&Entry{ID: BaseID, Version: "v1", Digest: "sha256:ffff"},
		&Entry{ID: "zoo", Version: "v1", Digest: "sha256:eeee"},
		&Entry{ID: "acme/reviews", Version: "v3", Digest: digest},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStaticLookup(t *testing.T) {
	s := registry(t)
	for ref, want := range map[string]string{
		"":                            BaseID,
		"base":                        BaseID,
		"zoo":                         "zoo",
		"acme/reviews":                "acme/reviews",
		"acme/reviews@v3":             "acme/reviews",
		"acme/reviews@012345":         "acme/reviews",
		"acme/reviews@sha256:0123456": "acme/reviews",
		"acme/reviews@" + digest:      "acme/reviews",
	} {
		got, err := s.Lookup(context.Background(), ref)
		if err != nil || got.ID != want {
			t.Errorf("%q: %+v, %v", ref, got, err)
		}
	}
}

func TestStaticLookupRefuses(t *testing.T) {
	s := registry(t)
	for _, tt := range []struct {
		ref  string
		err  error
		says string
	}{
		{"nobody", ErrNotFound, `"nobody"`},
		{"Base", ErrNotFound, `"Base"`},
		{"acme/reviews@v2", ErrNotFound, `"acme/reviews" has no revision "v2"`},
		{"acme/reviews@01234", ErrNotFound, "01234"}, // too short to name a digest
		{"acme/reviews@0123456789abcdef0", ErrNotFound, "0123456789abcdef0"},
		{"a b", ErrID, `"a b"`},
	} {
		got, err := s.Lookup(context.Background(), tt.ref)
		if got != nil || !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %+v, %v", tt.ref, got, err)
		}
	}
}

func TestStaticList(t *testing.T) {
	s := registry(t)
	var ids []string
	list := s.List()
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	if got := strings.Join(ids, " "); got != "base acme/reviews zoo" {
		t.Errorf("got %s", got)
	}
	list[0] = nil
	if s.List()[0] == nil {
		t.Error("the registry's own list was handed out")
	}
}

func TestNewStaticRefuses(t *testing.T) {
	base := &Entry{ID: BaseID}
	for _, tt := range []struct {
		name   string
		base   *Entry
		others []*Entry
		says   string
	}{
		{"base by another name", &Entry{ID: "zoo"}, nil, `"base"`},
		{"second base", base, []*Entry{{ID: BaseID}}, "two entries"},
		{"same id", base, []*Entry{{ID: "zoo"}, {ID: "zoo"}}, `"zoo": two entries`},
		{"bad id", base, []*Entry{{ID: "../zoo"}}, `"../zoo"`},
		{"id with a revision", base, []*Entry{{ID: "zoo@v1"}}, "no revision"},
	} {
		_, err := NewStatic(tt.base, tt.others...)
		if !errors.Is(err, ErrID) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
