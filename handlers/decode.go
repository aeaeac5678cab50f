package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/handlers/middleware"
)

// invalidError lists the faults of a body that is JSON but not a valid request.
// It wraps errInvalid.
type invalidError struct {
	fields []fieldError // at least one
}

func (e *invalidError) Error() string {
	s := errInvalid.Error() + ":"
	for i, f := range e.fields {
		if i > 0 {
			s += ";"
		}
		s += " " + f.Pointer + f.Parameter + " " + f.Detail
	}
	return s
}

func (e *invalidError) Unwrap() error { return errInvalid }

func invalid(pointer, code, format string, args ...any) error {
	return &invalidError{[]fieldError{{Pointer: pointer, Detail: fmt.Sprintf(format, args...), Code: code}}}
}

// decode reads the request's body into v, a pointer to a struct. The body must be
// one JSON object in UTF-8 with no name twice and no name that v lacks; a null
// stands for an absent field. Errors wrap errEmptyBody, errReadBody,
// errInvalidUTF8, errSyntax, errInvalid (an *invalidError) or
// middleware.ErrBodyTooLarge.
func decode(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	return decodeBody(body, v)
}

// readBody reads a body in UTF-8 that is not empty.
func readBody(r *http.Request) (jsontext.Value, error) {
	body, err := io.ReadAll(r.Body)
	switch {
	case errors.Is(err, middleware.ErrBodyTooLarge):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errReadBody, err)
	case len(bytes.TrimSpace(body)) == 0:
		return nil, fmt.Errorf("%w; send a JSON object", errEmptyBody)
	}
	if n := validUTF8(body); n < len(body) {
		return nil, fmt.Errorf("%w: the byte at offset %d begins no valid character", errInvalidUTF8, n)
	}
	return body, nil
}

func decodeBody(body jsontext.Value, v any) error {
	return decodeError(json.Unmarshal(body, v, json.RejectUnknownMembers(true)))
}

// validUTF8 is how many bytes at the start of b are whole characters.
func validUTF8(b []byte) int {
	n := 0
	for n < len(b) {
		c, size := utf8.DecodeRune(b[n:])
		if c == utf8.RuneError && size == 1 {
			return n
		}
		n += size
	}
	return n
}

// decodeError says what is wrong with a body in the terms of its sender.
func decodeError(err error) error {
	if err == nil {
		return nil
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		return semanticError(semantic)
	}
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return fmt.Errorf("%w: %w", errSyntax, err)
	}
	if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("%w: the name %q stands twice in one object, at %s", errSyntax, syntax.JSONPointer.LastToken(), syntax.JSONPointer)
	}
	return fmt.Errorf("%w: at byte offset %d: %w", errSyntax, syntax.ByteOffset, syntax.Err)
}

func semanticError(e *json.SemanticError) error {
	pointer := string(e.JSONPointer)
	switch {
	case errors.Is(e.Err, json.ErrUnknownName) && e.GoType.NumField() == 0:
		return invalid(pointer, "unknown_field", "there is no such field; this call takes none")
	case errors.Is(e.Err, json.ErrUnknownName):
		return invalid(pointer, "unknown_field", "there is no such field; allowed are %s", strings.Join(fieldNames(e.GoType), ", "))
	case e.JSONKind == '0' && isNumber(e.GoType):
		return invalid(pointer, "out_of_range", "%s is not %s", shortNumber(e.JSONValue), typeName(e.GoType))
	default:
		return invalid(pointer, "wrong_type", "must be %s, not %s", typeName(e.GoType), kindName(e.JSONKind))
	}
}

// shortNumber is a number as it was sent, unless that is absurdly long.
func shortNumber(v jsontext.Value) string {
	if len(v) > 40 {
		return "this number"
	}
	return string(v)
}

// typeName is what a value of type t looks like in JSON.
func typeName(t reflect.Type) string {
	if t == nil {
		return "another type"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Float64:
		return "a number of double precision"
	case reflect.Int:
		return "a whole number in 64 bits"
	default:
		if t == reflect.TypeFor[input]() || t == reflect.TypeFor[adapterChoice]() {
			return "a string or an object"
		}
		if t == reflect.TypeFor[exampleLabel]() {
			return "a string or a number"
		}
		return "an object"
	}
}

// wrongKind skips a value of a kind that its reader does not take, and says so.
func wrongKind(dec *jsontext.Decoder, kind jsontext.Kind) error {
	if err := dec.SkipValue(); err != nil {
		return err
	}
	return &json.SemanticError{JSONKind: kind}
}

func isNumber(t reflect.Type) bool {
	return t != nil && (t.Kind() == reflect.Int || t.Kind() == reflect.Float64)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{', '}':
		return "an object"
	case '[', ']':
		return "an array"
	default:
		return "this"
	}
}

// fieldNames lists the JSON names of a struct's fields, quoted.
func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		names = append(names, strconv.Quote(jsonName(f)))
	}
	return names
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
