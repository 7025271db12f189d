package main

import (
	"fmt"
	"html"
	"strings"
)

// The picture of growth: the curves in two columns, each relative to its first point.
const (
	panelWidth  = 400
	panelHeight = 180
	panelLeft   = 50
	panelRight  = 30
	panelTop    = 60
	panelGap    = 70
	pictureTop  = 40

	costColour = "#d62728"
	rateColour = "#1f77b4"
)

// drawGrowth writes an SVG picture of a contender's cost and rate, or nothing if a point of a curve is missing.
func drawGrowth(all figures, contender string) []byte {
	var b strings.Builder
	columns, rows := 2, (len(curves)+1)/2
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		columns*(panelLeft+panelWidth+panelRight), pictureTop+rows*(panelHeight+panelGap)+panelTop-panelGap/2)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">CPU time a message `+
		`<tspan fill="%s">(red)</tspan> and deliveries a second <tspan fill="%s">(blue)</tspan>, relative to the first point; grey: ±15%%</text>`+"\n",
		panelLeft, costColour, rateColour)
	for i := range curves {
		p := growthPanel{
			out: &b, curve: &curves[i],
			left: panelLeft + i%columns*(panelLeft+panelWidth+panelRight), top: pictureTop + panelTop/2 + i/columns*(panelHeight+panelGap),
		}
		costs, ok := curves[i].relative(all, contender, costOf)
		rates, ok2 := curves[i].relative(all, contender, deliveriesOf)
		if !ok || !ok2 {
			return nil
		}
		p.draw(costs, rates)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// relative is one number of all points, over the first one's median.
func (c *curve) relative(all figures, contender string, pick func(figure) float64) (points []spread, ok bool) {
	first := 0.0
	for i, n := range c.points {
		s, ok := all.of(contender, c.point(n), pick)
		if i == 0 {
			first = s.median
		}
		if !ok || first <= 0 {
			return nil, false
		}
		points = append(points, spread{s.median / first, s.least / first, s.most / first})
	}
	return points, true
}

type growthPanel struct {
	out       *strings.Builder
	curve     *curve
	left, top int
	most      float64 // of the values' axis, which begins with 0
}

func (p *growthPanel) draw(costs, rates []spread) {
	p.most = 1.3
	for _, s := range append(append([]spread{}, costs...), rates...) {
		p.most = max(p.most, s.most*1.05)
	}
	fmt.Fprintf(p.out, `<text x="%d" y="%d">%s</text>`+"\n", p.left, p.top-10, html.EscapeString(p.curve.of))
	fmt.Fprintf(p.out, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="#eee"/>`+"\n", p.left, p.y(1.15), panelWidth, p.y(0.85)-p.y(1.15))
	step := 0.5
	for p.most/step > 6 {
		step *= 2
	}
	for v := 0.0; v <= p.most; v += step {
		fmt.Fprintf(p.out, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ccc"/><text x="%d" y="%.1f" text-anchor="end">%.3g</text>`+"\n",
			p.left, p.y(v), p.left+panelWidth, p.y(v), p.left-6, p.y(v)+4, v)
	}
	for i, n := range p.curve.points {
		fmt.Fprintf(p.out, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", p.x(i), p.top+panelHeight+18, number(float64(n)))
	}
	p.line(rateColour, rates)
	p.line(costColour, costs)
}

// line draws the medians, and from the least to the most.
func (p *growthPanel) line(colour string, points []spread) {
	var path strings.Builder
	for i, s := range points {
		fmt.Fprintf(&path, " %.1f,%.1f", p.x(i), p.y(s.median))
		fmt.Fprintf(p.out, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/><circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n",
			p.x(i), p.y(s.least), p.x(i), p.y(s.most), colour, p.x(i), p.y(s.median), colour)
	}
	fmt.Fprintf(p.out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.TrimSpace(path.String()), colour)
}

// x has the points at equal distances: each is some ten times the one before.
func (p *growthPanel) x(i int) float64 {
	return float64(p.left) + (float64(i)+0.5)*panelWidth/float64(len(p.curve.points))
}

func (p *growthPanel) y(v float64) float64 { return float64(p.top+panelHeight) - v/p.most*panelHeight }
