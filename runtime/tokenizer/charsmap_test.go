package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// encodeCharsmap writes a character map in the form of tokenizer.json.
func encodeCharsmap(units []uint32, replacements string) string {
	raw := binary.LittleEndian.AppendUint32(nil, uint32(4*len(units)))
	for _, u := range units {
		raw = binary.LittleEndian.AppendUint32(raw, u)
	}
	return base64.StdEncoding.EncodeToString(append(raw, replacements...))
}

// oneKey returns units for the one key "A", which leads to position at of the replacements.
func oneKey(at uint32) []uint32 {
	units := make([]uint32, 256)
	units[0] = 1 << 10                                // children of the root at 1
	units['A'^1] = 'A' | unitHasValue | ('A'^1^2)<<10 // value at 2
	units[2] = at | unitIsValue
	return units
}

func TestCharsmapLookup(t *testing.T) {
	m, err := parseCharsmap(encodeCharsmap(oneKey(2), "x\x00yz\x00"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in, want string
		ok       bool
	}{{"A", "yz", true}, {"Ab", "yz", true}, {"b", "", false}, {"", "", false}, {"\x00A", "", false}, {"é", "", false}} {
		if got, ok := m.lookup(c.in); got != c.want || ok != c.ok {
			t.Errorf("lookup(%q) = %q, %v, want %q, %v", c.in, got, ok, c.want, c.ok)
		}
	}
	if m.keepASCII['A'] || !m.keepASCII['B'] {
		t.Error("keepASCII is wrong about A or B")
	}
}

func TestCharsmapRefuses(t *testing.T) {
	noValue := oneKey(0)
	noValue[2] = 0
	outside := oneKey(0)
	outside['A'^1] |= 1<<9 | 0x1fff<<10
	b64 := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct{ in, says string }{
		"not base64":             {"?", "base64"},
		"empty":                  {"", "too few"},
		"no units":               {b64([]byte("\x00\x00\x00\x00rest")), "trie size 0"},
		"odd size":               {b64([]byte("\x05\x00\x00\x00rest123")), "trie size 5"},
		"size beyond the end":    {b64([]byte("\xff\xff\xff\xffrest")), "trie size 4294967295"},
		"value is no value":      {encodeCharsmap(noValue, "x\x00"), "no value"},
		"value outside units":    {encodeCharsmap(outside, "x\x00"), "no value"},
		"outside replacements":   {encodeCharsmap(oneKey(9), "x\x00"), "outside"},
		"inside a character":     {encodeCharsmap(oneKey(1), "é\x00"), "outside"},
		"invalid replacements":   {encodeCharsmap(oneKey(0), "\xff\x00"), "UTF-8"},
		"overlong replacement":   {encodeCharsmap(oneKey(0), strings.Repeat("x", maxReplacement+1)), "257"},
		"nothing but the number": {b64([]byte("\x04\x00\x00\x00")), "too few"},
	} {
		if _, err := parseCharsmap(c.in); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, c.says)
		}
	}
}
