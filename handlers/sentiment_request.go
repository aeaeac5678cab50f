package handlers

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters"
	"valence/runtime/engine"
)

// sentimentRequest is the body of POST /v1/sentiment. Exactly one of Text and
// Inputs is given.
type sentimentRequest struct {
	Text         *string        `json:"text"`
	Inputs       []input        `json:"inputs"         validate:"omitempty,min=1,dive"`
	Adapter      *adapterChoice `json:"adapter"`
	Strength     *float64       `json:"strength"       validate:"omitempty,min=0,max=1.5"`
	Jury         []string       `json:"jury"           validate:"excluded_if=Mode generate,omitempty,min=2,max=16,unique,dive,min=1"`
	Mode         *string        `json:"mode"           validate:"omitempty,oneof=labels generate"`
	Labels       []string       `json:"labels"         validate:"excluded_if=Mode generate,omitempty,min=2,max=64,unique"`
	TopK         *int           `json:"top_k"          validate:"excluded_if=Mode generate,omitempty,min=1,max=64"`
	AbstainBelow *float64       `json:"abstain_below"  validate:"excluded_if=Mode generate,omitempty,min=0,max=1"`
	Truncate     *bool          `json:"truncate"`
	MaxNewTokens *int           `json:"max_new_tokens" validate:"excluded_unless=Mode generate,omitempty,min=1,max=64"`

	fresh bool // no answer that was known before
}

// input is one text of several: a JSON string, or an object. What it does not say is
// as in the request.
type input struct {
	Text     *string        `json:"text"     validate:"required"`
	Adapter  *adapterChoice `json:"adapter"`
	Strength *float64       `json:"strength" validate:"omitempty,min=0,max=1.5"`
	bare     bool           // written as a string
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
		return wrongKind(dec, kind)
	}
}

// faults lists what tags cannot say: of adapters, and of a jury in their place.
func (req *sentimentRequest) faults() []fieldError {
	choices := map[string]*adapterChoice{"/adapter": req.Adapter}
	order := []string{"/adapter"}
	for i, in := range req.Inputs {
		at := fmt.Sprintf("/inputs/%d/adapter", i)
		choices[at], order = in.Adapter, append(order, at)
	}
	var out []fieldError
	for _, at := range order {
		if req.Jury != nil && choices[at] != nil {
			out = append(out, fieldError{Pointer: at, Code: "not_allowed", Detail: "has no meaning with a jury"})
			continue
		}
		out = append(out, choices[at].faults(at)...)
	}
	return out
}

// decodeSentiment reads and checks the body.
func (a *api) decodeSentiment(r *http.Request) (*sentimentRequest, error) {
	req := new(sentimentRequest)
	if err := decode(r, req); err != nil {
		return nil, err
	}
	req.fresh = wantsFresh(r.Header)
	if (req.Text == nil) == (req.Inputs == nil) {
		return nil, invalid("", "one_of", `give exactly one of "text" and "inputs"`)
	}
	if n := len(req.Inputs); n > a.Limits.Inputs {
		return nil, invalid("/inputs", "too_many", "there are %d inputs; at most %d are allowed in one call", n, a.Limits.Inputs)
	}
	if err := a.valid.check(req); err != nil {
		return nil, err
	}
	texts, members := max(len(req.Inputs), 1), len(req.Jury)
	if n := texts * members; n > a.Limits.Inputs {
		return nil, invalid("/jury", "too_many", "%d texts for %d members are %d rows; at most %d are allowed in one call", texts, members, n, a.Limits.Inputs)
	}
	return req, nil
}

// wantsFresh tells whether a caller asks for an answer that was not kept (RFC 9111,
// section 5.2.1).
func wantsFresh(h http.Header) bool {
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.TrimSpace(directive)) {
			case "no-cache", "no-store":
				return true
			}
		}
	}
	return false
}

func (req *sentimentRequest) mode() engine.Mode {
	return engine.Mode(or(req.Mode, string(engine.ModeLabels)))
}

// textRow is one text of a request with whom it is asked, and the JSON pointer to
// where it stands in the body.
type textRow struct {
	index  int
	text   string
	atText string
	asked  []asked // one adapter, or the members of the jury
}

// asked is what shall answer a row.
type asked struct {
	query  adapters.Query
	key    string // tells its query apart
	at     string // JSON pointer to where it stands
	member string // its ref, in a jury
}

// rows are the texts of a request whose caller has, or lacks, a token of the Hub.
func (req *sentimentRequest) rows(token string) []textRow {
	if req.Text != nil {
		return []textRow{{0, *req.Text, "/text", req.askedOf(input{}, "", token)}}
	}
	rows := make([]textRow, len(req.Inputs))
	for i, in := range req.Inputs {
		at := fmt.Sprintf("/inputs/%d", i)
		rows[i] = textRow{i, *in.Text, at, req.askedOf(in, at, token)}
		if !in.bare {
			rows[i].atText = at + "/text"
		}
	}
	return rows
}

// askedOf is who answers an input that stands at a JSON pointer.
func (req *sentimentRequest) askedOf(in input, at, token string) []asked {
	strength := or(in.Strength, or(req.Strength, 1))
	ask := func(at, member string, parts []adapters.QueryPart) asked {
		q := adapters.Query{Parts: parts, Strength: strength, HubToken: token}
		return asked{q, queryKey(q), at, member}
	}
	if req.Jury != nil {
		jury := make([]asked, len(req.Jury))
		for i, ref := range req.Jury {
			jury[i] = ask(fmt.Sprintf("/jury/%d", i), ref, adapters.Ask(ref).Parts)
		}
		return jury
	}
	switch {
	case in.Adapter != nil:
		return []asked{ask(at+"/adapter", "", in.Adapter.parts)}
	case req.Adapter != nil:
		return []asked{ask("/adapter", "", req.Adapter.parts)}
	default:
		return []asked{ask("/adapter", "", adapters.Ask("").Parts)}
	}
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
		Fresh:        req.fresh,
	}
}

// or is *p, or def where p is nil.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}
