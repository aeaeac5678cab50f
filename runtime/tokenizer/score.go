package tokenizer

import (
	"fmt"
	"math"
	"strconv"
)

// maxSignificand is the largest significand that takes one more digit without overflow.
const maxSignificand = (math.MaxUint64 - 9) / 10

// parseScore reads a JSON number the way serde_json 1.0 does without its float_roundtrip feature, which is how the
// oracle reads scores: digits go into a 64-bit integer until it is full, further ones are dropped, and the integer is
// multiplied or divided by one power of ten. The result can be a unit in the last place off the nearest float64, and
// such a unit decides between segmentations of equal score.
func parseScore(b []byte) (float64, error) {
	if !validNumber(b) {
		return 0, fmt.Errorf("%q is not a number", b)
	}
	var significand uint64
	exponent, fraction, i := 0, false, 0
	if b[0] == '-' {
		i++
	}
digits:
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '.':
			fraction = true
		case c == 'e' || c == 'E':
			e, err := strconv.Atoi(string(b[i+1:]))
			if err != nil {
				return 0, fmt.Errorf("exponent of %q: %w", b, err)
			}
			exponent += e
			break digits
		case significand > maxSignificand:
			if !fraction {
				exponent++
			}
		default:
			significand = significand*10 + uint64(c-'0')
			if fraction {
				exponent--
			}
		}
	}
	v, err := scale(float64(significand), exponent)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", b, err)
	}
	if b[0] == '-' {
		v = -v
	}
	return v, nil
}

// scale returns v times ten to the power exponent, rounded once if |exponent| <= 308.
func scale(v float64, exponent int) (float64, error) {
	const largest = 308
	for ; exponent < -largest && v != 0; exponent += largest {
		v /= 1e308
	}
	switch {
	case v == 0:
		return v, nil
	case exponent < 0:
		return v / powerOfTen(-exponent), nil
	}
	if exponent > largest || math.IsInf(v*powerOfTen(exponent), 0) {
		return 0, fmt.Errorf("number out of range")
	}
	return v * powerOfTen(exponent), nil
}

// powerOfTen returns the float64 nearest to ten to the power n, for 0 <= n <= 308.
func powerOfTen(n int) float64 {
	if n <= 22 {
		return math.Pow10(n) // exact
	}
	v, _ := strconv.ParseFloat("1e"+strconv.Itoa(n), 64) // cannot fail in this range
	return v
}

// validNumber checks JSON's grammar of numbers (RFC 8259, section 6).
func validNumber(b []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(b) && b[n] >= '0' && b[n] <= '9' {
			n++
		}
		b = b[n:]
		return n > 0
	}
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	if len(b) > 1 && b[0] == '0' && b[1] >= '0' && b[1] <= '9' || !digits() {
		return false
	}
	if len(b) > 0 && b[0] == '.' {
		if b = b[1:]; !digits() {
			return false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		if b = b[1:]; len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(b) == 0
}
