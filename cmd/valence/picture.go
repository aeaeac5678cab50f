package main

import (
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"valence/runtime/train/metrics"
)

// pictureFormat gives a picture's format by its file's name.
func pictureFormat(path string) (string, error) {
	switch ext := filepath.Ext(path); ext {
	case ".png", ".svg":
		return ext[1:], nil
	default:
		return "", fmt.Errorf("%q must end in .png or .svg", path)
	}
}

// side is the length of each of a picture's two square plots.
const side = 5 * vg.Inch

// margin is what stays free around a plot.
const margin = vg.Inch / 8

// drawEvaluation draws the confusion matrix beside the calibration curve.
func drawEvaluation(path string, r *metrics.Report) error {
	left, err := confusionPlot(r)
	if err != nil {
		return err
	}
	right, err := calibrationPlot(r)
	if err != nil {
		return err
	}
	return drawBeside(path, left, right)
}

// drawBeside writes a picture of two plots.
func drawBeside(path string, left, right *plot.Plot) (err error) {
	format, err := pictureFormat(path)
	if err != nil {
		return err
	}
	canvas, err := draw.NewFormattedCanvas(2*side, side, format)
	if err != nil {
		return err
	}
	whole := draw.New(canvas)
	left.Draw(draw.Crop(whole, margin, -side-margin, margin, -margin))
	right.Draw(draw.Crop(whole, side+margin, -margin, margin, -margin))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = canvas.WriteTo(f)
	return err
}

// shares is a confusion matrix as shares of each true label's rows, the first label
// at the top.
type shares struct{ r *metrics.Report }

func (s shares) Dims() (c, r int)   { return len(s.r.Classes), len(s.r.Classes) }
func (s shares) X(c int) float64    { return float64(c) }
func (s shares) Y(r int) float64    { return float64(r) }
func (s shares) at(c, r int) int    { return s.r.Confusion[len(s.r.Classes)-1-r][c] }
func (s shares) support(r int) int  { return s.r.Classes[len(s.r.Classes)-1-r].Support }
func (s shares) Z(c, r int) float64 { return float64(s.at(c, r)) / float64(max(s.support(r), 1)) }

func confusionPlot(r *metrics.Report) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%d rows, accuracy %.3f, macro-F1 %.3f", r.Rows, r.Accuracy, r.MacroF1)
	p.X.Label.Text, p.Y.Label.Text = "answered", "truth"
	grid := shares{r}
	heat := plotter.NewHeatMap(grid, blues{})
	heat.Min, heat.Max = 0, 1
	p.Add(heat)
	var across, down []string
	for i := range r.Classes {
		across = append(across, r.Classes[i].Label)
		down = append(down, r.Classes[len(r.Classes)-1-i].Label)
	}
	p.NominalX(across...)
	p.NominalY(down...)
	if len(r.Classes) > 4 {
		p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign = 0.6, text.XRight
	}
	return p, addCounts(p, grid)
}

// addCounts writes each cell's number of rows, white on the dark cells.
func addCounts(p *plot.Plot, grid shares) error {
	var cells plotter.XYLabels
	n, _ := grid.Dims()
	for y := range n {
		for x := range n {
			cells.XYs = append(cells.XYs, plotter.XY{X: float64(x), Y: float64(y)})
			cells.Labels = append(cells.Labels, strconv.Itoa(grid.at(x, y)))
		}
	}
	labels, err := plotter.NewLabels(cells)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		style := &labels.TextStyle[i]
		style.XAlign, style.YAlign = text.XCenter, text.YCenter
		if grid.Z(i%n, i/n) > 0.5 {
			style.Color = color.White
		}
	}
	p.Add(labels)
	return nil
}

// blues runs from white to dark blue.
type blues struct{}

func (blues) Colors() []color.Color {
	var out []color.Color
	for i := range 256 {
		out = append(out, color.RGBA{uint8(255 - i*235/255), uint8(255 - i*185/255), uint8(255 - i*115/255), 255})
	}
	return out
}

func calibrationPlot(r *metrics.Report) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("calibration error %.3f", r.ECE)
	p.X.Label.Text, p.Y.Label.Text = "confidence", "share that is right"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	diagonal, err := plotter.NewLine(plotter.XYs{{}, {X: 1, Y: 1}})
	if err != nil {
		return nil, err
	}
	diagonal.Dashes = []vg.Length{4, 4}
	diagonal.Color = color.Gray{150}
	var points plotter.XYs
	for _, b := range r.Calibration {
		points = append(points, plotter.XY{X: b.Confidence, Y: b.Accuracy})
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return nil, err
	}
	line.Color, dots.Color = color.RGBA{20, 70, 140, 255}, color.RGBA{20, 70, 140, 255}
	dots.Shape = draw.CircleGlyph{}
	dots.GlyphStyleFunc = func(i int) draw.GlyphStyle { // area by the bin's share of rows
		style := dots.GlyphStyle
		style.Radius = 2 + 8*vg.Length(float64(r.Calibration[i].Rows)/float64(r.Rows))
		return style
	}
	p.Add(plotter.NewGrid(), diagonal, line, dots)
	return p, nil
}
