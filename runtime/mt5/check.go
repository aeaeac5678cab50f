package mt5

import (
	"errors"
	"fmt"

	"valence/runtime/mt5/spec"
)

// ErrBatch is wrapped by errors about a batch that the model cannot run.
var ErrBatch = errors.New("mt5: batch")

// check looks at everything that would be undefined behaviour on the device.
func (m *Model) check(b *spec.Batch) error {
	if len(b.IDs) == 0 {
		return fmt.Errorf("%w: no rows", ErrBatch)
	}
	if len(b.Adapters) != len(b.IDs) {
		return fmt.Errorf("%w: %d rows and %d adapters", ErrBatch, len(b.IDs), len(b.Adapters))
	}
	for i, row := range b.IDs {
		if len(row) == 0 {
			return fmt.Errorf("%w: row %d has no tokens", ErrBatch, i)
		}
		if err := m.checkIDs(row); err != nil {
			return fmt.Errorf("%w: row %d: %w", ErrBatch, i, err)
		}
	}
	return nil
}

func (m *Model) checkIDs(ids []int32) error {
	for _, id := range ids {
		if id < 0 || int(id) >= m.config.VocabSize {
			return fmt.Errorf("token id %d is outside the vocabulary of %d", id, m.config.VocabSize)
		}
	}
	return nil
}
