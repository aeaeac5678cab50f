package spec

import (
	"fmt"
	"slices"
	"strings"
)

// Site is one place where an IA3 vector acts: it scales the output of a
// projection, (W x) * l, or its input, W (x * l).
//
// Source: Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better
// and Cheaper than In-Context Learning"; the two forms are those of PEFT.
type Site struct {
	Module string // path of the Linear
	Input  bool   // scales the input
	Size   int    // elements of the vector: the projection's In or Out
}

// Key is the site's tensor name in a PEFT checkpoint.
func (s Site) Key() string { return "base_model.model." + s.Module + ".ia3_l" }

// Shape is the tensor's shape in a PEFT checkpoint: (size, 1) for an output and
// (1, size) for an input.
func (s Site) Shape() []int64 {
	if s.Input {
		return []int64{1, int64(s.Size)}
	}
	return []int64{int64(s.Size), 1}
}

// Match tells whether a module, named by its path, is chosen.
type Match func(module string) bool

// AnyOf chooses the modules whose path is one of names or ends in "." and one
// of names, as PEFT treats a list.
func AnyOf(names ...string) Match {
	return func(module string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			return module == n || strings.HasSuffix(module, "."+n)
		})
	}
}

// Sites lists the vectors of an adapter with the given targets, in the order of
// Linears. feedForward chooses those among the targets that scale their input.
func (c *Config) Sites(target, feedForward Match) []Site {
	var out []Site
	for _, l := range c.Linears() {
		switch {
		case !target(l.Module):
		case feedForward(l.Module):
			out = append(out, Site{l.Module, true, l.In})
		default:
			out = append(out, Site{l.Module, false, l.Out})
		}
	}
	return out
}

// DefaultTargets gives the target and feed-forward module names that PEFT 0.18
// chooses for the model type.
func (c *Config) DefaultTargets() (target, feedForward []string) {
	if c.ModelType == "mt5" {
		return []string{"k", "v", "wi_1"}, []string{}
	}
	return []string{"k", "v", "wo"}, []string{"wo"}
}

// DefaultSites lists the vectors of an adapter made with PEFT's defaults.
func (c *Config) DefaultSites() []Site {
	target, ff := c.DefaultTargets()
	return c.Sites(AnyOf(target...), AnyOf(ff...))
}

// Vectors are the IA3 vectors of one adapter version. They are immutable: the
// device keeps copies that it finds by the pointer.
type Vectors struct {
	Sites []Site
	Data  []float32 // the sites' vectors one after another; their sizes sum to len(Data)
}

// NewVectors checks that data is as long as the sites ask.
func NewVectors(sites []Site, data []float32) (*Vectors, error) {
	if n := Total(sites); n != len(data) {
		return nil, fmt.Errorf("spec: %d sites hold %d elements, not %d", len(sites), n, len(data))
	}
	return &Vectors{Sites: sites, Data: data}, nil
}

// Total counts the elements of all sites: the trainable parameters of an adapter.
func Total(sites []Site) int {
	n := 0
	for _, s := range sites {
		n += s.Size
	}
	return n
}
