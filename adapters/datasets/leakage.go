package datasets

import "iter"

// Leakage tells which rows of a validation set are in the training set, too: what is
// measured on them is memory.
type Leakage struct {
	Rows  int    `json:"rows"`            // of the validation set
	First []Leak `json:"first,omitempty"` // of them
}

// Leak is a row of the validation set and the first one of the training set with the
// same text, but for case, space and punctuation.
type Leak struct {
	Validation int  `json:"validation"`
	Training   int  `json:"training"`
	SameLabel  bool `json:"same_label"`
}

// FindLeakage compares two sets. Of the training set it keeps some forty bytes a text.
// The error is the one that the rows end with.
func FindLeakage(training, validation iter.Seq2[Row, error]) (Leakage, error) {
	var f folder
	type source struct {
		row   int32
		label int32
	}
	seen, labels := map[fingerprint]source{}, map[string]int32{}
	for row, err := range training {
		if err != nil {
			return Leakage{}, err
		}
		label, ok := labels[row.Label]
		if !ok {
			label = int32(len(labels))
			labels[row.Label] = label
		}
		if p := f.fingerprint(row.Text); seen[p] == (source{}) {
			seen[p] = source{int32(row.Row), label}
		}
	}
	var out Leakage
	for row, err := range validation {
		if err != nil {
			return Leakage{}, err
		}
		first, ok := seen[f.fingerprint(row.Text)]
		if !ok {
			continue
		}
		out.Rows++
		if label, known := labels[row.Label]; len(out.First) < maxPairs {
			out.First = append(out.First, Leak{row.Row, int(first.row), known && label == first.label})
		}
	}
	return out, nil
}
