package store_test

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// BenchmarkFiles reads a version of 1.1 MB, as large as one of mt0-large.
func BenchmarkFiles(b *testing.B) {
	s := storetest.Open(b, store.Options{Dir: b.TempDir()})
	v := version("large", "large")
	weights := make([]byte, 1<<20+100<<10)
	_, _ = rand.NewChaCha8(sha256.Sum256(nil)).Read(weights)
	v.Files["adapter_model.safetensors"] = weights
	_, published := publish(b, s, v)
	for name, read := range map[string]func(context.Context, string, int) (map[string][]byte, error){"checked": s.Files, "unchecked": s.Unchecked} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(b.Context(), "large", published.Number); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
