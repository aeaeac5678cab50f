package bench

import "context"

// asker measures. What it has given to the question before an error stays.
type asker func(ctx context.Context, r *run, q *Question) error

// questions makes all questions, with their bars, in the order in which they are asked.
func questions() []func() (*Question, asker) {
	return []func() (*Question, asker){
		latencyQuestion, adaptersQuestion, rooflineQuestion, precisionQuestion, trainingQuestion,
		httpQuestion, coldQuestion, startQuestion, memoryQuestion,
	}
}

// Names are those of all questions.
func Names() []string {
	var out []string
	for _, make := range questions() {
		q, _ := make()
		out = append(out, q.Name)
	}
	return out
}
