package bench

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// The flame graph: a row for each call, the caller above, as wide as its share of the time.
const (
	flameWidth  = 1200
	flameTop    = 64
	flameBottom = 10
	flameRow    = 18
	maxFlame    = 40  // rows
	leastFlame  = 0.7 // pixels: what is narrower is not drawn
	leastText   = 24.0
	glyph       = 6.2 // about the width of a letter
	flameFamily = "sans-serif"
)

// Flame reads a CPU profile as runtime/pprof writes it, and writes it as an SVG picture, a flame graph.
func Flame(out io.Writer, title string, cpuProfile io.Reader) error {
	p, err := profile.Parse(cpuProfile)
	if err != nil {
		return fmt.Errorf("read a CPU profile: %w", err)
	}
	at := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == "cpu" })
	if at < 0 {
		return fmt.Errorf("read a CPU profile: it has no times")
	}
	all := &call{}
	for _, s := range p.Sample {
		all.add(s.Location, s.Value[at])
	}
	var b strings.Builder
	rows := min(all.depth(), maxFlame)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="%s" font-size="11">`+"\n",
		flameWidth, flameTop+rows*flameRow+flameBottom, flameFamily)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="22" font-size="15">%s</text>`+"\n", html.EscapeString(title))
	drawLegend(&b)
	f := flame{&b, all.time}
	f.drawCalls(all, 0, 0)
	b.WriteString("</svg>\n")
	_, err = io.WriteString(out, b.String())
	return err
}

// A call is a function as called by another, and what it has called.
type call struct {
	function string
	time     int64 // with that of what it has called
	calls    []*call
}

// add counts a sample of a stack, whose innermost call comes first.
func (c *call) add(stack []*profile.Location, time int64) {
	c.time += time
	for _, location := range slices.Backward(stack) {
		for _, line := range slices.Backward(location.Line) {
			c = c.of(line.Function.Name)
			c.time += time
		}
	}
}

func (c *call) of(function string) *call {
	i := slices.IndexFunc(c.calls, func(called *call) bool { return called.function == function })
	if i < 0 {
		i = len(c.calls)
		c.calls = append(c.calls, &call{function: function})
	}
	return c.calls[i]
}

// depth is how many rows what c has called takes.
func (c *call) depth() (rows int) {
	for _, called := range c.calls {
		rows = max(rows, 1+called.depth())
	}
	return rows
}

type flame struct {
	out *strings.Builder
	all int64 // the time that is as wide as the picture
}

// drawCalls draws what c has called, from x on, the longest first.
func (f *flame) drawCalls(c *call, x float64, row int) {
	slices.SortFunc(c.calls, func(a, b *call) int { return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(a.function, b.function)) })
	for _, called := range c.calls {
		width := float64(called.time) / float64(f.all) * flameWidth
		if width < leastFlame || row == maxFlame {
			return
		}
		f.drawCall(called, x, width, row)
		f.drawCalls(called, x, row+1)
		x += width
	}
}

func (f *flame) drawCall(c *call, x, width float64, row int) {
	y := flameTop + row*flameRow
	fmt.Fprintf(f.out, `<g><title>%s: %.1f%%</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" stroke="white" stroke-width="0.5"/>`,
		html.EscapeString(c.function), 100*float64(c.time)/float64(f.all), x, y, width, flameRow-1, kindOf(c.function).colour)
	if width >= leastText {
		fmt.Fprintf(f.out, `<text x="%.1f" y="%d">%s</text>`, x+3, y+13, html.EscapeString(fitting(c.function, width-6)))
	}
	f.out.WriteString("</g>\n")
}

// fitting is as much of a function's name as is not wider: with its package and type, without the one, without both, or cut.
func fitting(function string, width float64) string {
	most := int(width / glyph)
	short := function[strings.LastIndexByte(function, '/')+1:]
	for _, end := range []string{".", ")."} { // of the package, of the type
		if _, rest, found := strings.Cut(short, end); found && len(short) > most {
			short = rest
		}
	}
	if cut := []rune(short); len(cut) > most {
		short = string(cut[:max(most-1, 1)]) + "…"
	}
	return short
}

// A functionKind is drawn in a colour.
type functionKind struct {
	name, colour string
	packages     []string // with all below; none: all others
}

var functionKinds = []functionKind{
	{"the kernel", "#f4a582", []string{"syscall.", "internal/runtime/syscall", "runtime.futex", "runtime.epoll", "runtime.write1", "runtime.usleep"}},
	{"broker", "#92c5de", []string{"baton/broker."}},
	{"broker/stomp", "#b8e0c0", []string{"baton/broker/stomp."}},
	{"destinations", "#fddb80", []string{"baton/destinations."}},
	{"journal", "#c9b3de", []string{"baton/journal."}},
	{"Go's runtime", "#d9d9d9", []string{"runtime.", "internal/runtime/", "gogo", "gcWriteBarrier"}},
	{"its library, and others", "#eeeeee", nil},
}

func kindOf(function string) functionKind {
	i := slices.IndexFunc(functionKinds, func(k functionKind) bool {
		return k.packages == nil || slices.ContainsFunc(k.packages, func(prefix string) bool { return strings.HasPrefix(function, prefix) })
	})
	return functionKinds[i]
}

func drawLegend(b *strings.Builder) {
	x := 8.0
	for _, k := range functionKinds {
		fmt.Fprintf(b, `<rect x="%.1f" y="36" width="12" height="12" fill="%s"/><text x="%.1f" y="46">%s</text>`+"\n", x, k.colour, x+17, html.EscapeString(k.name))
		x += 40 + glyph*float64(len(k.name))
	}
}
