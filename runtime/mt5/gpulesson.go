package mt5

import (
	"slices"

	"valence/runtime/torch"
)

// forwardOnGPU is forward by the GPU's own kernels, a layer in each turn.
func (st *study) forwardOnGPU() (*value, error) {
	if err := st.begin(); err != nil {
		return nil, err
	}
	left := 1
	st.states = &value{live: st.learn}
	for first := true; left > 0; first = false {
		err := st.turn(func(s *torch.Scope) error {
			if first {
				st.gpu = s.GiveLesson(st.own, s.Lesson(st.m.gpu, st.task(s)))
			}
			if left = s.There(st.gpu); left == 0 {
				st.states.t = st.keep(s, s.LessonStates(st.gpu))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return st.states, nil
}

func (st *study) task(s *torch.Scope) *torch.GPUTask {
	t := st.m.task(s, st.in, st.plan)
	t.Vectors, t.Columns, t.Learns, t.Dropout = st.vectors, st.layout.places(), st.learn, st.lesson.Dropout
	for _, row := range st.lesson.Rows {
		t.Keys = append(t.Keys, row.Key)
	}
	return t
}

// task is a batch and what a plan has the decoder read, without vectors.
func (m *Model) task(s *torch.Scope, in inputs, plan *plan) *torch.GPUTask {
	return &torch.GPUTask{
		IDs: slices.Concat(in.texts...), Lengths: in.lengths, Next: plan.ids(m.config.StartID), Length: plan.length, Rows: plan.rows(int(in.rows)),
		EncoderDistances: m.encoder.bias.byDistance(s, in.length), DecoderDistances: m.decoder.bias.byDistance(s, plan.length),
	}
}

// backOnGPU is the way back along the slope of the states.
func (st *study) backOnGPU() error {
	left := 1
	for first := true; left > 0; first = false {
		err := st.turn(func(s *torch.Scope) error {
			if first {
				s.Along(st.gpu, st.states.slope, st.taught)
			}
			if left = s.Back(st.gpu); left == 0 {
				st.m.noteUnrecorded()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
