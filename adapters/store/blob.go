package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// chunkBytes is the size of a blob's chunks, but for the last one.
const chunkBytes = 1 << 20

// abandoned is how long a blob that is being written may rest before the next Open
// takes it for the remains of a killed process.
const abandoned = 24 * time.Hour

// PutBlob stores what r gives, in chunks, so that it is never in memory as a whole, nor
// in one transaction. It gives the content's digest, "sha256:...", and size in bytes.
//
// A blob lives as long as something refers to it: versions, and holders, such as a job
// by its id. The given holder holds it from the moment on in which it is whole, until
// ReleaseBlobs. On an error nothing is kept.
func (s *Store) PutBlob(ctx context.Context, holder string, r io.Reader) (digest string, size int64, err error) {
	if err := checkText("holder", holder, true); err != nil {
		return "", 0, err
	}
	id := rand.Text()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.dropUpload(context.WithoutCancel(ctx), id))
		}
	}()
	if digest, size, err = s.upload(ctx, id, r); err != nil {
		return "", 0, err
	}
	err = s.Change(ctx, func(t *Tx) error {
		if err := t.finishBlob(ctx, id, digest); err != nil {
			return err
		}
		return t.hold(ctx, holder, id)
	})
	return digest, size, err
}

// upload writes chunks, each in a transaction of its own.
func (s *Store) upload(ctx context.Context, id string, r io.Reader) (digest string, size int64, err error) {
	err = s.write(ctx, "", func(tx *sql.Tx) error { return insertBlob(ctx, tx, id) })
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	chunk := make([]byte, chunkBytes)
	for number := 0; ; number++ {
		n, end := io.ReadFull(r, chunk)
		if end != nil && !errors.Is(end, io.EOF) && !errors.Is(end, io.ErrUnexpectedEOF) {
			return "", 0, fmt.Errorf("store: read the blob at byte %d: %w", size, end)
		}
		if n > 0 {
			h.Write(chunk[:n])
			size += int64(n)
			err = s.write(ctx, "", func(tx *sql.Tx) error { return insertChunk(ctx, tx, id, number, chunk[:n]) })
		}
		if err != nil || end != nil {
			return digestOfHash(h), size, err
		}
	}
}

// dropUpload removes a blob that did not become whole.
func (s *Store) dropUpload(ctx context.Context, id string) error {
	return s.write(ctx, "", func(tx *sql.Tx) error {
		_, err := exec(ctx, tx, "DELETE FROM blobs WHERE id = $1 AND digest IS NULL", id)
		return err
	})
}

// sweep removes what killed processes left.
func (s *Store) sweep(ctx context.Context) error {
	return s.write(ctx, "", func(tx *sql.Tx) error {
		_, err := exec(ctx, tx, "DELETE FROM blobs WHERE digest IS NULL AND touched < $1", micros(time.Now().Add(-abandoned)))
		return err
	})
}

func insertBlob(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := exec(ctx, tx, "INSERT INTO blobs (id, bytes, touched) VALUES ($1, 0, $2)", id, micros(time.Now()))
	return err
}

func insertChunk(ctx context.Context, tx *sql.Tx, id string, number int, data []byte) error {
	n, err := exec(ctx, tx, "UPDATE blobs SET bytes = bytes + $1, touched = $2 WHERE id = $3 AND digest IS NULL",
		len(data), micros(time.Now()), id)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: the upload rested for more than %s and was given up", ErrNotFound, abandoned)
	}
	if err != nil {
		return err
	}
	_, err = exec(ctx, tx, "INSERT INTO blob_chunks (blob, number, data) VALUES ($1, $2, $3)", id, number, data)
	return err
}

// finishBlob makes the chunks of a blob its digest's content. They replace those that
// are there already, which may be damaged.
func (t *Tx) finishBlob(ctx context.Context, id, digest string) error {
	old, found, err := t.blob(ctx, digest)
	if err != nil {
		return err
	}
	if found {
		if err := t.replaceBlob(ctx, old, id); err != nil {
			return err
		}
	}
	n, err := exec(ctx, t.sql, "UPDATE blobs SET digest = $1 WHERE id = $2", digest, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: the upload was given up", ErrNotFound)
	}
	return err
}

// replaceBlob removes a blob that another one stands for from now on.
func (t *Tx) replaceBlob(ctx context.Context, old, id string) error {
	for _, table := range []string{"version_files", "blob_holds"} {
		if _, err := exec(ctx, t.sql, "UPDATE "+table+" SET blob = $1 WHERE blob = $2", id, old); err != nil {
			return err
		}
	}
	_, err := exec(ctx, t.sql, "DELETE FROM blobs WHERE id = $1", old)
	return err
}

// blob gives the id of the blob with a digest.
func (t *Tx) blob(ctx context.Context, digest string) (id string, found bool, err error) {
	return one[string](ctx, t.sql, "SELECT id FROM blobs WHERE digest = $1", digest)
}

// keep stores content that is in memory, unless it is there and sound.
func (t *Tx) keep(ctx context.Context, data []byte) (id string, err error) {
	digest := digestOf(data)
	id, found, err := t.blob(ctx, digest)
	if err != nil {
		return "", err
	}
	if found {
		stored, err := readBlob(ctx, t.sql, id, int64(len(data)))
		if err != nil || bytes.Equal(stored, data) {
			return id, err
		}
	}
	id = rand.Text()
	if err := insertBlob(ctx, t.sql, id); err != nil {
		return "", err
	}
	for number := 0; number*chunkBytes < len(data); number++ {
		chunk := data[number*chunkBytes : min((number+1)*chunkBytes, len(data))]
		if err := insertChunk(ctx, t.sql, id, number, chunk); err != nil {
			return "", err
		}
	}
	return id, t.finishBlob(ctx, id, digest)
}

// readBlob gives a blob's content, unchecked. It is expected to be of the given size.
func readBlob(ctx context.Context, tx *sql.Tx, id string, size int64) ([]byte, error) {
	data := make([]byte, 0, size)
	_, err := rows(ctx, tx, func(row scanner) (none struct{}, err error) {
		var chunk sql.RawBytes // the driver's own, until the next row
		err = row.Scan(&chunk)
		data = append(data, chunk...)
		return none, err
	}, "SELECT data FROM blob_chunks WHERE blob = $1 ORDER BY number", id)
	return data, err
}

func digestOf(data []byte) string {
	h := sha256.New()
	h.Write(data)
	return digestOfHash(h)
}

func digestOfHash(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }
