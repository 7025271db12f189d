package broker

import (
	"testing"
	"testing/synctest"

	"baton/destinations"
)

// A queue keeps the newest of each key, under both names of the header, and over
// a restart.
func TestLastValue(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"last-value-key", "_AMQ_LVQ_NAME"} {
		synctest.Test(t, func(t *testing.T) {
			o := policyOf(t, "/queue/>", func(p *destinations.Policy) { p.LastValue = true })
			h := servePipes(t, o)
			c := h.connect("1.2")
			c.do("SEND\ndestination:/queue/q\n"+header+":gold", "1")
			c.do("SEND\ndestination:/queue/q\n"+header+":tin", "2")
			c.do("SEND\ndestination:/queue/q\n"+header+":gold", "3")
			c.do("DISCONNECT")
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h = servePipesOn(t, h.disk, o, nil)
			c = h.connect("1.2")
			c.do("SEND\ndestination:/queue/q\n"+header+":gold", "4")
			c.subscribe("s", "/queue/q", "client")
			c.message("2")
			if f := c.message("4"); f.header(header) != "gold" {
				t.Errorf("got %s", f)
			}
			c.nothing()
		})
	}
}

// policyOf are options in which the destinations of a pattern differ.
func policyOf(t *testing.T, pattern string, set func(*destinations.Policy)) Options {
	t.Helper()
	match, err := destinations.Names{MaxBytes: 255}.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	rules := []destinations.Rule{{Match: match, Set: set}}
	return Options{Machine: destinations.Options{Policies: destinations.NewPolicies(rules)}}
}
