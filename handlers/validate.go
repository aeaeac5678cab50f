package handlers

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"
)

// validation checks decoded requests against the tags of their fields.
type validation struct{ *validator.Validate }

func newValidation() *validation {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(jsonName)
	return &validation{v}
}

// selfChecked is a request that knows faults of its own, beyond what tags can say.
type selfChecked interface{ faults() []fieldError }

// check gives an *invalidError with every fault of req, a pointer to a struct.
func (v *validation) check(req any) error {
	out := &invalidError{}
	if err := v.Struct(req); err != nil {
		faults, ok := errors.AsType[validator.ValidationErrors](err)
		if !ok {
			return fmt.Errorf("validate %T: %w", req, err)
		}
		for _, f := range faults {
			code, detail := explain(f)
			out.fields = append(out.fields, fieldError{Pointer: jsonPointer(f.Namespace()), Detail: detail, Code: code})
		}
	}
	if r, ok := req.(selfChecked); ok {
		out.fields = append(out.fields, r.faults()...)
	}
	if len(out.fields) == 0 {
		return nil
	}
	return out
}

// jsonPointer turns the validator's path, such as "request.inputs[3].text", into
// RFC 6901. Names of ours need no escape.
func jsonPointer(namespace string) string {
	_, path, _ := strings.Cut(namespace, ".")
	return "/" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(path)
}

// explain says in words what a tag asks.
func explain(f validator.FieldError) (code, detail string) {
	switch f.Tag() {
	case "required":
		return "required", "is required"
	case "oneof":
		return "not_allowed", "must be one of " + strings.ReplaceAll(f.Param(), " ", ", ")
	case "unique":
		return "duplicate", "must hold no item twice"
	case "min":
		m := measureOf(f)
		return m.below, m.text("at least", f.Param())
	case "max":
		m := measureOf(f)
		return m.above, m.text("at most", f.Param())
	case "gt":
		return "out_of_range", "must be above " + f.Param()
	case "lt":
		return "out_of_range", "must be below " + f.Param()
	case "excluded_if":
		return "not_allowed", fmt.Sprintf("has no meaning with %s", setting(f.Param()))
	case "excluded_unless":
		return "not_allowed", fmt.Sprintf("has a meaning only with %s", setting(f.Param()))
	default:
		return "invalid", "must satisfy " + f.Tag()
	}
}

// measure is what a bound counts, with the codes for too little and too much.
type measure struct {
	unit, below, above string
}

func measureOf(f validator.FieldError) measure {
	switch f.Kind() {
	case reflect.Slice:
		return measure{"item", "too_few", "too_many"}
	case reflect.String:
		return measure{"character", "too_short", "too_long"}
	default:
		return measure{"", "out_of_range", "out_of_range"}
	}
}

func (m measure) text(bound, n string) string {
	switch {
	case m.unit == "":
		return fmt.Sprintf("must be %s %s", bound, n)
	case n == "1":
		return fmt.Sprintf("must have %s 1 %s", bound, m.unit)
	default:
		return fmt.Sprintf("must have %s %s %ss", bound, n, m.unit)
	}
}

// setting turns a tag's "Mode generate" into `mode "generate"`, and "Create true" into
// `create true`.
func setting(param string) string {
	field, value, _ := strings.Cut(param, " ")
	if value != "true" {
		value = strconv.Quote(value)
	}
	return strings.ToLower(field) + " " + value
}
