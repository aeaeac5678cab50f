package peft

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"valence/runtime/mt5/spec"
)

// maxNames bounds the names in one list: more than the projections of any model.
const maxNames = 4096

// allLinear stands, in any case, for all projections except the head.
const allLinear = "all-linear"

// Modules is a choice of modules of a model: names, a regular expression, or
// neither, which stands for null. In JSON it is a list, a string or null.
type Modules struct {
	Names   []string // nil unless a list was given
	Pattern *string  // nil unless a string was given
}

// IsNull tells whether neither a list nor a string was given.
func (m Modules) IsNull() bool { return m.Names == nil && m.Pattern == nil }

// isEmpty tells whether Python takes the choice for false.
func (m Modules) isEmpty() bool {
	return len(m.Names) == 0 && (m.Pattern == nil || *m.Pattern == "")
}

// UnmarshalJSON reads a list of strings, a string or null.
func (m *Modules) UnmarshalJSON(data []byte) error {
	*m = Modules{}
	switch data[0] {
	case 'n':
		return nil
	case '"':
		return json.Unmarshal(data, &m.Pattern)
	case '[':
		return m.unmarshalNames(data)
	}
	return errors.New("it must be a list of names, a regular expression or null")
}

func (m *Modules) unmarshalNames(data []byte) error {
	var names []*string // pointers tell null from ""
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	if len(names) > maxNames {
		return fmt.Errorf("it lists %d names; at most %d are allowed", len(names), maxNames)
	}
	m.Names = make([]string, len(names))
	for i, n := range names {
		if n == nil {
			return fmt.Errorf("name %d is null", i)
		}
		m.Names[i] = *n
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (m Modules) MarshalJSON() ([]byte, error) { return json.Marshal(m.value()) }

// value is the list, the string or nil.
func (m Modules) value() any {
	switch {
	case m.Pattern != nil:
		return *m.Pattern
	case m.Names != nil:
		return m.Names
	}
	return nil
}

// match gives the test of a module's path: the whole path against a regular
// expression, or the names by the given rule.
func (m Modules) match(byNames func(names ...string) spec.Match) (spec.Match, error) {
	if m.Pattern == nil {
		return byNames(m.Names...), nil
	}
	re, err := compile(*m.Pattern)
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}

// endingIn is how PEFT reads a list of feedforward_modules. Unlike a list of
// target_modules it does not stop at the dots: "o" is also the end of "wo".
func endingIn(names ...string) spec.Match {
	return func(module string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(module, n) })
	}
}
