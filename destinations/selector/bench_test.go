package selector_test

import (
	"bytes"
	"strings"
	"testing"

	"baton/destinations/selector"
)

// A block is a message's header lines as they came, read in place.
type block []byte

func (b *block) Field(name string) (value []byte, ok bool) {
	rest := []byte(*b)
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if len(line) > len(name) && line[len(name)] == ':' && string(line[:len(name)]) == name {
			return line[len(name)+1:], true
		}
	}
	return nil, false
}

var lines = block("destination:/queue/orders\ncontent-type:application/json\npriority:7\ntype:order\ncolor:blue\n" +
	"weight:2500\nprice:1234567.25e-2\nurgent:TRUE\ncity:Unterfranken bei Würzburg am Main\n" +
	"trace:" + strings.Repeat("ab", 2000) + "\n")

// Every operator, with numbers and texts that do and do not fit.
var workloads = []struct{ name, text string }{
	{"equal", "type = 'order'"},
	{"number", "weight > 18"},
	{"logic", "type = 'order' AND (color = 'red' OR weight BETWEEN 2000 AND 3000) AND NOT JMSPriority < 4"},
	{"arithmetic", "-(price * weight + 1.5) / 2 % 7 <> +weight - 3 AND price > 0"},
	{"in", "color IN ('red', 'green', 'blue') AND weight NOT IN (1, 2, '3') AND JMSPriority IN ('7', 8)"},
	{"like", "city LIKE 'Unter%be_ W_rz%M__n' AND color NOT LIKE 'b_d' AND content-type LIKE '%/json' ESCAPE '!'"},
	{"like long", "trace LIKE '%a_a_b_a_a%a%b%a_b' OR urgent"},
	{"unlike", "(color <> 5 OR missing = 1 OR missing IS NULL OR color > 3.5 OR color IN (5)) AND urgent = TRUE AND JMSDeliveryMode = 'PERSISTENT'"},
}

// The tests of this file are not parallel: AllocsPerRun would count what others allocate.
func TestMatchesAllocatesNothing(t *testing.T) {
	for _, w := range workloads {
		s := parsed(t, w.text)
		matched := false
		allocations := testing.AllocsPerRun(100, func() { matched = s.Matches(&lines) })
		if allocations != 0 || !matched {
			t.Errorf("%s: %v allocations, matched %v", w.text, allocations, matched)
		}
	}
}

func TestWhatOnlyLooksLikeANumberAllocatesNothing(t *testing.T) {
	s := parsed(t, "n + 0 IS NULL")
	for _, text := range []string{".", "-", "e5", ".e5", "1e", "1e+", "1.5.5", "abc", "Infinity", strings.Repeat("1", 100)} {
		m := block("n:" + text)
		matched := false
		allocations := testing.AllocsPerRun(100, func() { matched = s.Matches(&m) })
		if allocations != 0 || !matched {
			t.Errorf("%s: %v allocations, null %v", text, allocations, matched)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			s := parsed(b, w.text)
			b.ReportAllocs()
			for b.Loop() {
				s.Matches(&lines)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := selector.Parse(w.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
