package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"strings"
)

// plot is one picture: lines over two logarithmic axes.
type plot struct {
	title, across, up string
	step              float64              // from one tick to the next across, a factor
	label             func(float64) string // of a tick across
	lines             []line
}

type line struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// The picture's size and the room around the lines, in pixels.
const (
	plotWidth, plotHeight = 720.0, 400.0
	plotLeft, plotTop     = 72.0, 48.0
	plotRight, plotBottom = 24.0, 56.0
)

// colours are told apart by people with any common colour blindness.
var colours = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// write draws the plot into a file.
func (p plot) write(path string) error {
	x := scaleOf(p.lines, p.step, func(q point) float64 { return q.x })
	y := scaleOf(p.lines, 10, func(q point) float64 { return q.y })
	x.from, x.to = plotLeft, plotWidth-plotRight
	y.from, y.to = plotHeight-plotBottom, plotTop
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<title>%s</title><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", html.EscapeString(p.title))
	text(&b, plotWidth/2, 24, `text-anchor="middle" font-size="15"`, p.title)
	text(&b, plotWidth/2, plotHeight-14, `text-anchor="middle"`, p.across)
	text(&b, 0, 0, fmt.Sprintf(`text-anchor="middle" transform="translate(16 %.0f) rotate(-90)"`, plotHeight/2), p.up)
	for _, t := range x.ticks() {
		fmt.Fprintf(&b, `<line x1="%[1]f" x2="%[1]f" y1="%.0f" y2="%.0f" stroke="#ddd"/>`+"\n", x.at(t), y.from, y.to)
		text(&b, x.at(t), y.from+18, `text-anchor="middle"`, p.label(t))
	}
	for _, t := range y.ticks() {
		fmt.Fprintf(&b, `<line x1="%.0f" x2="%.0f" y1="%[3]f" y2="%[3]f" stroke="#ddd"/>`+"\n", x.from, x.to, y.at(t))
		text(&b, x.from-6, y.at(t)+4, `text-anchor="end"`, figure(t))
	}
	for i, l := range p.lines {
		colour := colours[i%len(colours)]
		var path []string
		for _, q := range l.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(q.x), y.at(q.y)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x.at(q.x), y.at(q.y), colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
		text(&b, x.from+10, y.to+16+18*float64(i), fmt.Sprintf(`fill="%s"`, colour), l.name)
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func text(b *strings.Builder, x, y float64, attributes, words string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(words))
}

// scale is a logarithmic axis: values low to high lie from one pixel to another.
// The ticks are the powers of step.
type scale struct{ step, low, high, from, to float64 }

func scaleOf(lines []line, step float64, of func(point) float64) scale {
	s := scale{step: step, low: math.Inf(1), high: math.Inf(-1)}
	for _, l := range lines {
		for _, q := range l.points {
			s.low, s.high = min(s.low, of(q)), max(s.high, of(q))
		}
	}
	s.low = math.Pow(step, math.Floor(math.Log(s.low)/math.Log(step)+1e-9))
	s.high = math.Pow(step, math.Ceil(math.Log(s.high)/math.Log(step)-1e-9))
	if s.high <= s.low {
		s.high = step * s.low
	}
	return s
}

func (s scale) at(v float64) float64 {
	return s.from + (s.to-s.from)*math.Log(v/s.low)/math.Log(s.high/s.low)
}

func (s scale) ticks() (out []float64) {
	for t := s.low; t <= s.high*1.001; t *= s.step {
		out = append(out, t)
	}
	return out
}
