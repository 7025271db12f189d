package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// cpuProfile is one of stacks, each with its caller first, and how long each took.
func cpuProfile(t *testing.T, kind string, stacks map[string]int64) *bytes.Buffer {
	t.Helper()
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: kind, Unit: "nanoseconds"}}}
	for stack, time := range stacks {
		s := &profile.Sample{Value: []int64{1, time}}
		names := strings.Fields(stack)
		slices.Reverse(names)
		for _, name := range names {
			f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: name}
			p.Function = append(p.Function, f)
			l := &profile.Location{ID: f.ID, Line: []profile.Line{{Function: f}}}
			p.Location = append(p.Location, l)
			s.Location = append(s.Location, l)
		}
		p.Sample = append(p.Sample, s)
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return &b
}

// A box is a call as it is drawn.
type box struct {
	x, y, width float64
	title, text string
	fill        string
}

// boxes reads a flame graph, by the names of the functions.
func boxes(t *testing.T, picture io.Reader) map[string]box {
	t.Helper()
	all := map[string]box{}
	var b box
	within := []string{""}
	for decoder := xml.NewDecoder(picture); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			within = append(within, e.Name.Local)
			if e.Name.Local == "script" || e.Name.Local == "image" || e.Name.Local == "style" {
				t.Errorf("the picture needs a %s", e.Name.Local)
			}
			if e.Name.Local == "rect" {
				for _, a := range e.Attr {
					for name, at := range map[string]*float64{"x": &b.x, "y": &b.y, "width": &b.width} {
						if a.Name.Local == name {
							*at, _ = strconv.ParseFloat(a.Value, 64)
						}
					}
					if a.Name.Local == "fill" {
						b.fill = a.Value
					}
				}
			}
		case xml.CharData:
			switch within[len(within)-1] {
			case "title":
				b.title = string(e)
			case "text":
				b.text = string(e)
			}
		case xml.EndElement:
			within = within[:len(within)-1]
			if e.Name.Local == "g" {
				name, _, _ := strings.Cut(b.title, ": ")
				all[name], b = b, box{}
			}
		}
	}
}

// Each call is below its caller and within it, as wide as its share of the time, and the longest come first.
func TestFlame(t *testing.T) {
	t.Parallel()
	in := cpuProfile(t, "cpu", map[string]int64{
		"main baton/broker.(*session).read<a> syscall.read": 30,
		"main baton/broker.(*session).read<a>":              10,
		"main baton/journal.Append":                         50,
		"runtime.gc":                                        10,
		"never":                                             0,
	})
	var out bytes.Buffer
	if err := Flame(&out, "a & b", in); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), ">a &amp; b<") {
		t.Error("no title")
	}
	if height := fmt.Sprintf(` height="%d"`, flameTop+3*flameRow+flameBottom); !strings.Contains(out.String(), height) {
		t.Errorf("three rows have no picture of %s", height)
	}
	got := boxes(t, &out)
	for name, want := range map[string]box{
		"main":                            {0, 0, 0.9, "main: 90.0%", "main", "#eeeeee"},
		"baton/journal.Append":            {0, 1, 0.5, "baton/journal.Append: 50.0%", "journal.Append", "#c9b3de"},
		"baton/broker.(*session).read<a>": {0.5, 1, 0.4, "baton/broker.(*session).read<a>: 40.0%", "broker.(*session).read<a>", "#92c5de"},
		"syscall.read":                    {0.5, 2, 0.3, "syscall.read: 30.0%", "syscall.read", "#f4a582"},
		"runtime.gc":                      {0.9, 0, 0.1, "runtime.gc: 10.0%", "runtime.gc", "#d9d9d9"},
	} {
		want.x, want.width, want.y = want.x*flameWidth, want.width*flameWidth, flameTop+want.y*flameRow
		if got[name] != want {
			t.Errorf("%s: %+v, want %+v", name, got[name], want)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d calls are drawn, want 5: %+v", len(got), got)
	}
}

// What is deeper than the picture, or too narrow, is left out; names are cut to their boxes.
func TestFlameIsBounded(t *testing.T) {
	t.Parallel()
	deep := strings.TrimSpace(strings.Repeat("f ", 3*maxFlame))
	in := cpuProfile(t, "cpu", map[string]int64{deep: 1_000_000, "narrow.function": 100, "baton/broker/stomp.AFunctionWithQuiteALongName": 100_000})
	var out bytes.Buffer
	if err := Flame(&out, "deep", in); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "<title>f: "); rows != maxFlame {
		t.Errorf("%d rows, want %d", rows, maxFlame)
	}
	got := boxes(t, &out)
	if _, drawn := got["narrow.function"]; drawn {
		t.Error("what is narrower than a pixel is drawn")
	}
	if long := got["baton/broker/stomp.AFunctionWithQuiteALongName"]; !strings.HasPrefix(long.text, "AFunction") || !strings.HasSuffix(long.text, "…") {
		t.Errorf("%+v", long)
	}
}

func TestFunctionsFit(t *testing.T) {
	t.Parallel()
	const function = "baton/broker.(*session).read.func1"
	for glyphs, want := range map[float64]string{
		100: "broker.(*session).read.func1",
		28:  "broker.(*session).read.func1",
		27:  "(*session).read.func1",
		20:  "read.func1",
		9:   "read.fun…",
		0:   "r…",
	} {
		if got := fitting(function, glyphs*glyph+0.1); got != want {
			t.Errorf("in %v letters: %q, want %q", glyphs, got, want)
		}
	}
}

func TestFlameNeedsACPUProfile(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]io.Reader{"nothing": strings.NewReader(""), "of memory": cpuProfile(t, "space", map[string]int64{"main": 1})} {
		var out bytes.Buffer
		if err := Flame(&out, "", in); err == nil || !strings.Contains(err.Error(), "CPU profile") || out.Len() > 0 {
			t.Errorf("%s: %v, %q", name, err, &out)
		}
	}
	var out bytes.Buffer
	if err := Flame(&out, "idle", cpuProfile(t, "cpu", nil)); err != nil || !strings.Contains(out.String(), "</svg>") {
		t.Errorf("of a process that was idle: %v", err)
	}
}
