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
	out, err := a.answer(r.Context(), req, r.Header.Get(middleware.HubTokenHeader))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, out)
}

// answer asks the engine. No lease outlives it, so that a slow client keeps nothing in
// memory.
func (a *api) answer(ctx context.Context, req *sentimentRequest, token string) (sentimentResponse, error) {
	c := &call{api: a, req: req}
	defer c.release()
	if err := c.run(ctx, req.rows(token)); err != nil {
		return sentimentResponse{}, err
	}
	return c.response(), nil
}

// call is one request to score texts on its way.
type call struct {
	*api
	req     *sentimentRequest
	leased  []leased // one for each distinct query
	place   map[string]int
	results []result
	faults  []rowFault
}

// run answers the rows. The error is for the call as a whole.
func (c *call) run(ctx context.Context, rows []textRow) error {
	c.lease(ctx, rows)
	if rows = c.answerable(rows); len(rows) > 0 {
		outcomes, err := c.Engine.Predict(ctx, c.questions(rows))
		if err != nil {
			return err
		}
		for _, row := range rows {
			n := len(row.asked)
			c.scatter(ctx, row, outcomes[:n])
			outcomes = outcomes[n:]
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

// answerable are the rows whose adapters are all there. The others become faults: a
// row is never answered by less than it asks for.
func (c *call) answerable(rows []textRow) []textRow {
	var kept []textRow
	for _, row := range rows {
		i := slices.IndexFunc(row.asked, func(a asked) bool { return c.of(a).err != nil })
		if i < 0 {
			kept = append(kept, row)
			continue
		}
		missing := row.asked[i]
		c.faults = append(c.faults, rowFault{row.index, missing.at, missing.blame(c.of(missing).err)})
	}
	return kept
}

// questions are what the engine is asked: of each row one, or one for each member of
// the jury.
func (c *call) questions(rows []textRow) []engine.Request {
	var out []engine.Request
	for _, row := range rows {
		for _, a := range row.asked {
			out = append(out, c.req.question(row.text, c.of(a).lease.Task))
		}
	}
	return out
}

// scatter files the outcomes of one row.
func (c *call) scatter(ctx context.Context, row textRow, outcomes []engine.Outcome) {
	results := make([]engine.Result, len(outcomes))
	entries := make([]*adapters.Entry, len(outcomes))
	for i, o := range outcomes {
		middleware.Stage(ctx, "tokenize", o.Timings.Tokenize)
		middleware.Stage(ctx, "queue", o.Timings.Queue)
		middleware.Stage(ctx, "infer", o.Timings.Infer)
		if o.Err != nil {
			c.faults = append(c.faults, rowFault{row.index, faultPointer(row, o.Err), row.asked[i].blame(o.Err)})
			return
		}
		results[i], entries[i] = o.Result, c.of(row.asked[i]).lease.Entry
	}
	if c.req.Jury == nil {
		c.results = append(c.results, c.req.result(row.index, entries[0], results[0]))
		return
	}
	out, err := c.req.verdict(row.index, entries, results)
	if err != nil {
		c.faults = append(c.faults, rowFault{row.index, "/jury", err})
		return
	}
	c.results = append(c.results, out)
}

// faultPointer is where the body is at fault for what the engine says of a row.
func faultPointer(row textRow, err error) string {
	switch {
	case errors.Is(err, engine.ErrUnknownLabel):
		return "/labels"
	case errors.Is(err, engine.ErrInvalidRequest):
		return ""
	default:
		return row.atText
	}
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
