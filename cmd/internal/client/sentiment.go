package client

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Mix names what answers a text: one adapter, or several blended by weights that sum
// to 1. The empty Mix leaves the choice to the server: the base.
type Mix []Part

// Part is one adapter's share of a Mix.
type Part struct {
	Ref    string // an id with an optional "@revision"
	Weight float64
}

// One is the adapter as it is.
func One(ref string) Mix { return Mix{{ref, 1}} }

// MarshalJSONTo writes the reference of a single adapter, else an object of weights in
// the order of the parts.
func (m Mix) MarshalJSONTo(enc *jsontext.Encoder) error {
	if len(m) == 1 && m[0].Weight == 1 {
		return enc.WriteToken(jsontext.String(m[0].Ref))
	}
	tokens := []jsontext.Token{jsontext.BeginObject}
	for _, p := range m {
		tokens = append(tokens, jsontext.String(p.Ref), jsontext.Float(p.Weight))
	}
	for _, t := range append(tokens, jsontext.EndObject) {
		if err := enc.WriteToken(t); err != nil {
			return err
		}
	}
	return nil
}

// Input is one text of a Request.
type Input struct {
	Text     string   `json:"text"`
	Adapter  Mix      `json:"adapter,omitempty"`
	Strength *float64 `json:"strength,omitzero"` // 0 is the base, 1 as trained; nil is 1
}

// Request asks for the sentiment of texts.
type Request struct {
	Inputs []Input  `json:"inputs"`
	Jury   []string `json:"jury,omitempty"` // adapters that are all asked of each text; then no input names one
	Kept   bool     `json:"-"`              // an answer that the server has kept will do
}

// Answer holds each input's index either in Results or in Errors.
type Answer struct {
	Results []Result   `json:"results"`
	Errors  []RowError `json:"errors"`
	Trip    Trip       `json:"-"`
}

// Result answers one text.
type Result struct {
	Index     int                `json:"index"`
	Label     *string            `json:"label"` // nil: abstained
	Score     *float64           `json:"score"`
	Scores    map[string]float64 `json:"scores"`
	Adapter   Used               `json:"adapter"`
	Tokens    int                `json:"tokens"`
	Truncated bool               `json:"truncated"`
	Jury      []Member           `json:"jury"`

	Agreement    *float64 `json:"agreement"`    // of a jury: share of members that give the winning label
	Disagreement *float64 `json:"disagreement"` // of a jury, 0 to 1
}

// Member is the answer of one member of a jury.
type Member struct {
	Adapter Used               `json:"adapter"`
	Label   *string            `json:"label"`
	Score   *float64           `json:"score"`
	Scores  map[string]float64 `json:"scores"`
}

// Used names the version that answered, or what was blended.
type Used struct {
	ID       string     `json:"id"`
	Version  string     `json:"version"`
	Digest   string     `json:"digest"`
	Blend    []UsedPart `json:"blend"`
	Strength *float64   `json:"strength"` // nil where it is 1
}

// UsedPart is one version's share of a blend.
type UsedPart struct {
	ID      string  `json:"id"`
	Version string  `json:"version"`
	Digest  string  `json:"digest"`
	Weight  float64 `json:"weight"`
}

// RowError is the problem of one input.
type RowError struct {
	Index  int    `json:"index"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Sentiment asks, for answers that the server has not kept unless the request allows
// them: who calls from here judges the server. Inputs fail alone, in Answer.Errors; where all of them fail, the
// error is a *Problem. There is an Answer beside an error too, for its Trip.
func (c *Client) Sentiment(ctx context.Context, r Request) (*Answer, error) {
	out := &Answer{}
	call, err := post("/v1/sentiment", r)
	if err != nil {
		return out, err
	}
	call.fresh = !r.Kept
	out.Trip, err = c.do(ctx, call, out)
	return out, err
}

var _ json.MarshalerTo = Mix(nil)
