package datasets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"valence/adapters/datasets/table"
)

// Draft is a data set that is looked at: until Close, Store.Rows has it in this process,
// and nothing of it is in the state unless Keep puts it there.
type Draft struct {
	Dataset
	file  *os.File
	store *Store
}

// Draft takes in a file as Put does, with the same id and the same errors, to be looked at
// before it is kept, or instead.
func (s *Store) Draft(ctx context.Context, name string, format table.Format, r io.Reader, m Mapping) (*Draft, error) {
	d, f, err := s.takeIn(ctx, name, format, r, m)
	if err != nil {
		return nil, err
	}
	d.Created = time.Now().UTC().Truncate(time.Microsecond)
	draft := &Draft{Dataset: d, file: f, store: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drafts[d.ID] = append(s.drafts[d.ID], draft)
	return draft, nil
}

// DraftRemap gives the data set of the file of another one, read by another mapping: a new
// one, or the one that there is. Its errors are those of Draft, and store.ErrNotFound.
func (s *Store) DraftRemap(ctx context.Context, id string, m Mapping) (d *Draft, err error) {
	err = s.again(ctx, id, func(before Dataset, file io.Reader) error {
		d, err = s.Draft(ctx, before.Name, before.Format, file, m)
		return err
	})
	return d, err
}

// Keep makes a data set of the draft, as Put would have. Its errors are those of Put.
func (d *Draft) Keep(ctx context.Context) error {
	_, err := d.store.keep(ctx, d.Dataset, d.file)
	return err
}

// Close drops the draft. Rows that are being read of it end with an error.
func (d *Draft) Close() error {
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.drafts[d.ID]
	for i := range all {
		if all[i] == d {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	if s.drafts[d.ID] = all; len(all) == 0 {
		delete(s.drafts, d.ID)
	}
	return d.file.Close()
}

// draft gives the file of a draft, apart from other readers of it, or nil.
func (s *Store) draft(id string) (Dataset, *io.SectionReader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.drafts[id] {
		return d.Dataset, io.NewSectionReader(d.file, 0, d.Bytes)
	}
	return Dataset{}, nil
}

// takeIn checks a file. It has been read to its end, and is the caller's to close.
func (s *Store) takeIn(ctx context.Context, name string, format table.Format, r io.Reader, m Mapping) (Dataset, *os.File, error) {
	if err := checkName(name); err != nil {
		return Dataset{}, nil, err
	}
	f, digest, size, err := spool(ctx, s.o.TempDir, r, s.o.Bytes)
	if err != nil {
		return Dataset{}, nil, err
	}
	d := Dataset{Name: name, Format: format, Content: digest, Bytes: size}
	if err := s.describe(ctx, &d, f, m); err != nil {
		return Dataset{}, nil, errors.Join(err, f.Close())
	}
	return d, f, nil
}

// describe fills in what a file tells.
func (s *Store) describe(ctx context.Context, d *Dataset, f *os.File, m Mapping) (err error) {
	if d.Format == "" {
		if d.Format, err = table.FormatOf(d.Name); err != nil {
			return fmt.Errorf("%w: %w", ErrMapping, err)
		}
	}
	if d.Mapping, d.Report, err = s.look(ctx, Input{d.Name, d.Format, f}, m); err != nil {
		return err
	}
	d.ID, err = d.digest()
	return err
}
