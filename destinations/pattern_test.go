package destinations

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var patternNames = Names{MaxBytes: 40, DeadLetterPrefixes: []string{"DLQ."}}

func pattern(tb testing.TB, s string) Pattern {
	tb.Helper()
	p, err := patternNames.ParsePattern(s)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestPatternMatches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern string
		is, not []string
	}{
		{"/queue/a", []string{"/queue/a"}, []string{"/topic/a", "/queue/a.b", "/queue/b", "/queue/A", "/queue/a."}},
		{"/queue/a.*", []string{"/queue/a.b", "/queue/a.c", "/queue/a."}, []string{"/queue/a", "/queue/a.b.c", "/queue/b.b", "/topic/a.b"}},
		{"/topic/a.*.b", []string{"/topic/a.x.b"}, []string{"/topic/a.b", "/topic/a.x.y.b", "/topic/a.x.b.c", "/topic/a.x", "/queue/a.x.b"}},
		{"/topic/*.b", []string{"/topic/a.b", "/topic/.b"}, []string{"/topic/b", "/topic/a.b.b"}},
		{"/topic/a.>", []string{"/topic/a", "/topic/a.b", "/topic/a.b.c"}, []string{"/topic/b", "/topic/ab", "/queue/a.b"}},
		{"/topic/a.#", []string{"/topic/a", "/topic/a.b", "/topic/a.b.c"}, []string{"/topic/b", "/topic/ab"}},
		{"/topic/a.*.>", []string{"/topic/a.b", "/topic/a.b.c.d"}, []string{"/topic/a", "/topic/b.b"}},
		{"/queue/>", []string{"/queue/a", "/queue/a.b", "/queue/a/b c"}, []string{"/topic/a", "/queue/$SYS", "/queue/$SYS.a"}},
		{"/queue/#", []string{"/queue/a", "/queue/a.b"}, []string{"/topic/a"}},
		{"/queue/*", []string{"/queue/a"}, []string{"/queue/a.b", "/queue/$SYS"}},
		{"/topic/*.*", []string{"/topic/a.$b"}, []string{"/topic/$SYS.a"}},
		{"/topic/$SYS.>", []string{"/topic/$SYS", "/topic/$SYS.a.b"}, []string{"/topic/$OTHER", "/topic/a"}},
		{"/topic/$SYS.*", []string{"/topic/$SYS.a"}, []string{"/topic/$SYS", "/topic/$SYS.a.b"}},
		{"/queue/DLQ.>", []string{"/queue/DLQ.a.b"}, []string{"/queue/a"}},
		{"/queue/a/b", []string{"/queue/a/b"}, []string{"/queue/a.b"}},
	} {
		p := pattern(t, test.pattern)
		for _, name := range append(test.is, test.not...) {
			d := Queue(strings.TrimPrefix(name, queuePrefix))
			if strings.HasPrefix(name, topicPrefix) {
				d = Topic(strings.TrimPrefix(name, topicPrefix))
			}
			if want := slices.Contains(test.is, name); p.Matches(d) != want {
				t.Errorf("%s matches %s: %v, want %v", test.pattern, name, !want, want)
			}
		}
	}
	if (Pattern{}).Matches(Queue("a")) {
		t.Error("the zero Pattern matches a queue")
	}
}

func TestPatternText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in, want string
		wild     bool
	}{
		{"/queue/a.#", "/queue/a.>", true},
		{"/queue/#", "/queue/>", true},
		{"/topic/.#", "/topic/.>", true},
		{"/topic/a.*", "/topic/a.*", true},
		{"/topic/a", "/topic/a", false},
	} {
		p := pattern(t, test.in)
		if p.String() != test.want || p.Wild() != test.wild || pattern(t, test.want) != p {
			t.Errorf("%s is %s, wild: %v; want %s, %v", test.in, p, p.Wild(), test.want, test.wild)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"/queue/a*b", `in "a*b" stands beside something else`},
		{"/queue/x.a*", `in "a*" stands beside`},
		{"/queue/**", `in "**" stands beside`},
		{"/queue/a>", `in "a>" stands beside`},
		{"/queue/#.#a", `"#.#a" something follows #`},
		{"/queue/>.x", `">.x" something follows >`},
		{"/topic/a.#.b", "something follows #"},
		{"/topic/a.>.>", "something follows >"},
		{"/topic/a.>.", "something follows >"},
		{"/queue/a,/queue/b", "holds a comma"},
		{"/queue/", "no name after its prefix"},
		{"", "is empty"},
		{"orders.>", "must begin with /queue/ or /topic/"},
		{"/queue/a\n", "control character"},
		{"/queue/\xff", "UTF-8"},
		{"/queue/" + strings.Repeat("x", 41), "41 octets; at most 40"},
		{"/queue/" + strings.Repeat("*.", 16) + "*", "more than 16 parts"},
	} {
		p, err := patternNames.ParsePattern(test.in)
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeBadDestination || !strings.Contains(e.Text, test.want) || p != (Pattern{}) {
			t.Errorf("%q gives %v, %v; want an error with %q", test.in, p, err, test.want)
		}
	}
}

