package peft

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxInstructions bounds a compiled regular expression, and so the time that one
// with large counted repetitions takes.
const maxInstructions = 8192

// sharedEscapes are the letters that mean the same after a backslash in Python's
// regular expressions and in Go's.
const sharedEscapes = "ABDSWabdfnrstvwx"

var (
	// sharedGroup is how a special group may begin: not capturing, named, or with
	// flags of its own.
	sharedGroup = regexp.MustCompile(`^\(\?(P<|[ims]*(-[ims]+)?:)`)
	// leadingFlags are flags for all of the expression.
	leadingFlags = regexp.MustCompile(`^\(\?[ims]+\)`)
)

// compile translates a Python regular expression into one that matches a whole
// text, as re.fullmatch does. Go's engine takes time linear in the text and for
// that lacks lookaround, backreferences and more; what it lacks, and what both
// have with different meanings, is refused.
func compile(pattern string) (*regexp.Regexp, error) {
	if err := checkShared(pattern); err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	// On its own, so that no parenthesis can pair with those added below.
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%w; lookaround, backreferences and other means of Python that need backtracking are not supported", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	if n := len(program.Inst); n > maxInstructions {
		return nil, fmt.Errorf("the regular expression is too large: %d steps, above the limit of %d", n, maxInstructions)
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// checkShared refuses what Go would read in another way than Python.
func checkShared(p string) error {
	class := false
	for i := leadingLen(p); i < len(p); i++ {
		rest := p[i:]
		switch {
		case rest[0] == '\\':
			if err := checkEscape(rest); err != nil {
				return err
			}
			i++
		case class:
			class = rest[0] != ']'
			if strings.HasPrefix(rest, "[:") {
				return fmt.Errorf("%q: Python has no named character classes", rest)
			}
		case rest[0] == '[':
			class = true
			i += classStart(rest)
		case strings.HasPrefix(rest, "{,"):
			return fmt.Errorf("%q: write {0,n} for a repetition without a lower bound", rest)
		case strings.HasPrefix(rest, "(?") && !sharedGroup.MatchString(rest):
			return fmt.Errorf("%q: a group that begins like this is not supported", rest)
		}
	}
	return nil
}

func leadingLen(p string) int { return len(leadingFlags.FindString(p)) }

// checkEscape looks at the escape that begins rest.
func checkEscape(rest string) error {
	if len(rest) < 2 {
		return nil // a lone backslash, which the parser names better
	}
	c := rest[1]
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	digit := '0' <= c && c <= '9'
	if digit || letter && strings.IndexByte(sharedEscapes, c) < 0 || strings.HasPrefix(rest, `\x{`) {
		return fmt.Errorf("%q: this escape is not supported", rest)
	}
	return nil
}

// classStart is how many bytes after the bracket cannot end a character class: the
// negation, and a bracket that stands first.
func classStart(rest string) int {
	n := 0
	if strings.HasPrefix(rest[1:], "^") {
		n++
	}
	if strings.HasPrefix(rest[1+n:], "]") {
		n++
	}
	return n
}
