package mt5

import (
	"fmt"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// layout puts the vectors of an adapter's sites side by side in one row of numbers.
type layout struct {
	linears []spec.Linear
	columns []column
	first   map[spec.Site]int // first column of each site
	width   int               // columns in all
}

// column is a site's place in a layout.
type column struct {
	at, size int64
	linear   int // number of the projection in spec.Config.Linears
	input    bool
}

func newLayout(config *spec.Config) layout {
	return layout{linears: config.Linears(), first: map[spec.Site]int{}}
}

// widen gives columns to sites that have none. After an error no site has got any.
func (l *layout) widen(sites []spec.Site) error {
	columns, width := len(l.columns), l.width
	for i, site := range sites {
		if _, ok := l.first[site]; ok {
			continue
		}
		id, err := l.find(site)
		if err != nil {
			for _, before := range sites[:i] {
				if l.first[before] >= width {
					delete(l.first, before)
				}
			}
			l.columns, l.width = l.columns[:columns], width
			return err
		}
		l.first[site] = l.width
		l.columns = append(l.columns, column{int64(l.width), int64(site.Size), id, site.Input})
		l.width += site.Size
	}
	return nil
}

// find gives the number of the projection that a site acts on.
func (l *layout) find(site spec.Site) (int, error) {
	for id, p := range l.linears {
		if p.Module != site.Module {
			continue
		}
		size := p.Out
		if site.Input {
			size = p.In
		}
		if size != site.Size {
			return 0, fmt.Errorf("mt5: adapter: %s has %d elements, this base needs %d", site.Key(), site.Size, size)
		}
		return id, nil
	}
	return 0, fmt.Errorf("mt5: adapter: this base has no module %q", site.Module)
}

// scales are the IA3 vectors of a batch's rows, by the number of the projection:
// each [rows, 1, size], or [1, 1, size] when all rows share one adapter. A zero
// Tensor means that no row has a vector there; nil slices, that all rows are the
// base's.
type scales struct {
	in, out []torch.Tensor
}

// scales has room for every projection.
func (l *layout) scales() scales {
	return scales{in: make([]torch.Tensor, len(l.linears)), out: make([]torch.Tensor, len(l.linears))}
}

// split cuts gathered rows [n, width] into the vectors of each site.
func (l *layout) split(s *torch.Scope, rows torch.Tensor) scales {
	rows = s.Unsqueeze(rows, 1)
	sc := l.scales()
	for _, c := range l.columns {
		sc.set(c, s.Narrow(rows, 2, c.at, c.size))
	}
	return sc
}

func (sc *scales) set(c column, v torch.Tensor) {
	if c.input {
		sc.in[c.linear] = v
	} else {
		sc.out[c.linear] = v
	}
}