// The set finds what Matches finds, the least specific first, whatever was added
// and removed before.
func TestPatternSetProperty(t *testing.T) {
	t.Parallel()
	type entry struct {
		p  Pattern
		id int
	}
	part := rapid.SampledFrom([]string{"a", "b", "$s"})
	name := func(t *rapid.T, part *rapid.Generator[string]) string {
		return strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "parts"), ".")
	}
	rapid.Check(t, func(t *rapid.T) {
		var set patternSet[int]
		var all []entry
		for id := range rapid.IntRange(0, 40).Draw(t, "steps") {
			if len(all) > 0 && rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				set.remove(all[i].p, all[i].id)
				set.remove(all[i].p, -1) // is not there
				all = slices.Delete(all, i, i+1)
				continue
			}
			text := name(t, rapid.OneOf(part, rapid.Just("*")))
			if rapid.Bool().Draw(t, "rest") {
				text += ".>"
			}
			p := Pattern{Destination{Topic: rapid.Bool().Draw(t, "topic"), Name: text}}
			all = append(all, entry{p, id})
			set.add(p, id)
		}
		for range 5 {
			d := Destination{Topic: rapid.Bool().Draw(t, "topic"), Name: name(t, part)}
			var want []entry
			for _, e := range all {
				if e.p.Matches(d) {
					want = append(want, e)
				}
			}
			slices.SortStableFunc(want, func(a, b entry) int { return compareSpecific(a.p, b.p) })
			var got []entry
			set.each(d, func(id int) {
				i := slices.IndexFunc(all, func(e entry) bool { return e.id == id })
				got = append(got, all[i])
			})
			if !slices.Equal(got, want) {
				t.Fatalf("%s finds %v, want %v", d, got, want)
			}
		}
		for _, e := range all {
			set.remove(e.p, e.id)
		}
		if !set.queues.empty() || !set.topics.empty() {
			t.Fatalf("left: %+v", set)
		}
	})
}

// compareSpecific compares patterns that match one name, part by part.
func compareSpecific(a, b Pattern) int {
	rank := func(parts []string, i int) int {
		switch {
		case i >= len(parts):
			return 3
		case parts[i] == anyParts:
			return 1
		case parts[i] == anyPart:
			return 2
		}
		return 3
	}
	as, bs := strings.Split(a.named.Name, "."), strings.Split(b.named.Name, ".")
	for i := range max(len(as), len(bs)) {
		if c := cmp.Compare(rank(as, i), rank(bs, i)); c != 0 {
			return c
		}
	}
	return 0
}

func TestPatternSetOrder(t *testing.T) {
	t.Parallel()
	var set patternSet[string]
	for _, p := range []string{"a.b", "*.b", "a.*", ">", "a.b.>", "*.*", "a.>", "*.>", "a.b"} {
		set.add(pattern(t, "/queue/"+p), p)
	}
	var got []string
	set.each(Queue("a.b"), func(p string) { got = append(got, p) })
	if want := "> *.> *.* *.b a.> a.* a.b.> a.b a.b"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, " "), want)
	}
}

func TestPatternLookupAllocatesNothing(t *testing.T) {
	var set patternSet[int]
	for i, p := range []string{"/queue/a.*", "/queue/a.>", "/queue/>", "/queue/a.b"} {
		set.add(pattern(t, p), i)
	}
	p, found := pattern(t, "/queue/a.*.>"), 0
	if n := testing.AllocsPerRun(100, func() {
		set.each(Queue("a.b"), func(int) { found++ })
		if p.Matches(Queue("a.b")) {
			found++
		}
	}); n > 0 || found != 101*5 {
		t.Errorf("%v allocations, found %d", n, found)
	}
}

// What a lookup costs beside so many patterns that do not match.
func BenchmarkPatternSet(b *testing.B) {
	for _, patterns := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(patterns), func(b *testing.B) {
			var set patternSet[int]
			set.add(pattern(b, "/topic/prices.*.spot"), 0)
			for i := 1; i < patterns; i++ {
				set.add(pattern(b, "/topic/"+fmt.Sprintf([]string{
					"prices.gold.%d.>", "prices.*.%d", "prices.%d.>", "*.gold.*.%d", "*.%d.>",
				}[i%5], i)), i)
			}
			b.ReportAllocs()
			found := 0
			for b.Loop() {
				set.each(Topic("prices.gold.spot"), func(int) { found++ })
			}
			if found != b.N {
				b.Errorf("%d found in %d lookups", found, b.N)
			}
		})
	}
}
