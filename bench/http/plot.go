package main

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// writePlots draws CPU time by HAProxy's, a line for each situation, into a PNG and an SVG
// file. The axis is logarithmic: the proxies differ by more than a factor of ten.
func writePlots(base string, all []figures) error {
	p, err := picture(all)
	if err != nil || p == nil {
		return err
	}
	for _, kind := range []string{".png", ".svg"} {
		if err := p.Save(27*vg.Centimeter, 15*vg.Centimeter, base+kind); err != nil {
			return fmt.Errorf("drawing: %w", err)
		}
	}
	return nil
}

// picture is nil if nothing was measured that could be drawn.
func picture(all []figures) (*plot.Plot, error) {
	lines := drawn(all)
	if len(lines) == 0 {
		return nil, nil
	}
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = "CPU time of the proxy per request, by HAProxy's (less is better)"
	p.Title.Padding = vg.Points(8)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, logTicks()
	p.X.Min, p.X.Max = .5, 2
	p.NominalY(indented(lines)...)
	p.Y.Min, p.Y.Max = -.6, float64(len(lines))-.4
	p.Legend.Left = false
	p.Legend.Top = false
	p.Legend.Padding = vg.Points(3)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{Y: 190}, color.Gray{Y: 225}
	p.Add(grid)
	for i, name := range names() {
		points := pointsOf(all, lines, name)
		if name == direct || len(points) == 0 {
			continue
		}
		s, err := plotter.NewScatter(points)
		if err != nil {
			return nil, err
		}
		s.GlyphStyle = glyph(i, name)
		p.Add(s)
		p.Legend.Add(name, s)
		for _, at := range points {
			p.X.Min, p.X.Max = math.Min(p.X.Min, at.X*.9), math.Max(p.X.Max, at.X*1.1)
		}
	}
	p.X.Max *= 5 // where the legend is
	return p, nil
}

// drawn are the situations that have a line, the first on top.
func drawn(all []figures) []string {
	var out []string
	for _, s := range situations() {
		if _, ok := one(all, s.name, haproxy); ok {
			out = append(out, s.name)
		}
	}
	slices.Reverse(out)
	return out
}

// indented keeps the first letters inside the picture, whose margin is too small for them.
func indented(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = "  " + l
	}
	return out
}

func pointsOf(all []figures, lines []string, name string) (out plotter.XYs) {
	for y, line := range lines {
		if x, ok := quotient(all, line, name, haproxy); ok && x > 0 {
			out = append(out, plotter.XY{X: x, Y: float64(y)})
		}
	}
	return out
}

// glyph tells the proxies apart by shape too; vrproxy's are the large ones.
func glyph(i int, name string) draw.GlyphStyle {
	colors := []color.Color{
		color.Black, color.RGBA{A: 255}, color.RGBA{G: 140, B: 60, A: 255}, color.RGBA{R: 120, G: 120, B: 120, A: 255}, color.RGBA{R: 150, G: 90, B: 200, A: 255},
		color.RGBA{R: 214, G: 39, B: 40, A: 255}, color.RGBA{R: 240, G: 140, B: 30, A: 255}, color.RGBA{G: 90, B: 190, A: 255}, color.RGBA{R: 90, G: 180, B: 230, A: 255},
	}
	shapes := []draw.GlyphDrawer{
		draw.CrossGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{},
		draw.CircleGlyph{}, draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{},
	}
	style := draw.GlyphStyle{Color: colors[i], Shape: shapes[i], Radius: vg.Points(4)}
	if slices.Contains(ours(), name) {
		style.Radius = vg.Points(5)
	}
	return style
}

func logTicks() plot.ConstantTicks {
	var out plot.ConstantTicks
	for _, v := range []float64{.2, .5, 1, 2, 5, 10, 20, 50, 100, 200} {
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%g", v)})
	}
	return out
}
