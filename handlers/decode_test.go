package handlers

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

func TestBadBody(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
		code       string
		faults     string // of a 422
		detail     string // part of the detail, or of that of the first fault
	}{
		{"empty", "", 400, "empty_body", "", "send a JSON object"},
		{"blank", " \n", 400, "empty_body", "", "send a JSON object"},
		{"not JSON", "text=good", 400, "invalid_json", "", "at byte offset 1: invalid character"},
		{"cut off", `{"text":"a"`, 400, "invalid_json", "", "at byte offset 11: unexpected EOF"},
		{"more behind", `{"text":"a"} {}`, 400, "invalid_json", "", "after top-level value"},
		{"a comma too many", `{"text":"a",}`, 400, "invalid_json", "", "at byte offset 11"},
		{"a name twice", `{"text":"a","text":"b"}`, 400, "invalid_json", "", `the name "text" stands twice in one object, at /text`},
		{"a name twice inside", `{"inputs":["a",{"text":"a","text":"b"}]}`, 400, "invalid_json", "", `at /inputs/1/text`},
		{"half a surrogate", `{"text":"\ud800"}`, 400, "invalid_json", "", "surrogate"},
		{"not UTF-8", "{\"text\":\"ab\xffc\"}", 400, "invalid_utf8", "", "the byte at offset 11 begins"},
		{"half a character", "{\"text\":\"\xe2\x82\"}", 400, "invalid_utf8", "", "the byte at offset 9 begins"},

		{"an array", `["a"]`, 422, codeInvalid, " wrong_type", "must be an object, not an array"},
		{"a string", `"a"`, 422, codeInvalid, " wrong_type", "must be an object, not a string"},
		{"null", `null`, 422, codeInvalid, " one_of", "exactly one of"},
		{"nothing in it", `{}`, 422, codeInvalid, " one_of", "exactly one of"},
		{"both", `{"text":"a","inputs":["b"]}`, 422, codeInvalid, " one_of", "exactly one of"},
		{"both null", `{"text":null,"inputs":null}`, 422, codeInvalid, " one_of", "exactly one of"},
		{"unknown field", `{"text":"a","topk":1}`, 422, codeInvalid, "/topk unknown_field", `allowed are "text", "inputs", "adapter", "strength", "jury", "mode", "labels", "top_k", "abstain_below", "truncate", "max_new_tokens"`},
		{"other case", `{"Text":"a"}`, 422, codeInvalid, "/Text unknown_field", "there is no such field"},
		{"a pointer with escapes", `{"text":"a","a/b~c":1}`, 422, codeInvalid, "/a~1b~0c unknown_field", "there is no such field"},
		{"unknown field of an input", `{"inputs":["a",{"text":"a","label":"x"}]}`, 422, codeInvalid, "/inputs/1/label unknown_field", `allowed are "text", "adapter", "strength"`},
		{"text is a number", `{"text":1}`, 422, codeInvalid, "/text wrong_type", "must be a string, not a number"},
		{"inputs is a string", `{"inputs":"a"}`, 422, codeInvalid, "/inputs wrong_type", "must be an array, not a string"},
		{"an input is a number", `{"inputs":["a",1]}`, 422, codeInvalid, "/inputs/1 wrong_type", "must be a string or an object, not a number"},
		{"an input is null", `{"inputs":[null]}`, 422, codeInvalid, "/inputs/0 wrong_type", "must be a string or an object, not null"},
		{"an input is an array", `{"inputs":[["a"]]}`, 422, codeInvalid, "/inputs/0 wrong_type", "must be a string or an object, not an array"},
		{"an input without text", `{"inputs":["a",{"adapter":"base"}]}`, 422, codeInvalid, "/inputs/1/text required", "is required"},
		{"an input's text is null", `{"inputs":[{"text":null}]}`, 422, codeInvalid, "/inputs/0/text required", "is required"},
		{"an input's text is an array", `{"inputs":[{"text":[]}]}`, 422, codeInvalid, "/inputs/0/text wrong_type", "must be a string, not an array"},
		{"no inputs", `{"inputs":[]}`, 422, codeInvalid, "/inputs too_few", "must have at least 1 item"},
		{"too many inputs", `{"inputs":["1","2","3","4","5","6","7","8","9"]}`, 422, codeInvalid, "/inputs too_many", "there are 9 inputs; at most 8 are allowed"},
		{"an empty adapter", `{"text":"a","adapter":""}`, 422, codeInvalid, "/adapter too_short", "must have at least 1 character"},
		{"an input's empty adapter", `{"inputs":[{"text":"a","adapter":""}]}`, 422, codeInvalid, "/inputs/0/adapter too_short", "must have at least 1 character"},
		{"adapter is a number", `{"text":"a","adapter":1}`, 422, codeInvalid, "/adapter wrong_type", "must be a string or an object, not a number"},
		{"an input's adapter is an array", `{"inputs":[{"text":"a","adapter":["x"]}]}`, 422, codeInvalid, "/inputs/0/adapter wrong_type", "must be a string or an object, not an array"},
		{"a weight is text", `{"text":"a","adapter":{"x":"1","y":0.5}}`, 422, codeInvalid, "/adapter/x wrong_type", "must be a number of double precision, not a string"},
		{"an input's weight is an object", `{"inputs":["a",{"text":"a","adapter":{"o/x":{},"y":0.5}}]}`, 422, codeInvalid, "/inputs/1/adapter/o~1x wrong_type", "not an object"},
		{"an adapter twice in a blend", `{"text":"a","adapter":{"x":0.5,"x":0.5}}`, 400, "invalid_json", "", `the name "x" stands twice in one object, at /adapter/x`},
		{"a blend cut off", `{"text":"a","adapter":{"x":0.5,`, 400, "invalid_json", "", "unexpected EOF"},
		{"a blend of none", `{"text":"a","adapter":{}}`, 422, codeInvalid, "/adapter too_few", "at least 2 adapters"},
		{"a blend of one", `{"text":"a","adapter":{"x":1}}`, 422, codeInvalid, "/adapter too_few", "name a single one by a string"},
		{"a blend of nine", `{"text":"a","adapter":{"a":0.2,"b":0.1,"c":0.1,"d":0.1,"e":0.1,"f":0.1,"g":0.1,"h":0.1,"i":0.1}}`, 422, codeInvalid, "/adapter too_many", "at most 8 adapters"},
		{"weights that sum to less", `{"text":"a","adapter":{"x":0.5,"y":0.4}}`, 422, codeInvalid, "/adapter weights_sum", "the weights sum to 0.9; they must sum to 1"},
		{"weights that are almost 1", `{"text":"a","adapter":{"x":0.5,"y":0.500002}}`, 422, codeInvalid, "/adapter weights_sum", "the weights sum to 1.000002"},
		{"weights below 0 and above 1", `{"text":"a","adapter":{"x":-0.5,"y":1.5}}`, 422, codeInvalid, "/adapter/x out_of_range, /adapter/y out_of_range", "must be above 0 and at most 1"},
		{"a weight of 0", `{"inputs":[{"text":"a","adapter":{"o/x":0,"y":1}}]}`, 422, codeInvalid, "/inputs/0/adapter/o~1x out_of_range", "must be above 0"},
		{"a weight of null", `{"text":"a","adapter":{"x":null,"y":1}}`, 422, codeInvalid, "/adapter/x out_of_range", "must be above 0"},
		{"a name of nothing", `{"text":"a","adapter":{"":0.5,"y":0.5}}`, 422, codeInvalid, "/adapter/ too_short", "must have at least 1 character"},
		{"strength below 0", `{"text":"a","strength":-0.1}`, 422, codeInvalid, "/strength out_of_range", "must be at least 0"},
		{"strength above 1.5", `{"text":"a","strength":1.51}`, 422, codeInvalid, "/strength out_of_range", "must be at most 1.5"},
		{"an input's strength", `{"inputs":[{"text":"a","strength":9}]}`, 422, codeInvalid, "/inputs/0/strength out_of_range", "must be at most 1.5"},
		{"strength is text", `{"text":"a","strength":"1"}`, 422, codeInvalid, "/strength wrong_type", "must be a number"},
		{"a jury of one", `{"text":"a","jury":["x"]}`, 422, codeInvalid, "/jury too_few", "must have at least 2 items"},
		{"a jury of 17", `{"text":"a","jury":[` + manyLabels(17) + `]}`, 422, codeInvalid, "/jury too_many", "must have at most 16 items"},
		{"a member twice", `{"text":"a","jury":["x","y","x"]}`, 422, codeInvalid, "/jury duplicate", "must hold no item twice"},
		{"a member without a name", `{"text":"a","jury":["x",""]}`, 422, codeInvalid, "/jury/1 too_short", "must have at least 1 character"},
		{"a member is an object", `{"text":"a","jury":["x",{"y":1}]}`, 422, codeInvalid, "/jury/1 wrong_type", "must be a string"},
		{"a jury and an adapter", `{"text":"a","jury":["x","y"],"adapter":"x"}`, 422, codeInvalid, "/adapter not_allowed", "has no meaning with a jury"},
		{"a jury and an input's adapter", `{"inputs":["a",{"text":"a","adapter":"x"}],"jury":["x","y"]}`, 422, codeInvalid, "/inputs/1/adapter not_allowed", "has no meaning with a jury"},
		{"a jury that writes", `{"text":"a","jury":["x","y"],"mode":"generate"}`, 422, codeInvalid, "/jury not_allowed", `has no meaning with mode "generate"`},
		{"more rows than inputs are allowed", `{"inputs":["a","b","c"],"jury":["x","y","z"]}`, 422, codeInvalid, "/jury too_many", "3 texts for 3 members are 9 rows; at most 8 are allowed in one call"},
		{"a jury larger than the limit", `{"text":"a","jury":[` + manyLabels(9) + `]}`, 422, codeInvalid, "/jury too_many", "1 texts for 9 members are 9 rows"},
		{"mode", `{"text":"a","mode":"write"}`, 422, codeInvalid, "/mode not_allowed", "must be one of labels, generate"},
		{"empty mode", `{"text":"a","mode":""}`, 422, codeInvalid, "/mode not_allowed", "must be one of"},
		{"truncate", `{"text":"a","truncate":"no"}`, 422, codeInvalid, "/truncate wrong_type", "must be true or false, not a string"},
		{"top_k 0", `{"text":"a","top_k":0}`, 422, codeInvalid, "/top_k out_of_range", "must be at least 1"},
		{"top_k 65", `{"text":"a","top_k":65}`, 422, codeInvalid, "/top_k out_of_range", "must be at most 64"},
		{"top_k 1.5", `{"text":"a","top_k":1.5}`, 422, codeInvalid, "/top_k out_of_range", "1.5 is not a whole number"},
		{"top_k beyond 64 bits", `{"text":"a","top_k":9223372036854775808}`, 422, codeInvalid, "/top_k out_of_range", "is not a whole number in 64 bits"},
		{"top_k of many digits", `{"text":"a","top_k":` + strings.Repeat("9", 400) + `}`, 422, codeInvalid, "/top_k out_of_range", "this number is not a whole number"},
		{"top_k is text", `{"text":"a","top_k":"1"}`, 422, codeInvalid, "/top_k wrong_type", "must be a whole number in 64 bits, not a string"},
		{"abstain above 1", `{"text":"a","abstain_below":1.01}`, 422, codeInvalid, "/abstain_below out_of_range", "must be at most 1"},
		{"abstain below 0", `{"text":"a","abstain_below":-0.1}`, 422, codeInvalid, "/abstain_below out_of_range", "must be at least 0"},
		{"abstain beyond doubles", `{"text":"a","abstain_below":1e999}`, 422, codeInvalid, "/abstain_below out_of_range", "1e999 is not"},
		{"one label", `{"text":"a","labels":["x"]}`, 422, codeInvalid, "/labels too_few", "must have at least 2 items"},
		{"no labels", `{"text":"a","labels":[]}`, 422, codeInvalid, "/labels too_few", "must have at least 2 items"},
		{"65 labels", `{"text":"a","labels":[` + manyLabels(65) + `]}`, 422, codeInvalid, "/labels too_many", "must have at most 64 items"},
		{"a label twice", `{"text":"a","labels":["x","y","x"]}`, 422, codeInvalid, "/labels duplicate", "must hold no item twice"},
		{"a label is a number", `{"text":"a","labels":["x",1]}`, 422, codeInvalid, "/labels/1 wrong_type", "must be a string"},
		{"new tokens 0", `{"text":"a","mode":"generate","max_new_tokens":0}`, 422, codeInvalid, "/max_new_tokens out_of_range", "must be at least 1"},
		{"new tokens 65", `{"text":"a","mode":"generate","max_new_tokens":65}`, 422, codeInvalid, "/max_new_tokens out_of_range", "must be at most 64"},
		{"new tokens without generate", `{"text":"a","max_new_tokens":3}`, 422, codeInvalid, "/max_new_tokens not_allowed", `has a meaning only with mode "generate"`},
		{"options of labels with generate", `{"text":"a","mode":"generate","top_k":1,"labels":["x","y"],"abstain_below":0.5}`, 422, codeInvalid,
			"/labels not_allowed, /top_k not_allowed, /abstain_below not_allowed", `has no meaning with mode "generate"`},
		{"all faults at once", `{"text":"a","top_k":0,"abstain_below":2}`, 422, codeInvalid, "/top_k out_of_range, /abstain_below out_of_range", "must be at least 1"},
	}
	s := serve(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := s.post(tt.body).problem(t, tt.status, tt.code)
			detail := p.Detail
			if tt.status == http.StatusUnprocessableEntity {
				if p.faults() != tt.faults {
					t.Fatalf("faults %q, want %q", p.faults(), tt.faults)
				}
				detail = p.Errors[0].Detail
			}
			if !strings.Contains(detail, tt.detail) {
				t.Errorf("detail %q lacks %q", detail, tt.detail)
			}
		})
	}
}

