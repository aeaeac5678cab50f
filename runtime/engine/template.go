package engine

import (
	"fmt"
	"strings"
)

// placeholder stands for the text in a template.
const placeholder = "{text}"

// template is what is written before and after each text. The zero template
// writes nothing.
type template struct{ before, after string }

func parseTemplate(s string) (template, error) {
	if s == "" {
		return template{}, nil
	}
	before, after, found := strings.Cut(s, placeholder)
	if !found || strings.Contains(after, placeholder) {
		return template{}, fmt.Errorf("template %q must hold %s once, or be empty", s, placeholder)
	}
	return template{before, after}, nil
}

func (t template) fill(text string) string { return t.before + text + t.after }
