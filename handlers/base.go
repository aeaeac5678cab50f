package handlers

import (
	"net/http"

	"valence/runtime/mt5/spec"
)

// Base describes the model that is served. All but MaxTokens are needed.
type Base struct {
	Name      string // as answers tell it: of a folder only its last part
	Digest    string
	DType     string // of weights and activations
	Device    string
	Config    *spec.Config
	MaxTokens int // longest row, its template and end marker included
}

// baseInfo answers GET /v1/base.
type baseInfo struct {
	Name       string       `json:"name"`
	Digest     string       `json:"digest"`
	DType      string       `json:"dtype"`
	Device     string       `json:"device"`
	Parameters int64        `json:"parameters"`
	MaxTokens  int          `json:"max_tokens"`
	Config     *spec.Config `json:"config"`
	IA3        ia3Info      `json:"ia3"`
}

// ia3Info is what PEFT's defaults make of the base.
type ia3Info struct {
	TargetModules      []string   `json:"target_modules"`
	FeedforwardModules []string   `json:"feedforward_modules"`
	Parameters         int        `json:"parameters"`
	Tensors            []siteInfo `json:"tensors"`
}

// siteInfo is one tensor of an adapter.
type siteInfo struct {
	Name  string  `json:"name"`
	Shape []int64 `json:"shape"`
}

// getBase answers GET /v1/base.
func (a *api) getBase(w http.ResponseWriter, r *http.Request) {
	if _, err := queryOf(r); err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, a.describeBase())
}

func (a *api) describeBase() baseInfo {
	b := a.Base
	target, feedForward := b.Config.DefaultTargets()
	sites := b.Config.DefaultSites()
	out := baseInfo{
		Name: b.Name, Digest: b.Digest, DType: b.DType, Device: b.Device, Config: b.Config,
		Parameters: b.Config.Parameters(), MaxTokens: b.MaxTokens,
		IA3: ia3Info{target, feedForward, spec.Total(sites), make([]siteInfo, len(sites))},
	}
	for i, s := range sites {
		out.IA3.Tensors[i] = siteInfo{s.Key(), s.Shape()}
	}
	return out
}
