package adapters

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
)

const full = `{
  "format": 1,
  "labels": [{"name": "bad", "verbaliser": "negative"}, {"name": "good", "verbaliser": "positive"}],
  "template": "Review: {text}",
  "temperature": 0.75,
  "abstain_below": 0.4,
  "metrics": {"macro_f1": {"en": 0.5, "average": 0.4}, "rows": 60},
  "training": {"epochs": 3},
  "canary": [{"text": "I love it.", "scores": {"bad": 0.1, "good": 0.9}}]
}`

func TestParseSidecar(t *testing.T) {
	got, err := ParseSidecar([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	want := Sidecar{
		Format:       1,
		Labels:       []Label{{"bad", "negative"}, {"good", "positive"}},
		Template:     "Review: {text}",
		Temperature:  0.75,
		AbstainBelow: 0.4,
		Metrics:      []byte(`{"macro_f1": {"en": 0.5, "average": 0.4}, "rows": 60}`),
		Training:     []byte(`{"epochs": 3}`),
		Canary:       []Canary{{"I love it.", map[string]float64{"bad": 0.1, "good": 0.9}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestParseSidecarDefaults(t *testing.T) {
	got, err := ParseSidecar([]byte(`{"format": 1, "labels": [
		{"name": "negative", "verbaliser": "negative"},
		{"name": "neutral", "verbaliser": "neutral"},
		{"name": "positive", "verbaliser": "positive"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := DefaultSidecar(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseSidecarRefuses(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // a change to full
		says     string
	}{
		{"not JSON", `"format"`, `format`, "invalid character"},
		{"trailing data", "0.9}}]\n}", "0.9}}]\n} {}", "invalid character '{' after top-level value"},
		{"unknown field", `"template"`, `"templates"`, "templates"},
		{"field in another case", `"template"`, `"Template"`, "Template"},
		{"unknown field inside", `"verbaliser": "positive"`, `"verbalizer": "positive"`, "verbalizer"},
		{"field twice", `"format": 1`, `"format": 1, "format": 1`, "duplicate"},
		{"wrong type", `0.75`, `"0.75"`, "/temperature"},
		{"other format", `"format": 1`, `"format": 2`, "format is 2"},
		{"no format", `"format": 1,`, ``, "format is 0"},
		{"no labels", `{"name": "bad", "verbaliser": "negative"}, {"name": "good", "verbaliser": "positive"}`, ``, "0 labels"},
		{"same label", `"name": "good"`, `"name": "bad"`, `labels[1]: the name "bad" is taken`},
		{"no verbaliser", `"verbaliser": "positive"`, `"verbaliser": ""`, `the verbaliser of "good" is empty`},
		{"template", `{text}`, `text`, "{text}"},
		{"temperature", `0.75`, `0`, "temperature is 0"},
		{"temperature null", `0.75`, `null`, "temperature is 0"},
		{"abstain above 1", `0.4,`, `1.4,`, "abstain_below is 1.4"},
		{"abstain below 0", `0.4,`, `-0.4,`, "abstain_below is -0.4"},
		{"metrics no object", `{"macro_f1": {"en": 0.5, "average": 0.4}, "rows": 60}`, `[1]`, "metrics must be an object"},
		{"canary without text", `I love it.`, ` `, "canary[0]: text is empty"},
		{"canary lacks a label", `"bad": 0.1, "good": 0.9`, `"good": 0.9`, `canary[0]: scores lacks label "bad"`},
		{"canary with another label", `"good": 0.9`, `"good": 0.9, "sad": 0`, `canary[0]: scores has "sad"`},
		{"canary out of range", `"good": 0.9`, `"good": 1.9`, `canary[0]: scores: label "good" has 1.9`},
		{"too many canaries", `"canary": [`, `"canary": [` + strings.Repeat(`{"text": "x", "scores": {}},`, maxCanaries), "canary has 65 rows"},
		{"too large", `I love it.`, strings.Repeat("x", maxSidecarBytes), "bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := strings.Replace(full, tt.old, tt.new, 1)
			if data == full {
				t.Fatal("the change changes nothing")
			}
			_, err := ParseSidecar([]byte(data))
			if !errors.Is(err, ErrSidecar) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTaskSpec(t *testing.T) {
	s, err := ParseSidecar([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	v := &spec.Vectors{}
	want := engine.TaskSpec{
		Vectors:     v,
		Labels:      []engine.Label{{Name: "bad", Verbaliser: "negative"}, {Name: "good", Verbaliser: "positive"}},
		Template:    "Review: {text}",
		Temperature: 0.75,
	}
	if got := s.TaskSpec(v); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func FuzzParseSidecar(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"format":1,"labels":null,"metrics":null,"canary":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSidecar(data)
		if err != nil {
			return
		}
		if err := s.validate(); err != nil {
			t.Errorf("what was read is not valid: %v", err)
		}
	})
}
