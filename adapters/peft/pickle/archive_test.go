package pickle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
)

var vectorOf4 = program(tensorOf(storageOf("FloatStorage", "0", 4), 0, []int64{4}, []int64{1}))

func TestParseRefusesArchives(t *testing.T) {
	whole := []record{{"x/data.pkl", vectorOf4}, {"x/data/0", strings.Repeat("1234", 4)}}
	if _, err := Parse(zipOf(t, whole...)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		more []record
		want string
	}{
		"twice":             {[]record{{"x/data/0", "1234"}}, `"x/data/0" comes twice`},
		"another folder":    {[]record{{"y/data/1", "1234"}}, `"y/data/1" is not in folder "x"`},
		"above":             {[]record{{"x/../../y", ""}}, `"x/../../y": the name is not a plain path`},
		"absolute":          {[]record{{"/etc/passwd", ""}}, "not a plain path"},
		"backslash":         {[]record{{`x\y`, ""}}, "not a plain path"},
		"zero byte":         {[]record{{"x/\x00", ""}}, "not a plain path"},
		"a folder":          {[]record{{"x/data/", ""}}, "not a plain path"},
		"not UTF-8":         {[]record{{"x/\xff", ""}}, "not a plain path"},
		"the folder's name": {[]record{{"x", ""}}, `"x" is not in folder "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(zipOf(t, append(whole, c.more...)...))
			wants(t, err, c.want)
		})
	}
	for name, c := range map[string]struct {
		records []record
		want    string
	}{
		"no pickle":       {[]record{{"x/data/0", "1"}}, "data.pkl: the zip archive has no such file"},
		"flat":            {[]record{{"data.pkl", vectorOf4}}, `is not in folder "data.pkl"`},
		"pickle too long": {[]record{{"x/data.pkl", strings.Repeat("N", maxPickle+1)}}, "data.pkl: its 1048577 bytes are above the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(zipOf(t, c.records...))
			wants(t, err, c.want)
		})
	}
}

func TestParseRefusesCompressed(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, data := range map[string]string{"x/data.pkl": vectorOf4, "x/data/0": strings.Repeat("\x00", 1<<20)} {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Parse(b.Bytes())
	wants(t, err, "it is compressed")
}

// Places in an entry of a zip archive's directory.
const (
	atFlags          = 8
	atMethod         = 10
	atCRC            = 16
	atCompressedSize = 20
	atSize           = 24
	atOffset         = 42
)

func TestParseRefusesFalseDirectory(t *testing.T) {
	le := binary.LittleEndian
	for name, c := range map[string]struct {
		change func(first, second []byte)
		want   string
	}{
		"one over another": {func(first, second []byte) {
			copy(first[atCRC:atCRC+12], second[atCRC:])
			copy(first[atOffset:atOffset+4], second[atOffset:])
		}, "more than the archive has room for"},
		"larger than all": {func(_, second []byte) {
			le.PutUint32(second[atCompressedSize:], 1<<31)
			le.PutUint32(second[atSize:], 1<<31)
		}, "2147483648 bytes are more"},
		"into the next":    {func(first, _ []byte) { le.PutUint32(first[atCompressedSize:], 200); le.PutUint32(first[atSize:], 200) }, "zip: "},
		"sizes differ":     {func(_, second []byte) { le.PutUint32(second[atSize:], 8) }, "it is compressed"},
		"another method":   {func(_, second []byte) { le.PutUint16(second[atMethod:], 99) }, "it is compressed"},
		"encrypted":        {func(_, second []byte) { second[atFlags] |= 1 }, "it is encrypted"},
		"another CRC":      {func(_, second []byte) { second[atCRC] ^= 1 }, "data/0: zip: checksum error"},
		"offset beyond":    {func(_, second []byte) { le.PutUint32(second[atOffset:], 1<<30) }, "data/0: EOF"},
		"offset elsewhere": {func(_, second []byte) { le.PutUint32(second[atOffset:], 1) }, "data/0: zip: not a valid zip file"},
	} {
		t.Run(name, func(t *testing.T) {
			data := zipOf(t, record{"x/data.pkl", vectorOf4}, record{"x/data/0", strings.Repeat("1234", 1<<10)})
			c.change(central(data, 0), central(data, 1))
			_, err := Parse(data)
			wants(t, err, c.want)
		})
	}
}

func TestParseRefusesManyFiles(t *testing.T) {
	records := make([]record, maxRecords+1)
	for i := range records {
		records[i].name = "x/data/" + strconv.Itoa(i)
	}
	_, err := Parse(zipOf(t, records...))
	wants(t, err, "it has 16385 files")
	_, err = Parse([]byte("PK\x03\x04" + string(zipOf(t))))
	wants(t, err, "it has 0 files")
}

func TestParseRefusesOthers(t *testing.T) {
	for name, data := range map[string]string{
		"empty":         "",
		"a bare pickle": vectorOf4,
		"text":          "version https://git-lfs.github.com/spec/v1\n",
		"safetensors":   "\x02\x00\x00\x00\x00\x00\x00\x00{}",
		"empty archive": string(zipOf(t)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(data))
			wants(t, err, "does not begin as torch.save begins a file")
		})
	}
	_, err := Parse([]byte(zipMagic + strings.Repeat("x", 100)))
	wants(t, err, "zip: not a valid zip file")
}
