package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

const chunk = 1 << 20

// noise is a stream of n bytes that follow from a seed.
func noise(seed string, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(seed))), n)
}

func put(t testing.TB, s *store.Store, holder string, data []byte) string {
	t.Helper()
	got, size, err := s.PutBlob(t.Context(), holder, iotest.HalfReader(bytes.NewReader(data)))
	if err != nil || size != int64(len(data)) || got != digest(string(data)) {
		t.Fatalf("%s of %d bytes, %v", got, size, err)
	}
	return got
}

func read(t testing.TB, s *store.Store, name string) ([]byte, error) {
	t.Helper()
	r, err := s.OpenBlob(t.Context(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestBlobs(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for _, size := range []int64{0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk} {
			data := must[[]byte](t)(io.ReadAll(noise("a", size)))
			name := put(t, s, "job:1", data)
			if got, err := read(t, s, name); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes: %d read, %v", size, len(got), err)
			}
		}
		if n := count(t, s, "blob_chunks"); n != 0+1+1+1+2+3 {
			t.Errorf("%d chunks", n)
		}
		_, err := read(t, s, digest("nothing"))
		expect(t, err, store.ErrNotFound)
	})
}

// TestBlobIsNeverInMemory streams more than it may hold.
func TestBlobIsNeverInMemory(t *testing.T) {
	const size = 64 * chunk
	each(t, func(t *testing.T, s *store.Store) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		name, _, err := s.PutBlob(t.Context(), "job:1", noise("large", size))
		if err != nil {
			t.Fatal(err)
		}
		r := must[io.ReadCloser](t)(s.OpenBlob(t.Context(), name))
		if n, err := io.CopyN(io.Discard, r, size/2); n != size/2 {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > size/4 {
			t.Errorf("%d bytes more in memory half way through %d", grown, size)
		}
		if n, err := io.Copy(io.Discard, r); n != size/2 || err != nil {
			t.Errorf("%d bytes of the other half, %v", n, err)
		}
	})
}

func TestBlobLivesAsLongAsItIsHeld(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		n := version("a", "one")
		weights := n.Files["adapter_model.safetensors"]
		name := put(t, s, "job:1", weights)
		if err := s.HoldBlob(t.Context(), "job:2", name); err != nil {
			t.Fatal(err)
		}
		publish(t, s, n)
		for i, end := range []func() error{
			func() error { return s.ReleaseBlobs(t.Context(), "job:1") },
			func() error { return s.ReleaseBlobs(t.Context(), "job:1") }, // again
			func() error { return s.Delete(t.Context(), "a") },
		} {
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if got, err := read(t, s, name); err != nil || !bytes.Equal(got, weights) {
				t.Fatalf("lost after %d ends: %v", i+1, err)
			}
		}
		if err := s.ReleaseBlobs(t.Context(), "job:2"); err != nil {
			t.Fatal(err)
		}
		_, err := read(t, s, name)
		expect(t, err, store.ErrNotFound)
		expect(t, s.HoldBlob(t.Context(), "job:2", name), store.ErrNotFound)
		expect(t, s.HoldBlob(t.Context(), "", name), store.ErrInvalid, "holder")
	})
}

func TestBlobStoredAgainTakesTheOldOnesPlace(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		data := must[[]byte](t)(io.ReadAll(noise("a", 3*chunk)))
		name := put(t, s, "job:1", data)
		r := must[io.ReadCloser](t)(s.OpenBlob(t.Context(), name))
		got := make([]byte, chunk+1)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		sql(t, s, "UPDATE blob_chunks SET data = $1 WHERE number = 2", make([]byte, chunk))
		put(t, s, "job:2", data)
		rest, err := io.ReadAll(r) // who reads meanwhile does not notice
		if err != nil || !bytes.Equal(append(got, rest...), data) {
			t.Errorf("%d bytes, %v", len(got)+len(rest), err)
		}
		if n := count(t, s, "blobs"); n != 1 {
			t.Errorf("%d blobs of one content", n)
		}
		for _, holder := range []string{"job:1", "job:2"} {
			if _, err := read(t, s, name); err != nil {
				t.Errorf("before the end of %s: %v", holder, err)
			}
			if err := s.ReleaseBlobs(t.Context(), holder); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestDamagedBlob(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		name := put(t, s, "job:1", must[[]byte](t)(io.ReadAll(noise("a", 2*chunk+5))))
		flipped := must[[]byte](t)(io.ReadAll(noise("a", chunk)))
		flipped[77] ^= 1
		for _, damage := range []struct {
			data   []byte
			number int
			says   string
		}{
			{flipped, 0, name}, {flipped[:chunk-1], 0, "chunk 0"}, {make([]byte, 6), 2, "chunk 2"}, {nil, 1, "chunk 1 is missing"},
		} {
			original := must[[]byte](t)(io.ReadAll(noise("a", 2*chunk+5)))
			if damage.data == nil {
				sql(t, s, "DELETE FROM blob_chunks WHERE number = $1", damage.number)
			} else {
				sql(t, s, "UPDATE blob_chunks SET data = $1 WHERE number = $2", damage.data, damage.number)
			}
			_, err := read(t, s, name)
			expect(t, err, store.ErrCorrupt, damage.says)
			put(t, s, "job:1", original)
		}
	})
}

func TestBlobDeletedWhileItIsRead(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		name := put(t, s, "job:1", make([]byte, 2*chunk))
		r := must[io.ReadCloser](t)(s.OpenBlob(t.Context(), name))
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if err := s.ReleaseBlobs(t.Context(), "job:1"); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadAll(r)
		expect(t, err, store.ErrNotFound, "deleted while it was read")
		r.Close()
		_, err = r.Read(make([]byte, 5))
		expect(t, err, store.ErrClosed)
	})
}

func TestBlobThatEndsEarlyLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cut := errors.New("the line was cut")
		_, _, err := s.PutBlob(t.Context(), "job:1", io.MultiReader(noise("a", 2*chunk+7), iotest.ErrReader(cut)))
		expect(t, err, cut, fmt.Sprint(2*chunk))
		if n := count(t, s, "blobs") + count(t, s, "blob_chunks"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// TestAbandonedUploads: those of a killed process go with a later start, those that go
// on stay.
func TestAbandonedUploads(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		s := storetest.Open(t, o)
		for id, age := range map[string]time.Duration{"old": 25 * time.Hour, "new": time.Hour} {
			sql(t, s, "INSERT INTO blobs (id, bytes, touched) VALUES ($1, 3, $2)", id, time.Now().Add(-age).UnixMicro())
			sql(t, s, "INSERT INTO blob_chunks (blob, number, data) VALUES ($1, 0, $2)", id, []byte("abc"))
		}
		storetest.Open(t, o)
		if n := count(t, s, "blobs WHERE id = 'new'"); n != 1 || count(t, s, "blobs") != 1 || count(t, s, "blob_chunks") != 1 {
			t.Errorf("%d new, %d in all", n, count(t, s, "blobs"))
		}
	})
}
