package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"valence/adapters/peft"
	"valence/adapters/store"
)

// brokenStore fails where it is told to.
type brokenStore struct {
	Store
	faults atomic.Int64 // reads of an adapter that fail
	full   bool         // nothing can be written, and what is read is damaged
}

func (b *brokenStore) Adapter(ctx context.Context, id string) (store.Adapter, error) {
	if b.faults.Add(-1) >= 0 {
		return store.Adapter{}, errors.New("no connection")
	}
	return b.Store.Adapter(ctx, id)
}

func (b *brokenStore) Publish(ctx context.Context, v store.NewVersion) (store.Adapter, store.Version, error) {
	if b.full {
		return store.Adapter{}, store.Version{}, fmt.Errorf("%w: disk", store.ErrFull)
	}
	return b.Store.Publish(ctx, v)
}

func (b *brokenStore) Files(ctx context.Context, id string, n int) (map[string][]byte, error) {
	if b.full {
		return nil, fmt.Errorf("%w: adapter_model.safetensors", store.ErrCorrupt)
	}
	return b.Store.Files(ctx, id, n)
}

func (b *brokenStore) Unchecked(ctx context.Context, id string, n int) (map[string][]byte, error) {
	files, err := b.Store.Unchecked(ctx, id, n)
	if b.full && err == nil {
		weights := files["adapter_model.safetensors"]
		weights[len(weights)-4]++ // a value that is as good as another
	}
	return files, err
}

func keys(files map[string][]byte) []string { return slices.Sorted(maps.Keys(files)) }

func digestOf(t *testing.T, files map[string][]byte) string {
	t.Helper()
	f, err := peft.Read(peft.Files(files), model(t))
	if err != nil {
		t.Fatal(err)
	}
	return f.Digest
}

// pickled is a folder of PEFT's with adapter_model.bin.
func pickled(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"adapter_config.json", "adapter_model.bin"} {
		data, err := os.ReadFile("../peft/testdata/mt5/pickle/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	return files
}
