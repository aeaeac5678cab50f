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
	"valence/runtime/safetensors"
)

// Digest names an adapter by what it answers with, not by how a file spells it:
// "sha256:" and the hexadecimal SHA-256 of a sequence of netstrings
// ("<length>:<bytes>,"):
//
//   - "valence adapter 1";
//   - for each vector, in byte order of the keys: its key in a PEFT checkpoint; its
//     shape, such as "1024x1" or "1x2816"; its values as little-endian float32;
//   - for each label of the sidecar, in its order: "label", its name, its verbaliser;
//   - "template", its text, "" where there is none;
//   - "temperature", the number as little-endian float64, 1 where there is none;
//   - "abstain_below", the number as little-endian float64, 0 where there is none.
//
// So an adapter has the same digest whichever way it came: from a safetensors file
// or a pickle, of F32 or, with the same values, F16, with a default written out or
// left out. What does not change an answer does not count: the sidecar's metrics and
// canary rows, and which field of the configuration chose the vectors.
//
// The sidecar is the text of valence.json, or nil. One that is not JSON, or in which
// those fields have other types, gives an error that wraps ErrAdapter.
func Digest(v *spec.Vectors, sidecar []byte) (string, error) {
	s, err := parseSidecar(sidecar)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrAdapter, sidecarFile, err)
	}
	h := sha256.New()
	frame(h, "valence adapter 1")
	frameVectors(h, v)
	for _, l := range s.Labels {
		frame(h, "label")
		frame(h, l.Name)
		frame(h, l.Verbaliser)
	}
	frame(h, "template")
	frame(h, s.Template)
	frameNumber(h, "temperature", s.Temperature)
	frameNumber(h, "abstain_below", s.AbstainBelow)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// frame writes a netstring. A hash never refuses what it is given.
func frame[T string | []byte](h hash.Hash, s T) {
	h.Write(append(strconv.AppendInt(nil, int64(len(s)), 10), ':'))
	h.Write([]byte(s))
	h.Write([]byte{','})
}

func frameNumber(h hash.Hash, name string, x float64) {
	frame(h, name)
	frame(h, binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)))
}

func frameVectors(h hash.Hash, v *spec.Vectors) {
	type vector struct {
		site   spec.Site
		key    string
		values []float32
	}
	vectors := make([]vector, 0, len(v.Sites))
	for site, values := range vectorsOf(v) {
		vectors = append(vectors, vector{site, site.Key(), values})
	}
	slices.SortFunc(vectors, func(a, b vector) int { return cmp.Compare(a.key, b.key) })
	for _, x := range vectors {
		frame(h, x.key)
		frame(h, dimensions(x.site.Shape()))
		frame(h, safetensors.Float32Bytes(x.values))
	}
}

func dimensions(shape []int64) string {
	parts := make([]string, len(shape))
	for i, n := range shape {
		parts[i] = strconv.FormatInt(n, 10)
	}
	return strings.Join(parts, "x")
}

// sidecar is what the digest knows of a valence.json.
type sidecar struct {
	Labels []struct {
		Name       string `json:"name"`
		Verbaliser string `json:"verbaliser"`
	} `json:"labels"`
	Template     string  `json:"template"`
	Temperature  float64 `json:"temperature"`
	AbstainBelow float64 `json:"abstain_below"`
}

func parseSidecar(text []byte) (sidecar, error) {
	s := sidecar{Temperature: 1}
	if text == nil {
		return s, nil
	}
	err := json.Unmarshal(text, &s)
	return s, err
}
