package handlers

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/runtime/engine"
)

// sentimentRequest is the body of POST /v1/sentiment. Exactly one of Text and
// Inputs is given.
type sentimentRequest struct {
	Text         *string  `json:"text"`
	Inputs       []input  `json:"inputs"         validate:"omitempty,min=1,dive"`
	Adapter      *string  `json:"adapter"        validate:"omitempty,min=1"`
	Mode         *string  `json:"mode"           validate:"omitempty,oneof=labels generate"`
	Labels       []string `json:"labels"         validate:"excluded_if=Mode generate,omitempty,min=2,max=64,unique"`
	TopK         *int     `json:"top_k"          validate:"excluded_if=Mode generate,omitempty,min=1,max=64"`
	AbstainBelow *float64 `json:"abstain_below"  validate:"excluded_if=Mode generate,omitempty,min=0,max=1"`
	Truncate     *bool    `json:"truncate"`
	MaxNewTokens *int     `json:"max_new_tokens" validate:"excluded_unless=Mode generate,omitempty,min=1,max=64"`
}

// input is one text of several: a JSON string, or an object.
type input struct {
	Text    *string `json:"text"    validate:"required"`
	Adapter *string `json:"adapter" validate:"omitempty,min=1"` // nil means the request's
	bare    bool    // written as a string
}

// UnmarshalJSONFrom reads either form.
func (in *input) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch kind := dec.PeekKind(); kind {
	case '"':
		in.bare = true
		return json.UnmarshalDecode(dec, &in.Text)
	case '{':
		type object input // without this method
		return json.UnmarshalDecode(dec, (*object)(in))
	default:
		if err := dec.SkipValue(); err != nil {
			return err
		}
		return &json.SemanticError{JSONKind: kind}
	}
}

// decodeSentiment reads and checks the body.
func (a *api) decodeSentiment(r *http.Request) (*sentimentRequest, error) {
	req := new(sentimentRequest)
	if err := decode(r, req); err != nil {
		return nil, err
	}
	if (req.Text == nil) == (req.Inputs == nil) {
		return nil, invalid("", "one_of", `give exactly one of "text" and "inputs"`)
	}
	if n := len(req.Inputs); n > a.Limits.Inputs {
		return nil, invalid("/inputs", "too_many", "there are %d inputs; at most %d are allowed in one call", n, a.Limits.Inputs)
	}
	if err := a.valid.check(req); err != nil {
		return nil, err
	}
	return req, nil
}

func (req *sentimentRequest) mode() engine.Mode {
	return engine.Mode(or(req.Mode, string(engine.ModeLabels)))
}

// textRow is one text of a request with the JSON pointers to where the parts of
// it stand in the body.
type textRow struct {
	index     int
	text      string
	adapter   string
	atText    string
	atAdapter string
}

func (req *sentimentRequest) rows() []textRow {
	adapter := or(req.Adapter, "")
	if req.Text != nil {
		return []textRow{{0, *req.Text, adapter, "/text", "/adapter"}}
	}
	rows := make([]textRow, len(req.Inputs))
	for i, in := range req.Inputs {
		at := fmt.Sprintf("/inputs/%d", i)
		rows[i] = textRow{i, *in.Text, adapter, at, "/adapter"}
		if !in.bare {
			rows[i].atText = at + "/text"
		}
		if in.Adapter != nil {
			rows[i].adapter, rows[i].atAdapter = *in.Adapter, at+"/adapter"
		}
	}
	return rows
}

// question is what the engine is asked about a row.
func (req *sentimentRequest) question(text string, task *engine.Task) engine.Request {
	return engine.Request{
		Text:         text,
		Task:         task,
		Mode:         req.mode(),
		Labels:       req.Labels,
		Truncate:     or(req.Truncate, true),
		MaxNewTokens: or(req.MaxNewTokens, 0),
	}
}

// or is *p, or def where p is nil.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}
