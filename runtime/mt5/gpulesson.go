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
	m, l := st.m, st.plan.length
	var keys []uint64
	for _, row := range st.lesson.Rows {
		keys = append(keys, row.Key)
	}
	return &torch.GPUTask{
		IDs: slices.Concat(st.in.texts...), Lengths: st.in.lengths, Next: st.plan.ids(m.config.StartID), Length: l, Rows: st.rows,
		Vectors: st.vectors, Columns: st.layout.places(), Learns: st.learn, Dropout: st.lesson.Dropout, Keys: keys,
		EncoderDistances: m.encoder.bias.byDistance(s, st.in.length), DecoderDistances: m.decoder.bias.byDistance(s, l),
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
