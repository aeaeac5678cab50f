package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"valence/adapters"
)

// query reads the query parameters of a request and gathers their faults.
type query struct {
	values url.Values
	faults []fieldError
}

// queryOf takes the parameters that a route allows, each at most once: a name that is
// misspelt would otherwise count as absent. The error wraps errInvalid.
func queryOf(r *http.Request, allowed ...string) (*query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("", "invalid", "the query of the URL cannot be read: %v", err)
	}
	q := &query{values: values}
	for name, given := range values {
		if !slices.Contains(allowed, name) {
			q.fault(name, "unknown_field", "there is no such parameter; allowed are %s", strings.Join(allowed, ", "))
		} else if len(given) > 1 {
			q.fault(name, "duplicate", "must be given once")
		}
	}
	return q, q.err()
}

func (q *query) fault(name, code, format string, args ...any) {
	q.faults = append(q.faults, fieldError{Parameter: name, Code: code, Detail: fmt.Sprintf(format, args...)})
}

// err is an *invalidError with every fault so far, or nil.
func (q *query) err() error {
	if len(q.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(q.faults, func(a, b fieldError) int { return strings.Compare(a.Parameter, b.Parameter) })
	return &invalidError{q.faults}
}

// limit is that of a page: from 1 to most, or def where it is absent.
func (q *query) limit(def, most int) int {
	const name = "limit"
	if !q.values.Has(name) {
		return def
	}
	n, err := strconv.Atoi(q.values.Get(name))
	if err != nil || n < 1 || n > most {
		q.fault(name, "out_of_range", "must be a whole number from 1 to %d", most)
		return def
	}
	return n
}

// flag is "true" or "false", or def where it is absent.
func (q *query) flag(name string, def bool) bool {
	switch s := q.values.Get(name); {
	case !q.values.Has(name):
		return def
	case s == "true":
		return true
	case s != "false":
		q.fault(name, "not_allowed", "must be true or false")
	}
	return false
}

// id is an adapter's id without a revision, or "" where it is absent.
func (q *query) id(name string) string {
	if !q.values.Has(name) {
		return ""
	}
	ref, err := adapters.ParseID(q.values.Get(name))
	switch {
	case err != nil:
		q.fault(name, codeID, "%s", detail(err))
	case ref.Revision != "":
		q.fault(name, codeID, "must be an id without %q", "@"+ref.Revision)
	}
	return ref.ID
}
