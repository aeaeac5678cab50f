package safetensors

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

const (
	one = `{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`
	two = `{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`
)

func TestParseRefuses(t *testing.T) {
	length := func(n uint64) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), `{}      `...)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":                 {nil, "0 bytes are too few"},
		"seven bytes":           {make([]byte, 7), "7 bytes are too few"},
		"header beyond file":    {length(9), "reaches beyond the 8 bytes"},
		"header above limit":    {length(maxHeader + 1), "above the limit"},
		"header 2^63":           {length(1 << 63), "above the limit"},
		"header 2^64-1":         {length(math.MaxUint64), "above the limit"},
		"no header":             {length(0)[:8], "EOF"},
		"not JSON":              {file(`{"a":`, ""), "EOF"},
		"array":                 {file(`[]`, ""), "expected {, found"},
		"two objects":           {file(`{}{}`, ""), "something follows"},
		"NULs after":            {file("{}\x00", ""), "something follows"},
		"invalid UTF-8":         {file("{\"\xff\":"+one+"}", "1"), "UTF-8"},
		"duplicate tensor":      {file(`{"a":`+one+`,"a":`+one+`}`, "1"), `duplicate object member name "a"`},
		"duplicate by escape":   {file(`{"a":`+one+`,"\u0061":`+one+`}`, "1"), `duplicate object member name "a"`},
		"duplicate member":      {file(`{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, "1"), `duplicate object member name "dtype"`},
		"duplicate metadata":    {file(`{"__metadata__":{"k":"1","k":"2"}}`, ""), `duplicate object member name "k"`},
		"metadata of numbers":   {file(`{"__metadata__":{"k":1}}`, ""), `"k": expected a string`},
		"metadata null":         {file(`{"__metadata__":null}`, ""), "expected {, found"},
		"tensor null":           {file(`{"a":null}`, ""), `"a": expected {, found null`},
		"unknown dtype":         {file(`{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,1]}}`, "1"), `"a": dtype "F7"`},
		"packed dtype":          {file(`{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}`, "1"), `dtype "F4" is not supported`},
		"lower-case dtype":      {file(`{"a":{"dtype":"u8","shape":[1],"data_offsets":[0,1]}}`, "1"), `dtype "u8"`},
		"dtype null":            {file(`{"a":{"dtype":null,"shape":[1],"data_offsets":[0,1]}}`, "1"), "expected a string"},
		"no dtype":              {file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, "1"), `dtype ""`},
		"no shape":              {file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, "1"), "shape is missing"},
		"shape null":            {file(`{"a":{"dtype":"U8","shape":null,"data_offsets":[0,1]}}`, "1"), "expected [, found null"},
		"shape of null":         {file(`{"a":{"dtype":"U8","shape":[null],"data_offsets":[0,0]}}`, ""), "expected an integer"},
		"shape of strings":      {file(`{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}`, "1"), "expected an integer"},
		"shape of fractions":    {file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, "1"), "expected an integer from 0 to 2^63-1, found 1.0"},
		"shape in another case": {file(`{"a":{"dtype":"U8","Shape":[1],"data_offsets":[0,1]}}`, "1"), `"Shape": unknown member`},
		"negative shape":        {file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, "1"), "found -1"},
		"shape 2^63":            {file(`{"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}}`, "1"), "expected an integer"},
		"overflow by shape":     {file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""), "overflows"},
		"overflow before zero":  {file(`{"a":{"dtype":"U8","shape":[9223372036854775807,3,0],"data_offsets":[0,0]}}`, ""), "overflows"},
		"overflow by size":      {file(`{"a":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,0]}}`, ""), "overflows"},
		"no offsets":            {file(`{"a":{"dtype":"U8","shape":[1]}}`, "1"), "data_offsets hold 0 numbers"},
		"three offsets":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}`, "1"), "data_offsets hold 3 numbers"},
		"negative offset":       {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, "1"), "found -1"},
		"end before beginning":  {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, "1"), "before the beginning"},
		"beyond the file":       {file(`{"a":`+two+`}`, "1"), `"a": data_offsets [0, 2]: the end lies beyond the 1 bytes`},
		"offset 2^63-1":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,9223372036854775807]}}`, "1"), "beyond the 1 bytes"},
		"shape too small":       {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,2]}}`, "12"), "needs 1 bytes, not 2"},
		"shape too large":       {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2]}}`, "12"), "needs 4 bytes, not 2"},
		"overlap":               {file(`{"a":`+two+`,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "123"), `"b": data_offsets [1, 3]: overlaps`},
		"the same place":        {file(`{"a":`+one+`,"b":`+one+`}`, "1"), `"b": data_offsets [0, 1]: overlaps`},
		"hole":                  {file(`{"a":`+one+`,"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, "123"), `"b": data_offsets [2, 3]: leaves a hole after 1`},
		"hole in front":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "12"), "leaves a hole after 0"},
		"empty tensor inside":   {file(`{"a":`+two+`,"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}`, "12"), "overlaps"},
		"trailing bytes":        {file(`{"a":`+one+`}`, "123"), "2 bytes follow the last tensor"},
		"data without tensors":  {file(`{}`, "1"), "1 bytes follow"},
		"unknown member":        {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"scale":1}}`, "1"), `"scale": unknown member`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.file)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrFormat with %q", err, c.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		file     []byte
		want     []Tensor
		metadata map[string]string
	}{
		"nothing":         {file(`{}`, ""), nil, nil},
		"space around":    {file(" {}\n\t ", ""), nil, nil},
		"empty metadata":  {file(`{"__metadata__":{}}`, ""), nil, map[string]string{}},
		"metadata last":   {file(`{"a":`+one+`,"__metadata__":{"k":"v"}}`, "1"), []Tensor{{"a", U8, []int64{1}, []byte("1")}}, map[string]string{"k": "v"}},
		"any order":       {file(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":`+one+`}`, "12"), []Tensor{{"a", U8, []int64{1}, []byte("1")}, {"b", U8, []int64{1}, []byte("2")}}, nil},
		"scalar":          {file(`{"a":{"dtype":"I16","shape":[],"data_offsets":[0,2]}}`, "12"), []Tensor{{"a", I16, []int64{}, []byte("12")}}, nil},
		"zero-size":       {file(`{"a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}}`, ""), []Tensor{{"a", F32, []int64{0, 3}, []byte{}}}, nil},
		"zero-size, huge": {file(`{"a":{"dtype":"U8","shape":[0,9223372036854775807,3],"data_offsets":[0,0]}}`, ""), []Tensor{{"a", U8, []int64{0, math.MaxInt64, 3}, []byte{}}}, nil},
		"zero-size last":  {file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},"b":`+two+`}`, "12"), []Tensor{{"a", U8, []int64{0}, []byte{}}, {"b", U8, []int64{2}, []byte("12")}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if got := all(f); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if got := f.Metadata(); !reflect.DeepEqual(got, c.metadata) {
				t.Errorf("metadata %v, want %v", got, c.metadata)
			}
		})
	}
}

// FuzzParse checks that what Parse accepts is consistent and survives being
// written and read again.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"dtypes", "names", "plain", "bare", "empty", "floats"} {
		f.Add(fixture(f, name+".safetensors"))
	}
	f.Add(file(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":`+one+`}`, "12"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%v does not wrap ErrFormat", err)
			}
			return
		}
		tensors := all(first)
		total := 0
		for _, x := range tensors {
			if err := x.check(); err != nil {
				t.Fatal(err)
			}
			total += len(x.Data)
		}
		if head, body, _ := split(data); total != len(body) {
			t.Fatalf("tensors hold %d of %d bytes after a header of %d", total, len(body), len(head))
		}
		again, err := Parse(written(t, tensors, first.Metadata()))
		if err != nil {
			t.Fatal(err)
		}
		if got := all(again); !reflect.DeepEqual(got, tensors) {
			t.Fatalf("written and read again: %v, want %v", got, tensors)
		}
	})
}
