package registry

import (
	"strconv"
	"strings"

	"valence/adapters"
)

// versionKey names a version in the cache. Numbers are never used again, and the digest
// says what it is.
func versionKey(id string, number int, digest string) string {
	return id + "@" + versionName(number) + "@" + digest
}

// blendKey names a mixture in the cache: one line for the strength and one for each
// part. No key of a version holds a space or a line's end.
func blendKey(parts []blendPart, strength float64) string {
	var b strings.Builder
	b.WriteString("blend " + number(strength))
	for _, p := range parts {
		b.WriteString("\n" + number(p.weight) + " " + p.source.key())
	}
	return b.String()
}

// blendDigest names what a mixture answers: versions of any ids that hold the same give
// the same.
func blendDigest(entries []*adapters.Entry, parts []blendPart, strength float64) string {
	var b strings.Builder
	b.WriteString("blend " + number(strength))
	for i, e := range entries {
		b.WriteString("\n" + number(parts[i].weight) + " " + e.Digest)
	}
	return b.String()
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// uses tells whether a key is that of one of some versions, or of a mixture with one.
func uses(key string, versions map[string]bool) bool {
	if !strings.HasPrefix(key, "blend ") {
		return versions[key]
	}
	for line := range strings.SplitSeq(key, "\n") {
		if _, part, _ := strings.Cut(line, " "); versions[part] {
			return true
		}
	}
	return false
}
