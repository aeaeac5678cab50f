package torch

// #include "gpulesson.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// GPUTask is texts that go through a GPU's model, each with vectors of its own, and sequences
// that the decoder reads meanwhile.
type GPUTask struct {
	IDs     []int32 // of the texts, end to end
	Lengths []int64
	Next    []int64    // [sequences, Length]
	Length  int64      // of each sequence
	Rows    []int64    // text that each sequence looks at, or nil where sequence i looks at text i
	Vectors Tensor     // [texts, width] float32
	Columns [][2]int64 // of the vectors, as for Place

	EncoderDistances, DecoderDistances Tensor // for the longest text and sequence

	Learns  bool     // whether there will be a way back; then there are no Rows
	Dropout float64  // the part of the elements that Dropout would drop, or 0; only where there is a way back
	Keys    []uint64 // of the texts, for dropout
}

// GPULesson is a task on its way, layer by layer. It belongs to the Scope that made it, and
// its GPU must outlive it.
type GPULesson struct{ c C.vl_gpu_lesson }

// Defined tells whether there is one.
func (l GPULesson) Defined() bool { return l.c != nil }

// Lesson lays a task out on the scope's device.
func (s *Scope) Lesson(g GPU, t *GPUTask) GPULesson {
	if !s.ok(t.Vectors, t.EncoderDistances, t.DecoderDistances) {
		return GPULesson{}
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	columns := (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(t.Columns)))
	c := C.vl_gpu_task{
		ids: (*C.int32_t)(unsafe.SliceData(t.IDs)), lengths: sizes(t.Lengths), texts: C.int(len(t.Lengths)),
		next: sizes(t.Next), sequences: C.int(int64(len(t.Next)) / t.Length), length: C.int64_t(t.Length), rows: sizes(t.Rows),
		vectors: handle(t.Vectors), columns: columns, projections: C.int(len(t.Columns)),
		encoder_distances: handle(t.EncoderDistances), decoder_distances: handle(t.DecoderDistances), learns: C.int(boolInt(t.Learns)),
		dropout: C.double(t.Dropout), keys: (*C.uint64_t)(unsafe.SliceData(t.Keys)),
	}
	for _, p := range []unsafe.Pointer{unsafe.Pointer(c.ids), unsafe.Pointer(c.lengths), unsafe.Pointer(c.next), unsafe.Pointer(c.rows), unsafe.Pointer(columns), unsafe.Pointer(c.keys)} {
		if p != nil {
			pin.Pin(p)
		}
	}
	l := GPULesson{C.vl_gpu_lesson_new(g.c, &c)}
	if l.c == nil {
		s.done("lesson", true)
		return GPULesson{}
	}
	s.lessons = append(s.lessons, l)
	s.thread.live.Add(1)
	return l
}

// GiveLesson is Give for a lesson.
func (s *Scope) GiveLesson(to *Scope, l GPULesson) GPULesson {
	return give(&s.lessons, &to.lessons, l)
}

// There queues a lesson's next layer, of the encoder and then of the decoder, and gives how
// many are left.
func (s *Scope) There(l GPULesson) int {
	if s.err != nil {
		return 0
	}
	left := int(C.vl_gpu_lesson_there(l.c))
	s.done("lesson", left < 0)
	return left
}

// LessonStates are the decoder's after its last norm: [sequences * length, D].
func (s *Scope) LessonStates(l GPULesson) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_gpu_lesson_states(l.c)))
}

// Along begins the way back, along a gradient of the states. Those of the vectors are written
// to taught [texts, width] float32 as the layers come.
func (s *Scope) Along(l GPULesson, slope, taught Tensor) {
	if s.ok(slope, taught) {
		s.done("lesson", C.vl_gpu_lesson_along(l.c, handle(slope), handle(taught)) != 0)
	}
}

// Back queues the way back through the last layer that is left, and gives how many there are
// still.
func (s *Scope) Back(l GPULesson) int {
	if s.err != nil {
		return 0
	}
	left := int(C.vl_gpu_lesson_back(l.c))
	s.done("lesson", left < 0)
	return left
}

// LessonRecords is how many forms of lessons are recorded.
func (g GPU) LessonRecords() int { return int(C.vl_gpu_lesson_records(g.c)) }

func (s *Scope) freeLessons() {
	for _, l := range s.lessons {
		C.vl_gpu_lesson_free(l.c)
		s.thread.live.Add(-1)
	}
	s.lessons = nil
}
