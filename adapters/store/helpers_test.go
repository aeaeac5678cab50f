package store_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

const base = "sha256:ba5e"

func digest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// version makes a version to publish whose content follows from its name. The
// configuration is the same for all.
func version(id, name string) store.NewVersion {
	weights := make([]byte, 3000)
	r := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	_, _ = r.Read(weights)
	return store.NewVersion{
		Adapter: id, Digest: digest(name), Base: base, Source: store.SourceUpload, Origin: name, Sites: 3, Parameters: 750,
		Files: map[string][]byte{
			"adapter_config.json":       []byte(`{"peft_type": "IA3"}`),
			"adapter_model.safetensors": weights,
			"valence.json":              []byte(`{"format": 1, "name": "` + name + `"}`),
		},
	}
}

func activated(id, name string) store.NewVersion {
	v := version(id, name)
	v.Activate = true
	return v
}

func publish(t testing.TB, s *store.Store, v store.NewVersion) (store.Adapter, store.Version) {
	t.Helper()
	a, published, err := s.Publish(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return a, published
}

// must is for calls that give a value and an error.
func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func expect(t testing.TB, err, kind error, says ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("%v is not %v", err, kind)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

// each runs a test on one open store of each dialect.
func each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	storetest.Each(t, func(t *testing.T, o store.Options) { test(t, storetest.Open(t, o)) })
}

// sql runs a statement behind the store's back.
func sql(t testing.TB, s *store.Store, statement string, args ...any) {
	t.Helper()
	result, err := s.DB().Exec(statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 && strings.HasPrefix(statement, "UPDATE") {
		t.Fatalf("%s changed nothing", statement)
	}
}

func count(t testing.TB, s *store.Store, table string) (n int) {
	t.Helper()
	if err := s.DB().QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func numbers(a store.Adapter) (out []int) {
	for _, v := range a.Versions {
		out = append(out, v.Number)
	}
	return out
}

// state checks which version is active and which there are.
func state(t testing.TB, a store.Adapter, active int, versions ...int) {
	t.Helper()
	if a.Active != active || !slices.Equal(numbers(a), versions) {
		t.Errorf("version %d of %v is active, want %d of %v", a.Active, numbers(a), active, versions)
	}
}

// kinds lists events as "kind number".
func kinds(events []store.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}
