package peers

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse("x", "# a story\nagainst activemq\n\na subscribe 1 /queue/{} \"selector:a = 'b'\" = label # why\na quiet\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "x" || !slices.Equal(s.Against, []string{"activemq"}) || len(s.Steps) != 2 {
		t.Fatalf("%+v", s)
	}
	first := s.Steps[0]
	if first.Line != 4 || first.Label != "label" || first.Client != "a" || first.Verb != "subscribe" ||
		!slices.Equal(first.Words, []string{"1", "/queue/{}", "selector:a = 'b'"}) {
		t.Errorf("%+v", first)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a connect":                     "x.txt: no line says against whom",
		"against activemq\na jump":      `x.txt:2: no verb is called "jump"`,
		"against activemq\na":           `x.txt:2: "a" does nothing`,
		"against activemq\na send here": "x.txt:2: send needs 2 words",
		"against activemq\na read \"1":  "x.txt:2: a quote is not closed",
	} {
		if _, err := Parse("x", text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestParseDifferences(t *testing.T) {
	t.Parallel()
	const good = "# Page\n\n| `nack: again` | ActiveMQ | `last` | `one last` | it is tried again |\n"
	got, err := ParseDifferences(good)
	if err != nil || len(got) != 1 || got[0] != (Difference{"nack", "again", "activemq", "last", "one last", "it is tried again"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseDifferences(strings.Replace(good, " it is tried again ", "", 1)); err == nil {
		t.Error("a row that does not say why was accepted")
	}
}

func TestParseMarks(t *testing.T) {
	t.Parallel()
	got, err := ParseMarks("# marks\n\npriorities = priority: order\n")
	if err != nil || !slices.Equal(got, []Mark{{"priorities", "priority", "order"}}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseMarks("priorities"); err == nil {
		t.Error("a mark without a step was accepted")
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	script, err := Parse("nack", "against activemq rabbitmq\na connect\na read 1 = again")
	if err != nil {
		t.Fatal(err)
	}
	listed := []Difference{{"nack", "again", "activemq", "last", "one", "why"}}
	mark := []Mark{{"NACK", "nack", "again"}}
	same := map[string][]string{"baton": {"ok", "one"}, "activemq": {"ok", "one"}, "rabbitmq": {"ok", "one"}}
	differs := map[string][]string{"baton": {"ok", "one"}, "activemq": {"ok", "last"}, "rabbitmq": {"ok", "one"}}
	early := map[string][]string{"baton": {"ok", "one"}, "activemq": {"ERROR", "one"}, "rabbitmq": {"ok", "one"}}
	for name, c := range map[string]struct {
		seen   map[string][]string
		listed []Difference
		marks  []Mark
		want   string // of the only complaint; "": there is none
	}{
		"nothing differs":       {same, nil, nil, ""},
		"listed":                {differs, listed, nil, ""},
		"not listed":            {differs, nil, nil, "not listed"},
		"other peer listed":     {differs, []Difference{{"nack", "again", "rabbitmq", "last", "one", "why"}}, nil, "not listed"},
		"no longer":             {same, listed, nil, "no such difference"},
		"another difference":    {differs, []Difference{{"nack", "again", "activemq", "two", "one", "why"}}, nil, "but it is"},
		"Baton does otherwise":  {differs, []Difference{{"nack", "again", "activemq", "last", "two", "why"}}, nil, "but it is"},
		"other step listed":     {differs, []Difference{{"nack", "later", "activemq", "last", "one", "why"}}, nil, "not listed"},
		"no label":              {early, nil, nil, "line 2 differs"},
		"marked":                {differs, nil, mark, ""},
		"built":                 {same, nil, mark, "remove its mark"},
		"marked where is none":  {differs, nil, []Mark{{"NACK", "nack", "gone"}}, "no label of the script"},
		"another script's row":  {same, []Difference{{"other", "again", "activemq", "last", "one", "why"}}, nil, ""},
		"another script's mark": {differs, nil, []Mark{{"NACK", "other", "again"}}, "not listed"},
	} {
		wrong := strings.Join(Compare(script, c.seen, c.listed, c.marks), "\n")
		if c.want == "" && wrong != "" || !strings.Contains(wrong, c.want) {
			t.Errorf("%s: %q, want %q", name, wrong, c.want)
		}
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`/remote-temp-queue/ID\cvm-1-2\c5\c1`: "/remote-temp-queue/*",
		"/reply-queue/amq.gen-jKMyrB":         "/reply-queue/*",
		`ID\cvm-36485-1795369052582-5\c5`:     "ID:*",
		"1795369056058":                       "*",
		`a\cb`:                                "a:b",
		"/queue/orders":                       "/queue/orders",
	} {
		if got := anonymous(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
