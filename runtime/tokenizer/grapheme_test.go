package tokenizer

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestGraphemeConformance runs Unicode's own GraphemeBreakTest.
func TestGraphemeConformance(t *testing.T) {
	data, err := os.ReadFile("testdata/grapheme_break_test.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) < 1000 {
		t.Errorf("only %d lines", len(lines))
	}
	for _, line := range lines {
		var text strings.Builder
		var want []int
		for _, field := range strings.Fields(line) {
			switch field {
			case "÷":
				want = append(want, text.Len())
			case "×":
			default:
				r, err := strconv.ParseInt(field, 16, 32)
				if err != nil {
					t.Fatal(err)
				}
				text.WriteRune(rune(r))
			}
		}
		s := text.String()
		at := 0
		for _, boundary := range want[1:] {
			if at += graphemeLen(s[at:]); at != boundary {
				t.Errorf("%s: cluster ends at byte %d, want %d", line, at, boundary)
				break
			}
		}
	}
}

func TestGraphemeClasses(t *testing.T) {
	for r, want := range map[rune]graphemeClass{
		'a': classOther, 0x7f: classControl, '\r': classCR, '\n': classLF, 0xad: classControl, 0x300: classExtend, 0x200c: classExtendPlain,
		0x200d: classZWJ, 0x94d: classLinker, 0x915: classConsonant, 0x600: classPrepend, 0x903: classSpacingMark, 0x1f1e6: classRegional,
		0x1100: classL, 0x1160: classV, 0x11a8: classT, 0xac00: classLV, 0xac01: classLVT, 0x1f600: classPictographic,
		0x897:   classExtend, // new in Unicode 16
		0xe0100: classExtend, utf8.MaxRune: classOther,
	} {
		if got := classOf(r); got != want {
			t.Errorf("class of U+%04X = %d, want %d", r, got, want)
		}
	}
}