func manyLabels(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + strings.Repeat("l", i+1) + `"`)
	}
	return b.String()
}

func TestUnreadableBody(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("connection reset")))
	if err := decode(r, new(sentimentRequest)); !errors.Is(err, errReadBody) {
		t.Errorf("got %v", err)
	}
}

// FuzzSentimentBody: whatever is sent is an answer or a problem of the contract
// with a status below 500.
func FuzzSentimentBody(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a"}`, `{"inputs":["a",{"text":"b","adapter":"acme/reviews"}]}`, `{"text":"a","mode":"generate","max_new_tokens":3}`,
		`{"text":"a","labels":["negative","positive"],"top_k":1,"abstain_below":0.5,"truncate":false}`,
		`{"text":"\ud800"}`, "{\"text\":\"\xff\"}", `{"text":"a","text":"b"}`, `{"inputs":[null]}`, `[[[[`, `{"top_k":1e400}`, `null`, "\ufeff{}",
		`{"inputs":[{"text":{"a":[1,2]}}]}`, `{"text":"a","adapter":{"base":0.5,"acme/reviews":0.5},"strength":0.5}`, `{"text":"a","jury":["base","acme/careful"]}`, `{"text":"a","adapter":{"x":{`, `{"text":"a","adapter":"../x"}`, `{"inputs":["a",{"text":"a","adapter":" "}]}`, `{"text":"a","labels":["0","1"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := serve(t, nil).post(string(body))
		if a.StatusCode >= http.StatusInternalServerError {
			t.Errorf("status %d: %s", a.StatusCode, a.body)
		}
		if !bytes.HasSuffix(a.body, []byte("}\n")) {
			t.Errorf("not an object: %s", a.body)
		}
	})
}
