package spec

// Choice asks which token the decoder writes after its start token and Prefix:
// Truth, out of Among or, where Among is nil, out of the whole vocabulary.
type Choice struct {
	Prefix []int32
	Among  []int32 // token ids, at least two
	Truth  int     // index into Among, or a token id where Among is nil
	Weight float32 // of the choice's loss in what gradients are taken of
}

// LessonRow is one text and what is asked about it.
type LessonRow struct {
	IDs     []int32 // token ids with the end marker, not padded
	Run     int     // number of the vectors that the row is read with
	Choices []Choice
	Key     uint64 // chooses what dropout drops in this row
}

// Lesson is rows that run together, each with the vectors of its run.
type Lesson struct {
	Sites   []Site      // of every run's vectors
	Vectors [][]float32 // of each run: the sites' vectors one after another
	Rows    []LessonRow
	Dropout float64 // rate; 0 drops nothing
}

// Verdict is what the model thinks of one choice.
type Verdict struct {
	Loss     float32   // -log(probability of the truth)
	Best     int       // most probable of Among, or token id
	LogProbs []float32 // of Among; nil for the whole vocabulary
}

// Gradient is what a lesson taught.
type Gradient struct {
	// Losses are those of each row's choices, unweighted.
	Losses [][]float32
	// Runs are, for each run, the gradient of the weighted sum of its rows' losses
	// with respect to its vectors; nil for a run without rows.
	Runs [][]float32
	// Broken lists the rows whose part of a gradient is not finite.
	Broken []int
}
