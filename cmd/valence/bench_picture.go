package main

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"

	"valence/cmd/internal/bench"
)

// drawQuestion draws what was measured beside how far each bar is kept.
func drawQuestion(path string, q *bench.Question) error {
	left, err := measuredPlot(q)
	if err != nil {
		return err
	}
	right, err := barsPlot(q)
	if err != nil {
		return err
	}
	return drawBeside(path, left, right)
}

// missed is the colour of a bar that is missed; blue is that of one that is met.
var missed = color.RGBA{190, 50, 40, 255}

// level is one bar of a plot.
type level struct {
	name  string
	value float64
	color color.Color
}

// measuredPlot shows the median of everything that was measured. Each unit has its own
// scale, which ends at its largest figure.
func measuredPlot(q *bench.Question) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = q.Name + ": medians"
	p.HideX()
	most := map[string]float64{}
	for _, s := range q.Series {
		most[s.Unit] = max(most[s.Unit], s.Median)
	}
	var levels []level
	for _, s := range q.Series {
		length := 0.0
		if most[s.Unit] > 0 {
			length = s.Median / most[s.Unit]
		}
		levels = append(levels, level{fmt.Sprintf("%s: %s %s", s.Name, bench.Number(s.Median), s.Unit), length, blue})
	}
	return p, addLevels(p, levels)
}

// barsPlot shows how much of each bar is kept: what lies right of the line is met.
func barsPlot(q *bench.Question) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "bars: 1 is what is asked"
	var levels []level
	most := 1.0
	for _, b := range q.Bars {
		l := level{fmt.Sprintf("%s: %s", b.Name, bench.Number(b.Median)), b.Share(), missed}
		switch {
		case len(b.Figures) == 0:
			l.name = b.Name + " (not measured)"
		case b.Met:
			l.color = blue
		}
		levels, most = append(levels, l), max(most, l.value)
	}
	if err := addLevels(p, levels); err != nil || len(levels) == 0 {
		return p, err
	}
	line, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(levels)) - 0.5}})
	if err != nil {
		return nil, err
	}
	line.Dashes, line.Color = []vg.Length{4, 4}, color.Gray{90}
	p.Add(line)
	p.X.Max = most * 1.1
	return p, nil
}

// addLevels draws horizontal bars, the first at the top, with their names inside the plot:
// they are long.
func addLevels(p *plot.Plot, levels []level) error {
	p.X.Min = 0
	p.HideY()
	width := min(20, 200/vg.Length(max(len(levels), 1)))
	names := plotter.XYLabels{}
	for i, l := range levels {
		at := float64(len(levels) - 1 - i)
		bar, err := plotter.NewBarChart(plotter.Values{math.Max(l.value, 0)}, width)
		if err != nil {
			return err
		}
		bar.Horizontal, bar.XMin, bar.Color, bar.LineStyle.Width = true, at, l.color, 0
		p.Add(bar)
		names.XYs = append(names.XYs, plotter.XY{X: 0, Y: at})
		names.Labels = append(names.Labels, l.name)
	}
	if len(levels) == 0 {
		p.Title.Text += " (none)"
		return nil
	}
	labels, err := plotter.NewLabels(names)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		style := &labels.TextStyle[i]
		style.Font.Size, style.YAlign = vg.Points(8), text.YBottom
	}
	labels.Offset.Y, labels.Offset.X = width/2+vg.Points(2), vg.Points(3)
	p.Add(labels)
	p.Y.Min, p.Y.Max = -0.5, float64(len(levels))-0.3
	return nil
}
