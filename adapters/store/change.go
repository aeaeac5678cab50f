package store

import (
	"context"
	"fmt"
)

// Activate makes a version the one that the id stands for. Of the active one nothing
// changes. ErrNotFound is wrapped if there is no such version.
func (s *Store) Activate(ctx context.Context, id string, number int) (Adapter, error) {
	return s.change(ctx, fmt.Sprintf("activate version %d of", number), id, func(t *Tx) error {
		if err := t.version(ctx, id, number); err != nil {
			return err
		}
		active, err := t.active(ctx, id)
		if err != nil || active == number {
			return err
		}
		return t.activate(ctx, id, number)
	})
}

// Rollback activates the version that was active before the current one, past those
// that were deleted. A second rollback goes on from there, not back; the events keep
// what was. ErrNoEarlier is wrapped if there is none.
func (s *Store) Rollback(ctx context.Context, id string) (Adapter, error) {
	return s.change(ctx, "roll back", id, func(t *Tx) error {
		active, err := t.active(ctx, id)
		if err != nil {
			return err
		}
		target, found, err := one[int64](ctx, t.sql, `
			SELECT sequence FROM activations WHERE adapter = $1 AND number <> $2 ORDER BY sequence DESC LIMIT 1`, id, active)
		if err == nil && !found {
			err = ErrNoEarlier
		}
		if err != nil {
			return err
		}
		if _, err := exec(ctx, t.sql, "DELETE FROM activations WHERE adapter = $1 AND sequence > $2", id, target); err != nil {
			return err
		}
		if active, err = t.active(ctx, id); err != nil {
			return err
		}
		_, err = t.record(ctx, id, RolledBack, active)
		return err
	})
}

// SetPinned says whether an adapter is to be kept in memory.
func (s *Store) SetPinned(ctx context.Context, id string, pinned bool) (Adapter, error) {
	kind, operation := Pinned, "pin"
	if !pinned {
		kind, operation = Unpinned, "unpin"
	}
	return s.change(ctx, operation, id, func(t *Tx) error {
		n, err := exec(ctx, t.sql, "UPDATE adapters SET pinned = $1 WHERE id = $2 AND pinned <> $1", pinned, id)
		if err != nil || n == 0 {
			return err
		}
		_, err = t.record(ctx, id, kind, 0)
		return err
	})
}

// DeleteVersion removes a version that is not active, for good. Its number is not used
// again. An adapter stays when its last version goes. ErrActive or ErrNotFound is
// wrapped if it cannot be.
func (s *Store) DeleteVersion(ctx context.Context, id string, number int) (Adapter, error) {
	return s.change(ctx, fmt.Sprintf("delete version %d of", number), id, func(t *Tx) error {
		if err := t.version(ctx, id, number); err != nil {
			return err
		}
		active, err := t.active(ctx, id)
		if err == nil && active == number {
			err = ErrActive
		}
		if err != nil {
			return err
		}
		blobs, err := t.texts(ctx, "SELECT DISTINCT blob FROM version_files WHERE adapter = $1 AND number = $2", id, number)
		if err != nil {
			return err
		}
		if _, err := exec(ctx, t.sql, "DELETE FROM versions WHERE adapter = $1 AND number = $2", id, number); err != nil {
			return err
		}
		if err := t.dropUnreferenced(ctx, blobs); err != nil {
			return err
		}
		_, err = t.record(ctx, id, VersionDeleted, number)
		return err
	})
}

// Delete removes an adapter with all its versions, the active one too. Their numbers
// are not used again if the adapter comes back. ErrNotFound is wrapped if there is none.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	err := s.Change(ctx, func(t *Tx) error {
		blobs, err := t.texts(ctx, "SELECT DISTINCT blob FROM version_files WHERE adapter = $1", id)
		if err != nil {
			return err
		}
		n, err := exec(ctx, t.sql, "DELETE FROM adapters WHERE id = $1", id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if err := t.dropUnreferenced(ctx, blobs); err != nil {
			return err
		}
		_, err = t.record(ctx, id, Deleted, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	return nil
}

// change runs one change of an adapter that must be there, and gives what it is then.
func (s *Store) change(ctx context.Context, operation, id string, f func(*Tx) error) (a Adapter, err error) {
	if err := checkID(id); err != nil {
		return Adapter{}, err
	}
	err = s.Change(ctx, func(t *Tx) error {
		if _, err := t.adapter(ctx, id); err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
		a, err = t.adapter(ctx, id)
		return err
	})
	if err != nil {
		return Adapter{}, fmt.Errorf("%s %s: %w", operation, id, err)
	}
	return a, nil
}

// version gives ErrNotFound unless the version is there.
func (t *Tx) version(ctx context.Context, id string, number int) error {
	_, found, err := one[int](ctx, t.sql, "SELECT number FROM versions WHERE adapter = $1 AND number = $2", id, number)
	if err == nil && !found {
		err = ErrNotFound
	}
	return err
}

// active gives the number of the active version, 0 for none.
func (t *Tx) active(ctx context.Context, id string) (int, error) {
	number, _, err := one[int](ctx, t.sql, "SELECT number FROM activations WHERE adapter = $1 ORDER BY sequence DESC LIMIT 1", id)
	return number, err
}

// activate puts a version before the active one.
func (t *Tx) activate(ctx context.Context, id string, number int) error {
	sequence, err := t.record(ctx, id, Activated, number)
	if err != nil {
		return err
	}
	_, err = exec(ctx, t.sql, "INSERT INTO activations (adapter, sequence, number) VALUES ($1, $2, $3)", id, sequence, number)
	return err
}
