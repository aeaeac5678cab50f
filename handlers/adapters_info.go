package handlers

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters"
)

// adapterList answers GET /v1/adapters.
type adapterList struct {
	Adapters []adapterInfo `json:"adapters"`
	Next     string        `json:"next,omitzero"` // "after" of the next page; none of the last one
}

// adapterInfo describes an adapter by one of its versions: the active one, unless
// another was asked for. Without either there is none.
type adapterInfo struct {
	ID string `json:"id"`
	*versionInfo
	Fixed    bool  `json:"fixed"`
	Pinned   bool  `json:"pinned"`
	Requests int64 `json:"requests"`
}

// versionInfo is what answers depend on.
type versionInfo struct {
	Version      string         `json:"version"`
	Digest       string         `json:"digest"`
	Labels       []labelInfo    `json:"labels"`
	Template     string         `json:"template,omitzero"`
	Temperature  float64        `json:"temperature"`
	AbstainBelow float64        `json:"abstain_below"`
	Sites        int            `json:"sites"`
	Parameters   int            `json:"parameters"`
	Metrics      jsontext.Value `json:"metrics,omitzero"` // as the sidecar has them
}

type labelInfo struct {
	Name       string `json:"name"`
	Verbaliser string `json:"verbaliser"`
}

// adapterDetail answers GET /v1/adapters/{id} and every change of the adapter.
type adapterDetail struct {
	adapterInfo
	Versions []versionDetail `json:"versions"`     // oldest first
	New      *bool           `json:"new,omitzero"` // of uploads and pulls
}

// versionDetail is one line of an adapter's history.
type versionDetail struct {
	Version       string          `json:"version"`
	Digest        string          `json:"digest"`
	Base          string          `json:"base"`
	Source        adapters.Source `json:"source"`
	Origin        string          `json:"origin"`
	Private       bool            `json:"private"`
	Created       time.Time       `json:"created,omitzero"` // none of the base
	Bytes         int64           `json:"bytes"`
	Sites         int             `json:"sites"`
	Parameters    int             `json:"parameters"`
	Active        bool            `json:"active"`
	Resident      bool            `json:"resident"`
	ResidentBytes int64           `json:"resident_bytes"`
	Leases        int             `json:"leases"`
	Metrics       jsontext.Value  `json:"metrics,omitzero"`
}

// infoOf describes an adapter by a version, or nil.
func infoOf(i adapters.Info, v *adapters.Version) adapterInfo {
	out := adapterInfo{ID: i.ID, Fixed: i.Fixed, Pinned: i.Pinned, Requests: i.Requests}
	if v == nil {
		return out
	}
	s := v.Sidecar
	out.versionInfo = &versionInfo{
		Version: v.Name, Digest: v.Digest,
		Labels:   labelsOf(s),
		Template: s.Template, Temperature: s.Temperature, AbstainBelow: s.AbstainBelow,
		Sites: v.Sites, Parameters: v.Parameters, Metrics: s.Metrics,
	}
	return out
}

func labelsOf(s adapters.Sidecar) []labelInfo {
	out := make([]labelInfo, len(s.Labels))
	for i, l := range s.Labels {
		out[i] = labelInfo(l)
	}
	return out
}

// detailOf describes an adapter in full, by a version, or nil.
func detailOf(i adapters.Info, top *adapters.Version) adapterDetail {
	out := adapterDetail{adapterInfo: infoOf(i, top), Versions: make([]versionDetail, len(i.Versions))}
	for k, v := range i.Versions {
		out.Versions[k] = versionDetail{
			Version: v.Name, Digest: v.Digest, Base: v.Base, Source: v.Source, Origin: v.Origin, Private: v.Private,
			Created: v.Created.UTC(), Bytes: v.Bytes, Sites: v.Sites, Parameters: v.Parameters, Active: v.Active,
			Resident: v.Resident, ResidentBytes: v.ResidentBytes, Leases: v.Leases, Metrics: v.Sidecar.Metrics,
		}
	}
	return out
}
