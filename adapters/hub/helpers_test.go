package hub

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/hub/hubtest"
)

// Tokens of the test hub.
const (
	alice = "hf_alice" // owns every repository of the tests
	bob   = "hf_bob"
)

var reviews = adapters.Ref{ID: "alice/reviews"}

// adapter is what check_hub.py uploads, too: layout.json has its hashes.
func adapter() map[string][]byte {
	weights := make([]byte, 2048)
	for i := range weights {
		weights[i] = byte(i)
	}
	return map[string][]byte{
		"adapter_config.json":       []byte("{\"peft_type\": \"IA3\"}\n"),
		"adapter_model.safetensors": weights,
		"README.md":                 []byte("---\nlibrary_name: peft\n---\n# Reviews\n"),
	}
}

// start makes a hub with the repository alice/reviews and gives its commit.
func start(t *testing.T) (*hubtest.Server, string) {
	t.Helper()
	server, err := hubtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	server.AddToken(alice, "alice")
	server.AddToken(bob, "bob")
	server.Create(reviews.ID, hubtest.Repo{})
	return server, server.Commit(reviews.ID, "main", "add an adapter", adapter())
}

// testClient is a Client that notes its waits in place of waiting.
type testClient struct {
	*Client
	waits []time.Duration
}

func newClient(t *testing.T, server *hubtest.Server, change func(*Options)) *testClient {
	t.Helper()
	o := Options{CacheDir: t.TempDir(), Retries: 2, StallTimeout: 5 * time.Second}
	if server != nil {
		o.Endpoint = server.URL
	}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	tc := &testClient{Client: c}
	c.sleep = func(ctx context.Context, d time.Duration) error {
		tc.waits = append(tc.waits, d)
		return ctx.Err()
	}
	return tc
}

// offline is a client of the same cache without a network.
func (c *testClient) offline(t *testing.T) *testClient {
	return newClient(t, nil, func(o *Options) { o.CacheDir, o.Offline = c.o.CacheDir, true })
}

func (c *testClient) pull(t *testing.T, token string) (*Snapshot, error) {
	t.Helper()
	return c.Snapshot(t.Context(), reviews, AdapterFiles(), token)
}

// mustPull pulls alice/reviews and compares the files with what the hub has.
func (c *testClient) mustPull(t *testing.T, token string) *Snapshot {
	t.Helper()
	s, err := c.pull(t, token)
	if err != nil {
		t.Fatal(err)
	}
	want := adapter()
	if len(s.Files) != len(want) {
		t.Errorf("the snapshot has %v", s.Files)
	}
	for name, data := range want {
		got, err := os.ReadFile(filepath.Join(s.Dir(), name))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	return s
}

// expect checks an error's kind and words, and that it does not tell a token or a
// signed address.
func expect(t *testing.T, err, kind error, says ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("%v is not %v", err, kind)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
	if strings.Contains(err.Error(), "hf_") || strings.Contains(err.Error(), "Signature") {
		t.Errorf("%q tells a secret", err)
	}
}

// count is how many requests have a method and hold something in their path.
func count(seen []hubtest.Seen, method, path string) int {
	return len(slices.DeleteFunc(slices.Clone(seen), func(s hubtest.Seen) bool {
		return s.Method != method || !strings.Contains(s.Path, path)
	}))
}

// noLeak checks that the storage was asked, and saw no token.
func noLeak(t *testing.T, seen []hubtest.Seen) {
	t.Helper()
	asked := false
	for _, s := range seen {
		asked = asked || s.Host == "storage"
		if s.Host == "storage" && s.Authorization != "" {
			t.Errorf("%s %s carries a token to another host", s.Method, s.Path)
		}
	}
	if !asked {
		t.Error("the other host was not asked")
	}
}
