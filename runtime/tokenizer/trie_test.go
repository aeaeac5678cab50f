package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// randomKeys returns keys that share prefixes, hold every byte and come up to twice.
func randomKeys(n int) []string {
	rng := rand.New(rand.NewPCG(7, 7))
	keys := []string{"", "a", "a", "ab", "abc", "\x00", "\x00\x00", "a\x00", "\xff\xff", strings.Repeat("long", 50)}
	for len(keys) < n {
		base := keys[rng.IntN(len(keys))]
		keys = append(keys, base[:rng.IntN(len(base)+1)]+string([]byte{byte(rng.IntN(256)), byte(rng.IntN(4))})[:1+rng.IntN(2)])
	}
	return keys
}

func TestTrie(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10, 20000} {
		keys := randomKeys(n)[:n]
		trie := buildTrie(n, func(id int32) string { return keys[id] })
		want := map[string]int32{}
		for id, k := range keys {
			if k != "" {
				want[k] = int32(id)
			}
		}
		for k, id := range want {
			if got := trie.exact([]byte(k)); got != id {
				t.Fatalf("%d keys: exact(%q) = %d, want %d", n, k, got, id)
			}
		}
		for _, k := range randomKeys(20000) {
			checkPrefix(t, trie, want, k+"\x05")
			if _, ok := want[k]; !ok {
				if got := trie.exact([]byte(k)); got != -1 {
					t.Fatalf("%d keys: exact(%q) = %d, want none", n, k, got)
				}
			}
		}
	}
}

func checkPrefix(t *testing.T, trie *trie, keys map[string]int32, s string) {
	t.Helper()
	id, length := int32(-1), 0
	for n := 1; n <= len(s); n++ {
		if found, ok := keys[s[:n]]; ok {
			id, length = found, n
		}
	}
	if got, n := trie.longestPrefix(s); got != id || n != length {
		t.Fatalf("longestPrefix(%q) = %d, %d, want %d, %d", s, got, n, id, length)
	}
}
