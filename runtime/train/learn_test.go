package train

import (
	"testing"

	"valence/runtime/mt5/spec"
)

// TestMicroBatches cuts texts of many lengths: none is lost, no part but that of a single
// text is over the bound, and where the bound is well above a text there are as few parts as
// can be, or one more, of much the same size.
func TestMicroBatches(t *testing.T) {
	for _, most := range []int{1, 64, 200, 512, 1 << 20} {
		tr := &Trainer{job: Job{Recipe: Recipe{MicroTokens: most}}}
		var pupils []pupil
		for i := range 100 {
			pupils = append(pupils, pupil{row: i, LessonRow: spec.LessonRow{IDs: make([]int32, 1+i*i%97)}})
		}
		all, longest := cost(pupils), 97
		parts := tr.microBatches(pupils)
		seen := map[int]bool{}
		least, largest := all, 0
		for _, part := range parts {
			if n := cost(part); n > most && len(part) > 1 {
				t.Errorf("at most %d: %d texts of %d tokens", most, len(part), n)
			}
			least, largest = min(least, cost(part)), max(largest, cost(part))
			for _, p := range part {
				seen[p.row] = true
			}
		}
		if len(seen) != 100 {
			t.Errorf("at most %d: %d texts of 100", most, len(seen))
		}
		if few := (all + most - 1) / most; most > 4*longest && (len(parts) > few+1 || largest-least > 2*longest) {
			t.Errorf("at most %d of %d: %d parts of %d to %d", most, all, len(parts), least, largest)
		}
	}
}
