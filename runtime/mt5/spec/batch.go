package spec

// Batch is rows that run together. Row i reads IDs[i] with the vectors of
// Adapters[i].
type Batch struct {
	IDs      [][]int32  // token ids with the end marker, not padded; none may be empty
	Adapters []*Vectors // nil means the base as it is
}

// Probe asks what the decoder of one row would write next: the logits of the
// tokens Next, after it has read its start token and Prefix.
type Probe struct {
	Row    int
	Prefix []int32
	Next   []int32
}
