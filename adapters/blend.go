package adapters

import (
	"errors"
	"fmt"
	"math"

	"valence/runtime/mt5/spec"
)

// ErrBlend is wrapped by errors about a mixture that cannot be made.
var ErrBlend = errors.New("adapters: blend")

// MaxStrength is how far an adapter may be turned up: 1 is as it was trained, 0 the
// base.
const MaxStrength = 1.5

// Part is one adapter's share of a blend.
type Part struct {
	Vectors *spec.Vectors // nil is the base: all ones
	Weight  float64       // above 0; the weights of all parts sum to 1
}

// weightSlack is how far the weights' sum may be from 1: what decimals leave.
const weightSlack = 1e-6

// Blend mixes adapters and turns the mixture's effect up or down:
//
//	l = 1 + strength * (sum of weight * (l_part - 1))
//
// at every site that any part has; a part without a site counts as ones there. One
// part of weight 1 with strength 1 gives its vectors to the bit. Errors wrap ErrBlend.
func Blend(parts []Part, strength float64) (*spec.Vectors, error) {
	if err := checkBlend(parts, strength); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBlend, err)
	}
	if len(parts) == 1 && strength == 1 {
		return parts[0].Vectors, nil
	}
	first := map[spec.Site]int{}
	var sites []spec.Site
	total := 0
	for _, p := range parts {
		for _, site := range sitesOf(p.Vectors) {
			if _, ok := first[site]; !ok {
				first[site] = total
				sites = append(sites, site)
				total += site.Size
			}
		}
	}
	if total == 0 {
		return nil, nil
	}
	effect := make([]float64, total)
	for _, p := range parts {
		p.addTo(effect, first, strength*p.Weight)
	}
	data := make([]float32, total)
	for i, e := range effect {
		data[i] = float32(1 + e)
	}
	return spec.NewVectors(sites, data)
}

func sitesOf(v *spec.Vectors) []spec.Site {
	if v == nil {
		return nil
	}
	return v.Sites
}

// addTo adds the part's effect, scaled, at its sites' places.
func (p Part) addTo(effect []float64, first map[spec.Site]int, scale float64) {
	at := 0
	for _, site := range sitesOf(p.Vectors) {
		into := effect[first[site]:]
		for i, l := range p.Vectors.Data[at : at+site.Size] {
			into[i] += scale * (float64(l) - 1)
		}
		at += site.Size
	}
}

func checkBlend(parts []Part, strength float64) error {
	if len(parts) == 0 {
		return errors.New("there are no adapters")
	}
	if !(strength >= 0 && strength <= MaxStrength) {
		return fmt.Errorf("strength is %v; it must be from 0 to %v", strength, MaxStrength)
	}
	sum := 0.0
	for i, p := range parts {
		if !(p.Weight > 0 && p.Weight <= 1) {
			return fmt.Errorf("weight %d is %v; it must be above 0 and at most 1", i+1, p.Weight)
		}
		sum += p.Weight
	}
	if math.Abs(sum-1) > weightSlack {
		return fmt.Errorf("the weights sum to %v; they must sum to 1", sum)
	}
	return nil
}
