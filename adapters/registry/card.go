package registry

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters"
)

// cardText is the model card: front matter for the Hub, whose strings are JSON, which
// YAML reads, and then Markdown for people.
//
//go:embed card.md.tmpl
var cardText string

// card is what a model card tells.
type card struct {
	Repo       string
	Base       string // the base model's repository, or "" where the configuration names none
	BaseDigest string
	Version    string
	Digest     string
	Sites      int
	Parameters int
	Sidecar    adapters.Sidecar
	Metrics    []metric
}

// metric is a number among a sidecar's metrics.
type metric struct {
	Name  string // the members that lead to it
	Type  string // as the Hub calls it, or "" for what is no measure of quality to it
	Value float64
}

// newCard writes the card of a version for a repository; base is the base model's name,
// or "". It tells nothing of this server, such as where the version came from.
func newCard(repo, base string, v *version) (_ []byte, err error) {
	c := card{
		Repo: repo, Base: base, BaseDigest: v.Base, Version: v.name(), Digest: v.Digest,
		Sites: v.Sites, Parameters: v.Parameters, Sidecar: v.sidecar,
	}
	if c.Metrics, err = metricsOf("", v.sidecar.Metrics); err != nil {
		return nil, fmt.Errorf("%w: metrics: %w", adapters.ErrSidecar, err)
	}
	t, err := template.New("card").Funcs(template.FuncMap{"text": quote, "cell": cell}).Parse(cardText)
	if err != nil {
		return nil, fmt.Errorf("registry: model card: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, c); err != nil {
		return nil, fmt.Errorf("registry: model card: %w", err)
	}
	return out.Bytes(), nil
}

// metricsOf lists the numbers in a JSON object, and in the objects in it, in its order.
func metricsOf(prefix string, value jsontext.Value) (out []metric, err error) {
	if value == nil {
		return nil, nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(value))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	for d.PeekKind() == jsontext.KindString {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		path := strings.TrimSpace(prefix + " " + name.String())
		member, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		switch member.Kind() {
		case jsontext.KindNumber:
			m := metric{Name: path, Type: metricType(path)}
			err = json.Unmarshal(member, &m.Value)
			out = append(out, m)
		case jsontext.KindBeginObject:
			var inner []metric
			inner, err = metricsOf(path, member.Clone())
			out = append(out, inner...)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// metricType is the Hub's word for a metric, or "".
func metricType(name string) string {
	for _, t := range []string{"accuracy", "f1", "precision", "recall", "perplexity"} {
		if strings.Contains(strings.ToLower(name), t) {
			return t
		}
	}
	return ""
}

// Results are the metrics that the Hub can compare.
func (c card) Results() []metric {
	return slices.DeleteFunc(slices.Clone(c.Metrics), func(m metric) bool { return m.Type == "" })
}

// quote writes a string as JSON, which YAML and Python read as the same string.
func quote(s string) (string, error) {
	out, err := json.Marshal(s)
	return string(out), err
}

// cell makes a text fit for a table of Markdown, where it must be nothing but text.
func cell(s string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "|", `\|`, "<", "&lt;", "`", "'").Replace(s)
}
