package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// Adapters gives all adapters by id, and the sequence of the last change that they are
// the state after: Watch goes on from there.
func (s *Store) Adapters(ctx context.Context) (all []Adapter, sequence int64, err error) {
	err = s.read(ctx, func(tx *sql.Tx) error {
		if sequence, _, err = one[int64](ctx, tx, "SELECT sequence FROM clock"); err != nil {
			return err
		}
		all, err = list(ctx, tx, "")
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return all, sequence, nil
}

// Adapter gives one adapter. ErrNotFound is wrapped if there is none.
func (s *Store) Adapter(ctx context.Context, id string) (a Adapter, err error) {
	if err := checkID(id); err != nil {
		return a, err
	}
	err = s.read(ctx, func(tx *sql.Tx) error {
		a, err = find(ctx, tx, id)
		return err
	})
	if err != nil {
		return Adapter{}, fmt.Errorf("adapter %s: %w", id, err)
	}
	return a, nil
}

// Files gives the files of a version by name, each checked against its hash. ErrNotFound
// is wrapped if there is no such version, and ErrCorrupt, with the file's name, if one is
// not what was stored: to publish the same files again repairs it.
func (s *Store) Files(ctx context.Context, id string, number int) (files map[string][]byte, err error) {
	return s.files(ctx, id, number, digestOf)
}

// Unchecked is Files for those who find out by themselves whether the files are what was
// stored: it does not look at their hashes.
func (s *Store) Unchecked(ctx context.Context, id string, number int) (files map[string][]byte, err error) {
	return s.files(ctx, id, number, nil)
}

func (s *Store) files(ctx context.Context, id string, number int, digest func([]byte) string) (files map[string][]byte, err error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(tx *sql.Tx) error {
		files, err = filesOf(ctx, tx, id, number, digest)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("files of version %d of %s: %w", number, id, err)
	}
	return files, nil
}

// file is one file of a version.
type file struct {
	name, blob, digest string
	size               int64
}

// filesOf reads the files of a version, and checks them where there is a digest.
func filesOf(ctx context.Context, tx *sql.Tx, id string, number int, digest func([]byte) string) (map[string][]byte, error) {
	found, err := rows(ctx, tx, func(row scanner) (f file, err error) {
		err = row.Scan(&f.name, &f.blob, &f.digest, &f.size)
		return f, err
	}, `SELECT f.name, b.id, b.digest, b.bytes FROM version_files f JOIN blobs b ON b.id = f.blob WHERE f.adapter = $1 AND f.number = $2`, id, number)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(found))
	for _, f := range found {
		data, err := readBlob(ctx, tx, f.blob, f.size)
		if err == nil && digest != nil && digest(data) != f.digest {
			err = fmt.Errorf("%w: it is not what its hash says; publish the same files again to repair it", ErrCorrupt)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, translate(err))
		}
		files[f.name] = data
	}
	return files, nil
}

func (t *Tx) adapter(ctx context.Context, id string) (Adapter, error) { return find(ctx, t.sql, id) }

func find(ctx context.Context, tx *sql.Tx, id string) (Adapter, error) {
	found, err := list(ctx, tx, id)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Adapter{}, err
	}
	return found[0], nil
}

// list gives one adapter, or all by id if the id is empty.
func list(ctx context.Context, tx *sql.Tx, id string) ([]Adapter, error) {
	query := `SELECT id, pinned, sequence, COALESCE(
			(SELECT number FROM activations WHERE adapter = a.id ORDER BY sequence DESC LIMIT 1), 0)
		FROM adapters a`
	var args []any
	if id != "" {
		query, args = query+" WHERE id = $1", []any{id}
	}
	all, err := rows(ctx, tx, func(row scanner) (a Adapter, err error) {
		err = row.Scan(&a.ID, &a.Pinned, &a.Sequence, &a.Active)
		return a, err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	versions, err := listVersions(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Versions = versions[all[i].ID]
	}
	slices.SortFunc(all, func(a, b Adapter) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// listVersions gives the versions of one adapter, or of all, ascending.
func listVersions(ctx context.Context, tx *sql.Tx, id string) (map[string][]Version, error) {
	query := `SELECT v.adapter, v.number, v.digest, v.base, v.source, v.origin, v.private, v.created, v.sites, v.parameters,
			(SELECT CAST(SUM(b.bytes) AS BIGINT) FROM version_files f JOIN blobs b ON b.id = f.blob
				WHERE f.adapter = v.adapter AND f.number = v.number),
			(SELECT c.data FROM version_files f JOIN blob_chunks c ON c.blob = f.blob AND c.number = 0
				WHERE f.adapter = v.adapter AND f.number = v.number AND f.name = '` + sidecarFile + `')
		FROM versions v`
	var args []any
	if id != "" {
		query, args = query+" WHERE v.adapter = $1", []any{id}
	}
	all, err := rows(ctx, tx, scanVersion, query+" ORDER BY v.number", args...)
	if err != nil {
		return nil, err
	}
	out := map[string][]Version{}
	for _, v := range all {
		out[v.Adapter] = append(out[v.Adapter], v)
	}
	return out, nil
}

func scanVersion(row scanner) (v Version, err error) {
	var created int64
	err = row.Scan(&v.Adapter, &v.Number, &v.Digest, &v.Base, &v.Source, &v.Origin, &v.Private, &created,
		&v.Sites, &v.Parameters, &v.Bytes, &v.Sidecar)
	v.Created = fromMicros(created)
	return v, err
}
