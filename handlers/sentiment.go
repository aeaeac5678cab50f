package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"valence/adapters"
	"valence/handlers/middleware"
	"valence/runtime/engine"
)

// sentiment answers POST /v1/sentiment. Rows fail alone: the answer is 200 if at
// least one row has a result, and a problem if none has.
func (a *api) sentiment(w http.ResponseWriter, r *http.Request) {
	req, err := a.decodeSentiment(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	c := &call{api: a, req: req}
	if err := c.run(r.Context()); err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, c.response())
}

// call is one request to score texts on its way.
type call struct {
	*api
	req     *sentimentRequest
	results []result
	faults  []rowFault
}

// run answers the rows. The error is for the call as a whole.
func (c *call) run(ctx context.Context) error {
	rows, entries := c.lookup(ctx, c.req.rows())
	if len(rows) > 0 {
		questions := make([]engine.Request, len(rows))
		for i, row := range rows {
			questions[i] = c.req.question(row.text, entries[i].Task)
		}
		outcomes, err := c.Engine.Predict(ctx, questions)
		if err != nil {
			return err
		}
		for i, o := range outcomes {
			c.scatter(ctx, rows[i], entries[i], o)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	slices.SortFunc(c.faults, func(a, b rowFault) int { return cmp.Compare(a.index, b.index) })
	if len(c.results) == 0 {
		return &noAnswerError{c.faults}
	}
	c.logFaults(ctx)
	return nil
}

// lookup finds each row's adapter. Rows without one become faults and are left
// out of the answer.
func (c *call) lookup(ctx context.Context, rows []textRow) ([]textRow, []*adapters.Entry) {
	type found struct {
		entry *adapters.Entry
		err   error
	}
	known := make(map[string]found)
	var (
		kept    []textRow
		entries []*adapters.Entry
	)
	for _, row := range rows {
		f, ok := known[row.adapter]
		if !ok {
			f.entry, f.err = c.Adapters.Lookup(ctx, row.adapter)
			known[row.adapter] = f
		}
		if f.err != nil {
			c.faults = append(c.faults, rowFault{row.index, row.atAdapter, f.err})
			continue
		}
		kept, entries = append(kept, row), append(entries, f.entry)
	}
	return kept, entries
}

// scatter files the outcome of one row.
func (c *call) scatter(ctx context.Context, row textRow, entry *adapters.Entry, o engine.Outcome) {
	middleware.Stage(ctx, "tokenize", o.Timings.Tokenize)
	middleware.Stage(ctx, "queue", o.Timings.Queue)
	middleware.Stage(ctx, "infer", o.Timings.Infer)
	if o.Err == nil {
		c.results = append(c.results, c.req.result(row.index, entry, o.Result))
		return
	}
	pointer := row.atText
	switch {
	case errors.Is(o.Err, engine.ErrUnknownLabel):
		pointer = "/labels"
	case errors.Is(o.Err, engine.ErrInvalidRequest):
		pointer = ""
	}
	c.faults = append(c.faults, rowFault{row.index, pointer, o.Err})
}

// logFaults logs rows that failed by a fault of ours beside rows that did not.
func (c *call) logFaults(ctx context.Context) {
	log := c.Log.With("request_id", middleware.RequestIDFrom(ctx))
	for _, f := range c.faults {
		if status, _ := classify(f.err); status == http.StatusInternalServerError {
			logInternal(log, f.err)
		}
	}
}
