package bench

import (
	"context"

	"valence/runtime/torch"
)

// asker measures. What it has given to the question before an error stays.
type asker func(ctx context.Context, r *run, q *Question) error

// questions makes all questions, with their bars, in the order in which they are asked.
// Those that make no sense on a device have nobody to ask them.
func questions(d torch.Device) []func() (*Question, asker) {
	return []func() (*Question, asker){
		func() (*Question, asker) { return latencyQuestion(d) },
		adaptersQuestion,
		func() (*Question, asker) { return rooflineQuestion(d) },
		func() (*Question, asker) { return onCPU(d, precisionQuestion) },
		trainingQuestion, httpQuestion, coldQuestion, startQuestion,
		func() (*Question, asker) { return onCPU(d, memoryQuestion) },
	}
}

// onCPU is a question about the types that weights are packed in.
func onCPU(d torch.Device, make func() (*Question, asker)) (*Question, asker) {
	q, ask := make()
	if d.IsCUDA() {
		ask = nil
	}
	return q, ask
}

// Names are those of all questions.
func Names() []string {
	var out []string
	for _, make := range questions(torch.CPU) {
		q, _ := make()
		out = append(out, q.Name)
	}
	return out
}
