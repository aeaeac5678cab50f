package pickle

import (
	"encoding/binary"
	"strings"
	"testing"
)

func elements(n uint64, data string) string {
	return string(binary.LittleEndian.AppendUint64(nil, n)) + data
}

func TestParseLegacy(t *testing.T) {
	const machine = "\x80\x02}."
	object := program(call(tupled(text("storage"), name("torch", "HalfStorage"), text("k"), text("cuda:0"), "K\x02", "N")+"Q", "K\x00", integers(2), integers(1), no, hooks))
	keys := func(names ...string) string { return "\x80\x02](" + strings.Join(names, "") + "e." }
	good := elements(2, "1234")
	tensors, err := Parse([]byte(legacyMagic + legacyVersion + machine + object + "\x80\x02]" + text("k") + "a." + good))
	if err != nil || string(tensors["a"].Data) != "1234" {
		t.Fatalf("%v, %v", tensors, err)
	}
	for name, c := range map[string]struct{ after, want string }{
		"version":            {"\x80\x02M\xea\x03." + machine + object + keys(text("k")) + good, "is not 1001"},
		"nothing":            {"", "is not 1001"},
		"machine":            {legacyVersion + program(strings.Repeat("N", 2)), "machine: "},
		"hostile machine":    {legacyVersion + program(name("os", "system")), `machine: byte 9 of the pickle: it names "os.system"`},
		"hostile keys":       {legacyVersion + machine + object + program(name("os", "system")), `keys: byte 9`},
		"a long object":      {legacyVersion + machine + "\x80\x02}" + strings.Repeat("q\x00", maxPickle), "object: byte 1048575 of the pickle: the pickle is longer than the limit"},
		"keys a dict":        {legacyVersion + machine + object + "\x80\x02}.", "keys: a dict, not a list"},
		"keys of numbers":    {legacyVersion + machine + object + keys("K\x01"), "keys: one is an integer"},
		"no keys":            {legacyVersion + machine + object + keys() + good, "there are 0 for 1 storages"},
		"a key more":         {legacyVersion + machine + object + keys(text("k"), text("k")) + good + good, "there are 2 for 1"},
		"another key":        {legacyVersion + machine + object + keys(text("l")) + good, `"l" comes twice or names no storage`},
		"cut in the data":    {legacyVersion + machine + object + keys(text("k")) + good[:11], `storage "k" is truncated`},
		"cut in the count":   {legacyVersion + machine + object + keys(text("k")) + good[:7], "truncated"},
		"more elements":      {legacyVersion + machine + object + keys(text("k")) + elements(3, "123456"), `storage "k" has 3 elements; the pickle says 2`},
		"fewer elements":     {legacyVersion + machine + object + keys(text("k")) + elements(1, "1234"), "has 1 elements"},
		"negative elements":  {legacyVersion + machine + object + keys(text("k")) + elements(1<<64-1, "1234"), "has 18446744073709551615 elements"},
		"something after it": {legacyVersion + machine + object + keys(text("k")) + good + "x", "1 bytes follow the last storage"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(legacyMagic + c.after))
			wants(t, err, c.want)
		})
	}
}

func TestParseLegacyKeyTwice(t *testing.T) {
	storage := func(key string) string {
		return tupled(text("storage"), name("torch", "HalfStorage"), text(key), text("cpu"), "K\x01", "N") + "Q"
	}
	object := program(tupled(storage("k"), storage("l")))
	keys := "\x80\x02](" + text("k") + text("k") + "e."
	_, err := Parse([]byte(legacyMagic + legacyVersion + "\x80\x02}." + object + keys + elements(1, "12") + elements(1, "12")))
	wants(t, err, `"k" comes twice`)
}
