package datasets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters/datasets/table"
	"valence/adapters/store"
)

// Dataset is a file of labelled texts that is kept.
type Dataset struct {
	ID      string       `json:"id"` // "sha256:...", of content, format and mapping
	Name    string       `json:"name"`
	Format  table.Format `json:"format"`
	Content string       `json:"content"` // digest of the file, which is a blob of the store
	Bytes   int64        `json:"bytes"`
	Created time.Time    `json:"created"` // UTC, in whole microseconds
	Mapping Mapping      `json:"mapping"` // the columns named
	Report  Report       `json:"report"`
}

// Options configures a Store.
type Options struct {
	Limits
	// TempDir is where uploads wait until they are checked: a folder of this package's
	// own, which is made. "" is "uploads" in the state's data folder or, where there is
	// none, the system's.
	TempDir string
}

// Store keeps data sets and feedback in the state's database. It is safe for concurrent
// use, and by several processes.
type Store struct {
	state *store.Store
	o     Options

	mu     sync.Mutex
	drafts map[string][]*Draft // by id
}

// New makes a Store, and removes what killed processes left.
func New(ctx context.Context, state *store.Store, o Options) (*Store, error) {
	o.Limits = o.orDefaults()
	if o.TempDir == "" && state.Dir() != "" {
		o.TempDir = filepath.Join(state.Dir(), "uploads")
	}
	if err := sweepSpool(o.TempDir); err != nil {
		return nil, err
	}
	s := &Store{state: state, o: o, drafts: map[string][]*Draft{}}
	if err := s.sweep(ctx); err != nil {
		return nil, fmt.Errorf("datasets: remove what is left of broken uploads: %w", err)
	}
	return s, nil
}

// maxNameBytes bounds a data set's name.
const maxNameBytes = 256

// Put takes in a file and keeps it, if it is sound. The same content with the same
// mapping is the same data set, which keeps its first name. On an error nothing is kept:
// Faults and others wrap ErrInvalid, and ErrMapping, ErrTooLarge or store.ErrFull say
// what they say. A format of "" goes by the name.
func (s *Store) Put(ctx context.Context, name string, format table.Format, r io.Reader, m Mapping) (d Dataset, err error) {
	d, f, err := s.takeIn(ctx, name, format, r, m)
	if err != nil {
		return Dataset{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return s.keep(ctx, d, f)
}

func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes || checkText(name) != nil {
		return fmt.Errorf("%w: a data set's name is a text of 1 to %d bytes", ErrMapping, maxNameBytes)
	}
	return nil
}

// again reads a data set's file anew.
func (s *Store) again(ctx context.Context, id string, use func(d Dataset, file io.Reader) error) error {
	d, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	blob, err := s.state.OpenBlob(ctx, d.Content)
	if err != nil {
		return err
	}
	return errors.Join(use(d, blob), blob.Close())
}

// look reads a file once, to its end.
func (s *Store) look(ctx context.Context, in Input, m Mapping) (Mapping, Report, error) {
	reader, err := Open(in, m, s.o.Limits)
	if err != nil {
		return Mapping{}, Report{}, err
	}
	survey := NewSurvey()
	for row, err := range reader.Rows(ctx) {
		if err != nil {
			return Mapping{}, Report{}, err
		}
		survey.Add(row)
	}
	report := survey.Report()
	report.Dropped = reader.Dropped()
	return reader.Mapping(), report, nil
}

// digest is the data set's id.
func (d *Dataset) digest() (string, error) {
	text, err := json.Marshal(struct {
		Content string       `json:"content"`
		Format  table.Format `json:"format"`
		Mapping Mapping      `json:"mapping"`
	}{d.Content, d.Format, d.Mapping}, json.Deterministic(true))
	if err != nil {
		return "", fmt.Errorf("datasets: %w", err)
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// holder names a data set where it holds its blob.
func holder(id string) string { return holderPrefix + id }

const holderPrefix = "dataset:"

// keep stores the file and then the row. In between it is only the holder that tells of
// them, for sweep.
func (s *Store) keep(ctx context.Context, d Dataset, f *os.File) (Dataset, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Dataset{}, fmt.Errorf("datasets: %w", err)
	}
	if _, _, err := s.state.PutBlob(ctx, holder(d.ID), f); err != nil {
		return Dataset{}, errors.Join(err, s.release(context.WithoutCancel(ctx), d.ID))
	}
	err := s.state.Change(ctx, func(t *store.Tx) error {
		err := t.HoldBlob(ctx, holder(d.ID), d.Content)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%w: the file was removed before all was kept, for the same data set was deleted meanwhile", store.ErrBusy)
		}
		if err != nil {
			return err
		}
		if err := d.insert(ctx, t.SQL()); err != nil {
			return err
		}
		d, err = find(ctx, t.SQL(), d.ID)
		return err
	})
	if err != nil {
		return Dataset{}, errors.Join(err, s.release(context.WithoutCancel(ctx), d.ID))
	}
	return d, nil
}

// release lets go the blob of a data set that is not there.
func (s *Store) release(ctx context.Context, id string) error {
	return s.state.Change(ctx, func(t *store.Tx) error {
		_, err := find(ctx, t.SQL(), id)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return t.ReleaseBlobs(ctx, holder(id))
	})
}

func (s *Store) sweep(ctx context.Context) error {
	holders, err := s.holders(ctx)
	if err != nil {
		return err
	}
	for _, h := range holders {
		if err := s.release(ctx, strings.TrimPrefix(h, holderPrefix)); err != nil {
			return err
		}
	}
	return nil
}

// Rows gives the rows of a data set, reading the file again. It ends with an error
// wrapping store.ErrNotFound where there is none. A file that was damaged in the store is
// found out at its end: rows are not to be used before that.
func (s *Store) Rows(ctx context.Context, id string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := s.read(ctx, id, func(r Row) bool { return yield(r, nil) }); err != nil {
			yield(Row{}, err)
		}
	}
}

func (s *Store) read(ctx context.Context, id string, use func(Row) bool) error {
	if d, file := s.draft(id); file != nil {
		return s.rows(ctx, d, file, use)
	}
	return s.again(ctx, id, func(d Dataset, file io.Reader) error {
		if d.Format != table.Parquet {
			return s.rows(ctx, d, file, use)
		}
		f, _, _, err := spool(ctx, s.o.TempDir, file, d.Bytes)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		return s.rows(ctx, d, f, use)
	})
}

func (s *Store) rows(ctx context.Context, d Dataset, file io.Reader, use func(Row) bool) error {
	// What is stored was within the limits of its time.
	limits := Limits{Rows: d.Report.Rows + d.Report.Dropped.Empty + d.Report.Dropped.Unmapped, Faults: s.o.Faults}
	reader, err := Open(Input{d.Name, d.Format, file}, d.Mapping, limits)
	if err != nil {
		return err
	}
	return reader.each(ctx, use)
}
