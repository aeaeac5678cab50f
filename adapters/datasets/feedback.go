package datasets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/store"
)

// Feedback is what a caller says is right: the label of a text.
type Feedback struct {
	ID        string    `json:"id"`     // of adapter, text and label: the same again is the same feedback
	Number    int64     `json:"number"` // rises from one to the next
	Created   time.Time `json:"created"`
	Adapter   string    `json:"adapter"`
	Version   string    `json:"version,omitempty"` // that answered, if known
	Text      string    `json:"text"`
	Label     string    `json:"label"`
	Predicted string    `json:"predicted,omitempty"` // the label that was answered, if known
	Source    string    `json:"source,omitempty"`    // who says so, as the caller wishes
}

func (f *Feedback) check() error {
	ref, err := adapters.ParseID(f.Adapter)
	if err != nil {
		return err
	}
	if ref.Revision != "" {
		return fmt.Errorf("%w: adapter: feedback is for %q, without a revision; version says what answered", ErrInvalid, ref.ID)
	}
	if err := checkLabel(f.Label); err != nil {
		return fmt.Errorf("%w: label: %w", ErrInvalid, err)
	}
	if strings.TrimSpace(f.Text) == "" {
		return fmt.Errorf("%w: text: it is empty", ErrInvalid)
	}
	for _, field := range []struct {
		name, value string
		most        int
	}{
		{"text", f.Text, maxRowBytes}, {"version", f.Version, maxNameBytes}, {"predicted", f.Predicted, maxLabelBytes}, {"source", f.Source, maxNameBytes},
	} {
		if len(field.value) > field.most {
			return fmt.Errorf("%w: %s: it has %d bytes; at most %d are allowed", ErrInvalid, field.name, len(field.value), field.most)
		}
		if err := checkText(field.value); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, field.name, err)
		}
	}
	return nil
}

// identify sets the id.
func (f *Feedback) identify() error {
	f.Label = strings.TrimSpace(f.Label)
	text, err := json.Marshal([]string{f.Adapter, f.Text, f.Label})
	if err != nil {
		return fmt.Errorf("datasets: %w", err)
	}
	sum := sha256.Sum256(text)
	f.ID = hex.EncodeToString(sum[:16])
	return nil
}

const feedbackColumns = "id, number, adapter, version, text, label, predicted, source"

func scanFeedback(row scanner) (f Feedback, err error) {
	err = row.Scan(&f.ID, &f.Number, &f.Adapter, &f.Version, &f.Text, &f.Label, &f.Predicted, &f.Source)
	f.Created = time.UnixMicro(f.Number).UTC()
	return f, err
}

// AddFeedback keeps feedback; of ID, Number and Created, which it sets, nothing is
// needed. The same text and label again changes nothing and gives what is there. Errors
// wrap ErrInvalid or adapters.ErrID.
func (s *Store) AddFeedback(ctx context.Context, f Feedback) (kept Feedback, err error) {
	if err := f.check(); err != nil {
		return Feedback{}, err
	}
	if err := f.identify(); err != nil {
		return Feedback{}, err
	}
	err = s.state.Change(ctx, func(t *store.Tx) error {
		// Changes come one after the other, so that who has read up to a number misses nothing.
		if _, err := t.SQL().ExecContext(ctx, `
			INSERT INTO feedback (`+feedbackColumns+`)
			SELECT $1, CASE WHEN COALESCE(MAX(number), 0) < $2 THEN $2 ELSE MAX(number) + 1 END, $3, $4, $5, $6, $7, $8 FROM feedback WHERE TRUE
			ON CONFLICT (id) DO NOTHING`,
			f.ID, time.Now().UnixMicro(), f.Adapter, f.Version, f.Text, f.Label, f.Predicted, f.Source); err != nil {
			return err
		}
		kept, err = scanFeedback(t.SQL().QueryRowContext(ctx, "SELECT "+feedbackColumns+" FROM feedback WHERE id = $1", f.ID))
		return err
	})
	return kept, err
}

// ListFeedback gives at most limit feedbacks of an adapter, or of all for "", after a
// number, in order.
func (s *Store) ListFeedback(ctx context.Context, adapter string, after int64, limit int) ([]Feedback, error) {
	return all(ctx, s.state, scanFeedback, "SELECT "+feedbackColumns+` FROM feedback
		WHERE number > $1 AND ($2 = '' OR adapter = $2) ORDER BY number LIMIT $3`, after, adapter, limit)
}

// DeleteFeedback removes one. store.ErrNotFound is wrapped if there is none.
func (s *Store) DeleteFeedback(ctx context.Context, id string) error {
	return s.state.Change(ctx, func(t *store.Tx) error {
		result, err := t.SQL().ExecContext(ctx, "DELETE FROM feedback WHERE id = $1", id)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: feedback %q", store.ErrNotFound, id)
		}
		return err
	})
}

// feedbackPage is how many feedbacks are read at once.
const feedbackPage = 500

// FeedbackRows gives the feedback of an adapter to train on, in order, numbered from 1.
func (s *Store) FeedbackRows(ctx context.Context, adapter string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		after, row := int64(0), 0
		for {
			page, err := s.ListFeedback(ctx, adapter, after, feedbackPage)
			if err != nil {
				yield(Row{}, err)
				return
			}
			for _, f := range page {
				row++
				if !yield(Row{row, f.Text, f.Label}, nil) {
					return
				}
				after = f.Number
			}
			if len(page) < feedbackPage {
				return
			}
		}
	}
}
