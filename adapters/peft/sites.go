package peft

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"valence/runtime/mt5/spec"
)

// headModule is the path of the projection to the vocabulary.
const headModule = "lm_head"

// Sites lists the vectors that an adapter of this configuration has on a model, in
// the order of the model's Linears.
//
// It follows PEFT 0.18.0: a list of target_modules or exclude_modules chooses the
// modules whose path is a name or ends in "." and a name, while a list of
// feedforward_modules chooses those whose path ends in a name; a string is a
// regular expression for the whole path; "all-linear" as target_modules means all
// projections but the head; null means PEFT's default for the model type, or for
// exclude_modules nothing. PEFT can scale the head too; this project cannot.
//
// Errors wrap ErrAdapter and name the field.
func (c *Config) Sites(model *spec.Config) ([]spec.Site, error) {
	sites, err := c.sites(model)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAdapter, err)
	}
	return sites, nil
}

func (c *Config) sites(model *spec.Config) ([]spec.Site, error) {
	if err := c.checkSubset(); err != nil {
		return nil, err
	}
	target, feedForward := c.withDefaults(model)
	isFeedForward, err := feedForward.match(endingIn)
	if err != nil {
		return nil, fmt.Errorf("feedforward_modules: %w", err)
	}
	isTarget, err := c.chosen(target, model)
	if err != nil {
		return nil, err
	}
	sites := model.Sites(isTarget, isFeedForward)
	if len(sites) == 0 {
		return nil, errors.New("target_modules and exclude_modules leave no projection of the model to scale")
	}
	return sites, nil
}

// checkSubset applies a rule that PEFT has for lists alone.
func (c *Config) checkSubset() error {
	if c.Target.Names == nil {
		return nil
	}
	for _, n := range c.FeedForward.Names {
		if !slices.Contains(c.Target.Names, n) {
			return fmt.Errorf("feedforward_modules names %q, which is not among target_modules", n)
		}
	}
	return nil
}

func (c *Config) withDefaults(model *spec.Config) (target, feedForward Modules) {
	target, feedForward = c.Target, c.FeedForward
	targetNames, feedForwardNames := model.DefaultTargets()
	if target.IsNull() {
		target.Names = targetNames
	}
	if feedForward.IsNull() {
		feedForward.Names = feedForwardNames
	}
	return target, feedForward
}

// chosen gives the test for a target that is not excluded. It is an error if that
// chooses anything but projections within the two stacks.
func (c *Config) chosen(target Modules, model *spec.Config) (spec.Match, error) {
	excluded := func(string) bool { return false }
	if !c.Exclude.isEmpty() {
		var err error
		if excluded, err = c.Exclude.match(spec.AnyOf); err != nil {
			return nil, fmt.Errorf("exclude_modules: %w", err)
		}
	}
	if target.Pattern != nil && strings.EqualFold(*target.Pattern, allLinear) {
		return func(module string) bool { return !excluded(module) }, nil
	}
	included, err := target.match(spec.AnyOf)
	if err != nil {
		return nil, fmt.Errorf("target_modules: %w", err)
	}
	match := func(module string) bool { return !excluded(module) && included(module) }
	for _, module := range otherModules(model) {
		switch {
		case !match(module):
		case module == headModule:
			return nil, fmt.Errorf("target_modules choose %s; scaling the head is not supported", module)
		default:
			return nil, fmt.Errorf("target_modules choose %s, which is not a projection; only projections can be scaled", module)
		}
	}
	return match, nil
}

// others remembers what otherModules lists of a model. An adapter is loaded while somebody
// waits for it, and a process has few models.
var others sync.Map // spec.Config -> []string

func otherModules(model *spec.Config) []string {
	if known, ok := others.Load(*model); ok {
		return known.([]string)
	}
	list := listOtherModules(model)
	others.Store(*model, list)
	return list
}

// listOtherModules lists, in order of their paths, the modules of transformers' model
// that are no projection within the stacks: those PEFT refuses to scale, and the
// head. The embeddings appear once, as shared.
func listOtherModules(model *spec.Config) []string {
	projections := map[string]bool{}
	for _, l := range model.Linears() {
		projections[l.Module] = true
	}
	others := map[string]bool{headModule: true}
	for _, w := range model.Weights() {
		path := strings.TrimSuffix(w.Name, ".weight")
		for path != "" {
			if !projections[path] {
				others[path] = true
			}
			path = parent(path)
		}
	}
	for path := range maps.Clone(others) {
		for _, child := range childrenWithoutWeights(path) {
			others[path+"."+child] = true
		}
	}
	return slices.Sorted(maps.Keys(others))
}

// parent cuts the last name off a path.
func parent(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

// childrenWithoutWeights names the children of a module that a checkpoint does not
// tell of.
func childrenWithoutWeights(path string) []string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case last == "DenseReluDense":
		return []string{"act", "dropout"}
	case last == "encoder", last == "decoder", strings.HasSuffix(parent(path), ".layer"):
		return []string{"dropout"}
	}
	return nil
}
