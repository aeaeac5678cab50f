package peft

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math"
	"slices"
	"strconv"
	"strings"

	"valence/runtime/mt5/spec"
)

// Digest names an adapter by what it holds, not by how a file spells it: "sha256:"
// and the hexadecimal SHA-256 of a sequence of netstrings ("<length>:<bytes>,"):
//
//   - "valence adapter 1";
//   - for each vector, in byte order of the keys: its key in a PEFT checkpoint; its
//     shape, such as "1024x1" or "1x2816"; its values as little-endian float32;
//   - for each label of the sidecar, in its order: "label", its name, its verbaliser.
//
// So an adapter has the same digest whichever way it came, whether its file holds
// F32 or, with the same values, F16, and whatever else its sidecar says. The sidecar
// is the text of valence.json, or nil; one that is not JSON, or whose labels are not
// a list of objects with those two strings, gives an error that wraps ErrAdapter.
func Digest(v *spec.Vectors, sidecar []byte) (string, error) {
	h := sha256.New()
	frame(h, "valence adapter 1")
	frameVectors(h, v)
	labels, err := parseLabels(sidecar)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrAdapter, sidecarFile, err)
	}
	for _, l := range labels {
		frame(h, "label")
		frame(h, l.Name)
		frame(h, l.Verbaliser)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// frame writes a netstring. A hash never refuses what it is given.
func frame[T string | []byte](h hash.Hash, s T) {
	h.Write(append(strconv.AppendInt(nil, int64(len(s)), 10), ':'))
	h.Write([]byte(s))
	h.Write([]byte{','})
}

func frameVectors(h hash.Hash, v *spec.Vectors) {
	type vector struct {
		spec.Site
		key    string
		values []float32
	}
	vectors, rest := make([]vector, len(v.Sites)), v.Data
	for i, s := range v.Sites {
		vectors[i], rest = vector{s, s.Key(), rest[:s.Size]}, rest[s.Size:]
	}
	slices.SortFunc(vectors, func(a, b vector) int { return cmp.Compare(a.key, b.key) })
	var bytes []byte
	for _, x := range vectors {
		bytes = bytes[:0]
		for _, f := range x.values {
			bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(f))
		}
		frame(h, x.key)
		frame(h, dimensions(x.Shape()))
		frame(h, bytes)
	}
}

func dimensions(shape []int64) string {
	parts := make([]string, len(shape))
	for i, n := range shape {
		parts[i] = strconv.FormatInt(n, 10)
	}
	return strings.Join(parts, "x")
}

// label is what the digest knows of a sidecar's label.
type label struct {
	Name       string `json:"name"`
	Verbaliser string `json:"verbaliser"`
}

func parseLabels(sidecar []byte) ([]label, error) {
	if sidecar == nil {
		return nil, nil
	}
	var s struct {
		Labels []label `json:"labels"`
	}
	if err := json.Unmarshal(sidecar, &s); err != nil {
		return nil, err
	}
	return s.Labels, nil
}
