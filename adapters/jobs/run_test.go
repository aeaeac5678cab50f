package jobs

import (
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

func TestUndisturbed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{pace: 10 * time.Millisecond, evaluate: true})
		job := f.submit(t, small())
		done := f.succeeds(t, job.ID)
		states, _, _, recoveries := f.story(t, job.ID)
		equal(t, "states", states, []State{Queued, Validating, Running, Evaluating, Publishing, Succeeded})
		equal(t, "recoveries", recoveries, "[]")
		equal(t, "plan", done.Plan, `{"steps":24}`)
		equal(t, "metrics", done.Metrics, `{"accuracy":1}`)
		if done.Progress.Step != 24 || done.Started.Before(done.Created) || done.Finished.Before(done.Started) {
			t.Errorf("%+v", done)
		}
	})
}
