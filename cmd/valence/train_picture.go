package main

import (
	"errors"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"valence/cmd/internal/client"
)

// drawCurves draws the losses beside the quality of each epoch.
func drawCurves(path, adapter string, c *curves) error {
	left, err := lossPlot(adapter, c)
	if err != nil {
		return err
	}
	right, err := qualityPlot(c)
	if err != nil {
		return err
	}
	return drawBeside(path, left, right)
}

// Colours of curves.
var (
	blue   = color.RGBA{20, 70, 140, 255}
	orange = color.RGBA{210, 110, 20, 255}
	pale   = color.RGBA{150, 175, 210, 255}
)

func lossPlot(adapter string, c *curves) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = adapter
	p.X.Label.Text, p.Y.Label.Text = "step", "loss"
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Padding = true, vg.Points(2)
	p.Add(plotter.NewGrid())
	steps := make(plotter.XYs, len(c.losses))
	for i, l := range c.losses {
		steps[i] = plotter.XY{X: float64(l.step), Y: l.loss}
	}
	err := errors.Join(
		addCurve(p, "a step", pale, false, steps),
		addCurve(p, "learnt from, an epoch", blue, true, c.each(func(m client.RunMetrics) float64 { return m.TrainLoss })),
		addCurve(p, "not learnt from", orange, true, c.measured(func(m client.RunMetrics) float64 { return m.ValidationLoss })),
	)
	return p, err
}

func qualityPlot(c *curves) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "on rows that are not learnt from"
	p.X.Label.Text = "step"
	p.Y.Min, p.Y.Max = 0, 1
	p.Legend.Padding = vg.Points(2)
	p.Add(plotter.NewGrid())
	err := errors.Join(
		addCurve(p, "accuracy", blue, true, c.measured(func(m client.RunMetrics) float64 { return m.Accuracy })),
		addCurve(p, "macro-F1", orange, true, c.measured(func(m client.RunMetrics) float64 { return m.MacroF1 })),
	)
	return p, err
}

// each gives a figure of every epoch at its last step.
func (c *curves) each(of func(client.RunMetrics) float64) plotter.XYs {
	out := make(plotter.XYs, len(c.epochs))
	for i, m := range c.epochs {
		out[i] = plotter.XY{X: float64(c.steps[i]), Y: of(m)}
	}
	return out
}

// measured is each, of epochs that were measured on other rows.
func (c *curves) measured(of func(client.RunMetrics) float64) (out plotter.XYs) {
	for i, m := range c.epochs {
		if m.Rows > 0 {
			out = append(out, plotter.XY{X: float64(c.steps[i]), Y: of(m)})
		}
	}
	return out
}

// addCurve draws points, if there are any, with a line through them.
func addCurve(p *plot.Plot, name string, c color.Color, dotted bool, points plotter.XYs) error {
	if len(points) == 0 {
		return nil
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, line.Width, dots.Color, dots.Shape = c, vg.Points(1.2), c, draw.CircleGlyph{}
	p.Add(line)
	p.Legend.Add(name, line)
	if dotted {
		p.Add(dots)
	}
	return nil
}
