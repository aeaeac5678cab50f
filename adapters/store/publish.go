package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Publish stores a version of an adapter, which need not be there yet, and activates it
// if asked, in one transaction.
//
// Where the adapter has a version with this digest already, that one is given as it is,
// activated if asked, and nothing is added: it keeps its base, origin and privacy.
// Files of the same content as stored ones take the place of those that are damaged.
//
// Errors wrap adapters.ErrID, ErrInvalid, ErrConflict, ErrFull or ErrBusy.
func (s *Store) Publish(ctx context.Context, n NewVersion) (a Adapter, v Version, err error) {
	err = s.Change(ctx, func(t *Tx) error {
		a, v, err = t.Publish(ctx, n)
		return err
	})
	if err != nil {
		return Adapter{}, Version{}, fmt.Errorf("publish %.100s: %w", n.Adapter, err)
	}
	return a, v, nil
}

// Publish is what Store.Publish does, as a part of a change.
func (t *Tx) Publish(ctx context.Context, n NewVersion) (Adapter, Version, error) {
	a, v, err := t.publish(ctx, n)
	return a, v, translate(err)
}

func (t *Tx) publish(ctx context.Context, n NewVersion) (none Adapter, v Version, err error) {
	v = Version{
		Adapter: n.Adapter, Digest: n.Digest, Base: n.Base, Source: n.Source, Origin: n.Origin, Private: n.Private,
		Created: fromMicros(t.now), Sites: n.Sites, Parameters: n.Parameters,
	}
	if err := v.check(); err != nil {
		return none, v, err
	}
	if err := checkFiles(n.Files); err != nil {
		return none, v, err
	}
	active, err := t.active(ctx, n.Adapter)
	if err != nil {
		return none, v, err
	}
	if n.IfActive != nil && *n.IfActive != active {
		return none, v, fmt.Errorf("%w: version %d is active, not %d", ErrConflict, active, *n.IfActive)
	}
	if v.Number, err = t.add(ctx, v, n.Files); err != nil {
		return none, v, err
	}
	if n.Activate && v.Number != active {
		if err := t.activate(ctx, v.Adapter, v.Number); err != nil {
			return none, v, err
		}
	}
	a, err := t.adapter(ctx, v.Adapter)
	if err != nil {
		return none, v, err
	}
	v, _ = a.Version(v.Number)
	return a, v, nil
}

// add stores a version under the next number, unless its digest is there, and gives the
// number.
func (t *Tx) add(ctx context.Context, v Version, files map[string][]byte) (number int, err error) {
	number, found, err := one[int](ctx, t.sql, "SELECT number FROM versions WHERE adapter = $1 AND digest = $2", v.Adapter, v.Digest)
	if err != nil {
		return 0, err
	}
	if found {
		return number, t.heal(ctx, files)
	}
	v.Number, _, err = one[int](ctx, t.sql, "SELECT COALESCE(MAX(number), 0) + 1 FROM numbers WHERE adapter = $1", v.Adapter)
	if err != nil {
		return 0, err
	}
	return v.Number, t.insert(ctx, v, files)
}

// insert stores a version under its number, which must be free.
func (t *Tx) insert(ctx context.Context, v Version, files map[string][]byte) error {
	if _, err := exec(ctx, t.sql, `
		INSERT INTO adapters (id, pinned, sequence) VALUES ($1, FALSE, 0) ON CONFLICT DO NOTHING`, v.Adapter); err != nil {
		return err
	}
	if _, err := exec(ctx, t.sql, `
		INSERT INTO numbers (adapter, number, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, v.Adapter, v.Number, v.Digest); err != nil {
		return err
	}
	if _, err := exec(ctx, t.sql, `
		INSERT INTO versions (adapter, number, digest, base, source, origin, private, created, sites, parameters)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		v.Adapter, v.Number, v.Digest, v.Base, v.Source, v.Origin, v.Private, micros(v.Created), v.Sites, v.Parameters); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		id, err := t.keep(ctx, files[name])
		if err != nil {
			return err
		}
		if _, err := exec(ctx, t.sql, `
			INSERT INTO version_files (adapter, number, name, blob) VALUES ($1, $2, $3, $4)`, v.Adapter, v.Number, name, id); err != nil {
			return err
		}
	}
	_, err := t.record(ctx, v.Adapter, Published, v.Number)
	return err
}

// heal replaces the content of files that are stored and damaged.
func (t *Tx) heal(ctx context.Context, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, found, err := t.blob(ctx, digestOf(files[name]))
		if err == nil && found {
			_, err = t.keep(ctx, files[name])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// record writes an event down and gives its sequence.
func (t *Tx) record(ctx context.Context, id string, kind Kind, number int) (int64, error) {
	sequence, _, err := one[int64](ctx, t.sql, "UPDATE clock SET sequence = sequence + 1 RETURNING sequence")
	if err != nil {
		return 0, err
	}
	t.changed = true
	if _, err := exec(ctx, t.sql, `
		INSERT INTO events (sequence, created, adapter, kind, number) VALUES ($1, $2, $3, $4, $5)`,
		sequence, t.now, id, kind, number); err != nil {
		return 0, err
	}
	_, err = exec(ctx, t.sql, "UPDATE adapters SET sequence = $1 WHERE id = $2", sequence, id)
	return sequence, err
}
