package peft

import (
	"slices"
	"strings"
	"testing"

	"valence/runtime/mt5/spec"
)

func TestDigest(t *testing.T) {
	k := spec.Site{Module: "m.k", Size: 2}
	wo := spec.Site{Module: "m.wo", Input: true, Size: 2}
	output := spec.Site{Module: "m.wo", Size: 2}
	const labels = `{"format":1,"labels":[{"name":"a","verbaliser":"x"},{"name":"b","verbaliser":"y"}]}`
	digest := func(sites []spec.Site, data []float32, sidecar string) string {
		t.Helper()
		v, err := spec.NewVectors(sites, data)
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		if sidecar != "" {
			text = []byte(sidecar)
		}
		d, err := Digest(v, text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	reference := digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, labels)
	for name, same := range map[string]string{
		"order of the sites": digest([]spec.Site{wo, k}, []float32{3, 4, 1, 2}, labels),
		"spelling":           digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, `{"labels": [{"verbaliser":"\u0078","name":"a"}, {"name":"b","verbaliser":"y"}], "temperature": 1.0, "template": "", "abstain_below": 0e3}`),
		"metrics":            digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, strings.Replace(labels, "{", `{"metrics":{"accuracy":1},`, 1)),
		"canary rows":        digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, strings.Replace(labels, "{", `{"canary":[{"text":"t","scores":{"a":1,"b":0}}],`, 1)),
	} {
		if same != reference {
			t.Errorf("%s changes the digest", name)
		}
	}
	others := []string{reference}
	for name, other := range map[string]string{
		"a value":             digest([]spec.Site{k, wo}, []float32{1, 2, 3, 5}, labels),
		"values that move":    digest([]spec.Site{k, wo}, []float32{2, 1, 3, 4}, labels),
		"input for output":    digest([]spec.Site{k, output}, []float32{1, 2, 3, 4}, labels),
		"one vector less":     digest([]spec.Site{k}, []float32{1, 2}, labels),
		"no sidecar":          digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, ""),
		"order of the labels": digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, `{"labels":[{"name":"b","verbaliser":"y"},{"name":"a","verbaliser":"x"}]}`),
		"a verbaliser":        digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, `{"labels":[{"name":"a","verbaliser":"x"},{"name":"b","verbaliser":"z"}]}`),
		"a template":          digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, strings.Replace(labels, "{", `{"template":"{text}",`, 1)),
		"another template":    digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, strings.Replace(labels, "{", `{"template":"({text})",`, 1)),
		"a temperature":       digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, strings.Replace(labels, "{", `{"temperature":0.5,`, 1)),
		"close temperature":   digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, strings.Replace(labels, "{", `{"temperature":0.50000001,`, 1)),
		"a threshold":         digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, strings.Replace(labels, "{", `{"abstain_below":0.5,`, 1)),
		"text that moves":     digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, `{"labels":[{"name":"ax","verbaliser":""},{"name":"b","verbaliser":"y"}]}`),
	} {
		if slices.Contains(others, other) {
			t.Errorf("%s does not change the digest", name)
		}
		others = append(others, other)
	}
	if got := digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, `{"metrics":{"accuracy":1}}`); got != digest([]spec.Site{k, wo}, []float32{1, 2, 3, 4}, "") {
		t.Error("a sidecar without labels changes the digest")
	}
}

func TestDigestLeavesTheVectorsAlone(t *testing.T) {
	f, err := ReadDir("testdata/t5/linear", base(t, "t5"))
	if err != nil {
		t.Fatal(err)
	}
	sites, data := slices.Clone(f.Vectors.Sites), slices.Clone(f.Vectors.Data)
	if _, err := Digest(f.Vectors, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sites, f.Vectors.Sites) || !slices.Equal(data, f.Vectors.Data) {
		t.Error("Digest changed its argument")
	}
}

func TestDigestRefuses(t *testing.T) {
	for _, text := range []string{``, `{`, `[]`, `{"labels":[1]}`, `{"labels":[{"name":1}]}`, `{"template":1}`, `{"temperature":"1"}`, `{"abstain_below":[]}`, `{"temperature":1e999}`} {
		_, err := Digest(&spec.Vectors{}, []byte(text))
		wants(t, err, sidecarFile)
	}
}
