package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"hash"
	"io"
)

// HoldBlob lets a holder, too, keep a blob. See Tx.HoldBlob.
func (s *Store) HoldBlob(ctx context.Context, holder, digest string) error {
	return s.Change(ctx, func(t *Tx) error { return t.HoldBlob(ctx, holder, digest) })
}

// ReleaseBlobs ends what a holder holds. See Tx.ReleaseBlobs.
func (s *Store) ReleaseBlobs(ctx context.Context, holder string) error {
	return s.Change(ctx, func(t *Tx) error { return t.ReleaseBlobs(ctx, holder) })
}

// HoldBlob keeps a blob until the holder releases it; to hold it already is fine.
// ErrNotFound is wrapped if there is no such blob.
func (t *Tx) HoldBlob(ctx context.Context, holder, digest string) error {
	if err := checkText("holder", holder, true); err != nil {
		return err
	}
	id, found, err := t.blob(ctx, digest)
	if err == nil && !found {
		err = fmt.Errorf("%w: blob %s", ErrNotFound, digest)
	}
	if err != nil {
		return err
	}
	return t.hold(ctx, holder, id)
}

func (t *Tx) hold(ctx context.Context, holder, id string) error {
	_, err := exec(ctx, t.sql, "INSERT INTO blob_holds (holder, blob) VALUES ($1, $2) ON CONFLICT DO NOTHING", holder, id)
	return err
}

// ReleaseBlobs ends what a holder holds, if anything. Blobs that nothing else refers to
// are gone.
func (t *Tx) ReleaseBlobs(ctx context.Context, holder string) error {
	ids, err := t.texts(ctx, "SELECT blob FROM blob_holds WHERE holder = $1", holder)
	if err != nil {
		return err
	}
	if _, err := exec(ctx, t.sql, "DELETE FROM blob_holds WHERE holder = $1", holder); err != nil {
		return err
	}
	return t.dropUnreferenced(ctx, ids)
}

// dropUnreferenced removes those of some blobs that nothing refers to any more.
func (t *Tx) dropUnreferenced(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if _, err := exec(ctx, t.sql, `
			DELETE FROM blobs WHERE id = $1
				AND NOT EXISTS (SELECT 1 FROM version_files WHERE blob = $1)
				AND NOT EXISTS (SELECT 1 FROM blob_holds WHERE blob = $1)`, id); err != nil {
			return err
		}
	}
	return nil
}

// texts asks for a column of texts.
func (t *Tx) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	return rows(ctx, t.sql, func(row scanner) (text string, err error) {
		err = row.Scan(&text)
		return text, err
	}, query, args...)
}

// OpenBlob reads a blob chunk by chunk, until ctx ends. Whoever reads it holds it; else
// it can go meanwhile, and Read gives ErrNotFound. What was read is what the digest says
// only once Read has given io.EOF: ErrCorrupt comes in its place.
func (s *Store) OpenBlob(ctx context.Context, digest string) (io.ReadCloser, error) {
	r := &blobReader{ctx: ctx, store: s, digest: digest, hash: sha256.New()}
	err := s.read(ctx, func(tx *sql.Tx) error {
		size, found, err := one[int64](ctx, tx, "SELECT bytes FROM blobs WHERE digest = $1", digest)
		r.left = size
		if err == nil && !found {
			err = fmt.Errorf("%w: blob %s", ErrNotFound, digest)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// blobReader finds each chunk by the digest anew, for the same content may have been
// stored again under another id meanwhile.
type blobReader struct {
	ctx    context.Context
	store  *Store
	digest string
	hash   hash.Hash
	number int    // of the next chunk
	chunk  []byte // what is left of the current one
	left   int64  // in the chunks to come
	err    error
}

func (r *blobReader) Read(p []byte) (int, error) {
	if len(r.chunk) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.chunk) == 0 {
		return 0, r.err
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// next reads a chunk, or judges the whole at its end.
func (r *blobReader) next() error {
	if r.left == 0 {
		if digestOfHash(r.hash) != r.digest {
			return fmt.Errorf("%w: blob %s", ErrCorrupt, r.digest)
		}
		return io.EOF
	}
	err := r.store.read(r.ctx, func(tx *sql.Tx) (err error) {
		var found bool
		r.chunk, found, err = one[[]byte](r.ctx, tx, `
			SELECT c.data FROM blobs b JOIN blob_chunks c ON c.blob = b.id WHERE b.digest = $1 AND c.number = $2`, r.digest, r.number)
		if err != nil || found {
			return err
		}
		return r.missing(tx)
	})
	if err != nil {
		return err
	}
	if int64(len(r.chunk)) != min(r.left, chunkBytes) {
		r.chunk = nil
		return fmt.Errorf("%w: blob %s: chunk %d has another size", ErrCorrupt, r.digest, r.number)
	}
	r.hash.Write(r.chunk)
	r.left -= int64(len(r.chunk))
	r.number++
	return nil
}

// missing tells a blob that is gone from one without a chunk.
func (r *blobReader) missing(tx *sql.Tx) error {
	_, found, err := one[string](r.ctx, tx, "SELECT id FROM blobs WHERE digest = $1", r.digest)
	switch {
	case err != nil:
		return err
	case found:
		return fmt.Errorf("%w: blob %s: chunk %d is missing", ErrCorrupt, r.digest, r.number)
	default:
		return fmt.Errorf("%w: blob %s: it was deleted while it was read", ErrNotFound, r.digest)
	}
}

// Close ends the reading. There is nothing to free.
func (r *blobReader) Close() error {
	r.chunk, r.err = nil, ErrClosed
	return nil
}
