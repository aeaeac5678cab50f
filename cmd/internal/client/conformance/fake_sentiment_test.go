package conformance

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/cmd/internal/client"
)

// fakeRequest is a body of POST /v1/sentiment.
type fakeRequest struct {
	Inputs []struct {
		Text     string         `json:"text"`
		Adapter  jsontext.Value `json:"adapter"`
		Strength *float64       `json:"strength"`
	} `json:"inputs"`
	Jury []string `json:"jury"`
}

func (f *fake) sentiment(w http.ResponseWriter, r *http.Request) {
	var req fakeRequest
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &req)
	}
	if err != nil {
		refuse(w, 400, "invalid_json")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out client.Answer
	for i, in := range req.Inputs {
		result := client.Result{Index: i}
		code := ""
		if in.Text == "" {
			code = codeEmptyText
		} else if req.Jury != nil {
			code = f.jury(&result, len(req.Inputs), in.Text, req.Jury)
		} else {
			code = f.row(&result, len(req.Inputs), in.Text, in.Adapter, in.Strength)
		}
		if code != "" {
			out.Errors = append(out.Errors, client.RowError{Index: i, Status: 404, Code: code})
			continue
		}
		if f.result != nil {
			f.result(&result)
		}
		out.Results = append(out.Results, result)
	}
	if len(out.Results) == 0 {
		refuseAll(w, out.Errors)
		return
	}
	if f.answer != nil {
		f.answer(&out)
	}
	reply(w, 200, out)
}

// refuseAll is the problem of a request in which every row failed.
func refuseAll(w http.ResponseWriter, rows []client.RowError) {
	p := client.Problem{Status: 404, Title: "Not Found", Code: rows[0].Code}
	for _, row := range rows {
		pointer := "/inputs/" + string(rune('0'+row.Index)) + "/adapter"
		p.Errors = append(p.Errors, client.FieldError{Pointer: pointer, Code: row.Code})
		if row.Code != p.Code {
			p.Code = "no_answer"
		}
	}
	reply(w, 404, p)
}

// lookup finds what a reference stands for, or gives an error's code.
func (f *fake) lookup(ref string) (string, fakeVersion, string) {
	id, revision, _ := strings.Cut(ref, "@")
	switch {
	case strings.Contains(id, ".."):
		return id, fakeVersion{}, codeInvalidID
	case id == baseID || id == "":
		return baseID, baseVersion(), ""
	}
	a, ok := f.adapters[id]
	if ok {
		if v, ok := a.find(revision); ok {
			if revision == "" && f.version != nil {
				v = f.version(f, id, v)
			}
			return id, v, ""
		}
	}
	if f.found != nil {
		if v, ok := f.found(f, id); ok {
			return id, v, ""
		}
	}
	return id, fakeVersion{}, codeNotFound
}

func (f *fake) row(out *client.Result, rows int, text string, adapter jsontext.Value, strength *float64) string {
	s := 1.0
	if strength != nil {
		s = *strength
		out.Adapter.Strength = strength
	}
	parts, err := parseMix(adapter)
	if err != nil {
		panic(err)
	}
	var shares []share
	var labels []string
	var only fakeVersion
	for _, p := range parts {
		id, v, code := f.lookup(p.Ref)
		if code != "" {
			return code
		}
		only, labels = v, v.labels
		shares = append(shares, share{v.digest, p.Weight})
		if len(parts) == 1 {
			out.Adapter.ID, out.Adapter.Digest = id, v.digest
			if v.number > 0 {
				out.Adapter.Version = v.name()
			}
			continue
		}
		out.Adapter.Blend = append(out.Adapter.Blend, client.UsedPart{ID: id, Version: v.name(), Digest: v.digest, Weight: p.Weight})
	}
	out.Scores = hashScores(mix(s, shares...), text, labels)
	if f.scores != nil && len(parts) == 1 && s == 1 {
		if other := f.scores(f, rows, text, only); other != nil {
			out.Scores = other
		}
	}
	return ""
}

func (f *fake) jury(out *client.Result, rows int, text string, members []string) string {
	out.Scores = map[string]float64{}
	for _, m := range members {
		var one client.Result
		ref, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		if code := f.row(&one, rows, text, ref, nil); code != "" {
			return code
		}
		out.Jury = append(out.Jury, client.Member{Adapter: one.Adapter, Scores: one.Scores})
		for l, p := range one.Scores {
			out.Scores[l] += p / float64(len(members))
		}
	}
	return ""
}

// parseMix reads an adapter as the API has it, in order.
func parseMix(v jsontext.Value) (client.Mix, error) {
	if len(v) == 0 {
		return client.One(""), nil
	}
	var one string
	if v.Kind() == '"' {
		err := json.Unmarshal(v, &one)
		return client.One(one), err
	}
	dec := jsontext.NewDecoder(strings.NewReader(string(v)))
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var out client.Mix
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		p := client.Part{Ref: name.String()}
		if err = errors.Join(err, json.UnmarshalDecode(dec, &p.Weight)); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
