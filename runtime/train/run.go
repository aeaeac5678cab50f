package train

import (
	"math"
	"slices"
	"sync/atomic"

	"valence/runtime/mt5/spec"
)

// run is one of the runs that train together.
type run struct {
	number int
	seed   uint64
	rate   float64
	fold   int // -1 where there are none
	part

	live   atomic.Pointer[spec.Vectors] // of the last step; never changed, only replaced
	adam   adamW
	step   int // steps taken
	steps  int // in all
	ended  Kind
	failed *Failure

	lossSum float64 // of this epoch's steps
	losses  int
	epochs  []Epoch
	kept    kept
	waiting int // epochs since kept got better
}

// kept are the vectors that a run gives, with their evaluation.
type kept struct {
	epoch   int // 0 before any
	vectors *spec.Vectors
	rows    []judged
}

func (r *run) active() bool { return r.ended == "" }

// perEpoch is the number of steps of one epoch.
func (r *run) perEpoch(batch int) int { return (len(r.train) + batch - 1) / batch }

// batch is the rows of the next step.
func (r *run) batch(recipe *Recipe) []int {
	per := r.perEpoch(recipe.BatchSize)
	order := r.train
	if !recipe.KeepOrder {
		order = slices.Clone(order)
		source(r.seed, streamOrder+streams*uint64(r.step/per)).Shuffle(len(order), func(i, j int) {
			order[i], order[j] = order[j], order[i]
		})
	}
	from := r.step % per * recipe.BatchSize
	return order[from:min(from+recipe.BatchSize, len(order))]
}

// end finishes the run after an epoch or a failure.
func (r *run) end(kind Kind) {
	r.ended = kind
	r.adam = adamW{}
}

// fail ends the run where it stood before the step.
func (r *run) fail(f *Failure) {
	r.failed = f
	r.end(Failed)
}

// result is what the run gives: what it kept, or where it stands.
func (r *run) result() *spec.Vectors {
	if r.kept.vectors != nil && r.failed == nil {
		return r.kept.vectors
	}
	return r.live.Load()
}

// better tells whether an epoch's loss is below that of the one kept.
func (r *run) better(e *Epoch) bool {
	return r.kept.epoch == 0 || e.ValidationLoss < r.epochs[r.kept.epoch-1].ValidationLoss
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
