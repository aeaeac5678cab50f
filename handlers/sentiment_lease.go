package handlers

import (
	"context"
	"runtime/debug"
	"sync"

	"valence/adapters"
	"valence/handlers/middleware"
)

// leasesAtOnce bounds the leases of one request that are asked for side by side. Each
// may wait for a read, a pull and a self-test, whose rows then share batches.
const leasesAtOnce = 8

// leased is what became of one query.
type leased struct {
	lease *adapters.Lease
	err   error
}

// lease asks once for each distinct query of the rows, so that all rows with one query
// are answered by one version.
func (c *call) lease(ctx context.Context, rows []textRow) {
	c.place = make(map[string]int)
	var queries []adapters.Query
	for _, row := range rows {
		for _, a := range row.asked {
			if _, ok := c.place[a.key]; !ok {
				c.place[a.key] = len(queries)
				queries = append(queries, a.query)
			}
		}
	}
	c.leased = make([]leased, len(queries))
	slots := make(chan struct{}, leasesAtOnce)
	var wg sync.WaitGroup
	for i, q := range queries {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c.leased[i] = c.leaseOne(ctx, q)
		})
	}
	wg.Wait()
}

// leaseOne turns a panic into an error, which middleware.Recover cannot do on another
// goroutine than the request's.
func (c *call) leaseOne(ctx context.Context, q adapters.Query) (out leased) {
	defer func() {
		if v := recover(); v != nil {
			out = leased{err: &middleware.PanicError{Value: v, Stack: debug.Stack()}}
		}
	}()
	out.lease, out.err = c.Adapters.Lease(ctx, q)
	return out
}

// of is what became of the query.
func (c *call) of(a asked) leased { return c.leased[c.place[a.key]] }

func (c *call) release() {
	for _, l := range c.leased {
		if l.lease != nil {
			l.lease.Release()
		}
	}
}
