package broker

import (
	"fmt"
	"slices"
	"testing"
)

// A rule is one line of what the protocol, or a decision where it is silent,
// asks of the server. The letter of its number says what it is about:
//
//	P framing    C connecting    H heart-beats    S SEND       U SUBSCRIBE
//	A ACK        T transactions  R receipts       M MESSAGE
//
// It is tested against a running server with a real journal, once for each
// version it holds in: TestAck/A7/1.1.
type rule struct {
	number   string
	versions []string
	says     string
	test     func(t *testing.T, version string)
}

var (
	everyVersion = []string{"1.0", "1.1", "1.2"}
	since11      = []string{"1.1", "1.2"}
	before12     = []string{"1.0", "1.1"}
	only10       = []string{"1.0"}
	only11       = []string{"1.1"}
	only12       = []string{"1.2"}
)

func check(t *testing.T, rules []rule) {
	t.Parallel()
	for _, r := range rules {
		t.Run(r.number, func(t *testing.T) {
			t.Parallel()
			for _, version := range r.versions {
				t.Run(version, func(t *testing.T) {
					t.Parallel()
					r.test(t, version)
				})
			}
		})
	}
}

func TestFraming(t *testing.T)      { check(t, framing) }
func TestConnecting(t *testing.T)   { check(t, connecting) }
func TestHeartBeats(t *testing.T)   { check(t, heartBeats) }
func TestSend(t *testing.T)         { check(t, sending) }
func TestSubscribe(t *testing.T)    { check(t, subscribing) }
func TestAck(t *testing.T)          { check(t, acknowledging) }
func TestTransactions(t *testing.T) { check(t, transactions) }
func TestReceipts(t *testing.T)     { check(t, receipts) }
func TestMessage(t *testing.T)      { check(t, messages) }

// The numbers go up to these.
var lastRules = []struct {
	letter string
	last   int
	rules  []rule
}{
	{"P", 24, framing}, {"C", 12, connecting}, {"H", 10, heartBeats}, {"S", 6, sending}, {"U", 9, subscribing},
	{"A", 12, acknowledging}, {"T", 11, transactions}, {"R", 10, receipts}, {"M", 6, messages},
}

// TestRules holds that every rule is tested or said not to be due, and that
// one of which a part is not due is tested for the rest.
func TestRules(t *testing.T) {
	t.Parallel()
	tested := map[string]int{}
	known := map[string]bool{}
	for _, l := range lastRules {
		for n := 1; n <= l.last; n++ {
			known[fmt.Sprint(l.letter, n)] = true
		}
		for _, r := range l.rules {
			tested[r.number]++
			if !known[r.number] || r.number[:1] != l.letter {
				t.Errorf("%s is no rule of this list", r.number)
			}
			if len(r.versions) == 0 || r.test == nil || r.says == "" {
				t.Errorf("%s has no version, no test or no words", r.number)
			}
		}
	}
	for number, times := range tested {
		if times > 1 {
			t.Errorf("%s is there %d times", number, times)
		}
	}
	whole := map[string]bool{}
	for _, n := range notDue {
		switch {
		case !known[n.number]:
			t.Errorf("%s is not due and no rule", n.number)
		case n.part == "" && tested[n.number] > 0:
			t.Errorf("%s is tested and not due", n.number)
		case n.part != "" && tested[n.number] == 0:
			t.Errorf("%s is not due in part and the rest is not tested", n.number)
		}
		whole[n.number] = whole[n.number] || n.part == ""
	}
	var missing []string
	for number := range known {
		if tested[number] == 0 && !whole[number] {
			missing = append(missing, number)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("neither tested nor said not to be due: %v", missing)
	}
}
