package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// textInput is a file of text that has been looked at: it is not packed, not in a
// recognisable encoding other than UTF-8, not empty, and its byte order mark is skipped.
type textInput struct {
	*bufio.Reader
	budget    *budget
	maxRecord int // bytes
}

// sniffed is how much of a file is looked at before it is read.
const sniffed = 4096

func newTextInput(r io.Reader, maxRecord int) (*textInput, error) {
	b := &budget{r: r, limit: maxRecord + sniffed}
	in := &textInput{bufio.NewReaderSize(b, sniffed), b, maxRecord}
	b.renew()
	head, err := in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := checkHead(head); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, utf8Mark) {
		_, _ = in.Discard(len(utf8Mark)) // it was peeked at
		head = head[len(utf8Mark):]
	}
	if len(head) == 0 {
		return nil, ErrEmpty
	}
	return in, nil
}

var utf8Mark = []byte("\xef\xbb\xbf")

// packed are the beginnings of files that hold text only once they are unpacked.
var packed = []struct{ magic, what, do string }{
	{"\x1f\x8b", "packed by gzip", "unpack it with gunzip"},
	{"PK\x03\x04", "a ZIP archive, as Excel's workbooks are", "unpack it, or save the sheet as CSV UTF-8"},
	{"\xd0\xcf\x11\xe0", "an Office document", "save the sheet as CSV UTF-8"},
	{"BZh", "packed by bzip2", "unpack it with bunzip2"},
	{"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it with unzstd"},
	{"\xfd7zXZ", "packed by xz", "unpack it with unxz"},
	{"PAR1", "Parquet", "give its format as parquet"},
}

func checkHead(head []byte) error {
	for _, p := range packed {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			return fmt.Errorf("%w: the file is %s; %s", ErrEncoding, p.what, p.do)
		}
	}
	if name := wideEncoding(head); name != "" {
		return fmt.Errorf("%w: the file is %s; convert it with: iconv -f %[2]s -t UTF-8", ErrEncoding, name)
	}
	return nil
}

// wideEncoding names an encoding of two or four bytes a character, by its byte order
// mark or by the zeros that it puts beside ASCII.
func wideEncoding(head []byte) string {
	for _, mark := range []struct{ mark, name string }{
		{"\xff\xfe\x00\x00", "UTF-32"}, {"\x00\x00\xfe\xff", "UTF-32"}, {"\xff\xfe", "UTF-16"}, {"\xfe\xff", "UTF-16"},
	} {
		if bytes.HasPrefix(head, []byte(mark.mark)) {
			return mark.name
		}
	}
	var zeros [2]int
	for i, b := range head {
		if b == 0 {
			zeros[i%2]++
		}
	}
	switch half := len(head) / 2; {
	case zeros[1] > half/2 && zeros[0] <= half/8:
		return "UTF-16LE"
	case zeros[0] > half/2 && zeros[1] <= half/8:
		return "UTF-16BE"
	}
	return ""
}

// checkUTF8 tells where a text is not UTF-8.
func checkUTF8(s string) error {
	if utf8.ValidString(s) {
		return nil
	}
	at := 0
	for {
		r, size := utf8.DecodeRuneInString(s[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return fmt.Errorf("%w: byte %d of the text, 0x%02x, is not UTF-8; if the file is Windows-1252 or Latin-1, convert it with: iconv -f WINDOWS-1252 -t UTF-8",
		ErrEncoding, at+1, s[at])
}

// budget refuses to read on when a row takes more than it may.
type budget struct {
	r     io.Reader
	limit int // bytes from one renewal to the next
	left  int
}

func (b *budget) renew() { b.left = b.limit }

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: it has more than %d bytes", ErrTooLong, b.limit-sniffed)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrRead, err)
	}
	return n, err
}
