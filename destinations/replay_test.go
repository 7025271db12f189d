package destinations

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// describe writes down what of m is stored: for each queue the messages in
// their order. Two machines with the same description recover alike.
func describe(m *Machine) string {
	var names []string
	for name := range m.queues {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		q := m.queues[name]
		q.each(func(s *slot) bool {
			if !s.stored() {
				return true
			}
			fmt.Fprintf(&b, "%s %d %s attempts=%d", q.destination, s.seq, bodyText(s.msg), s.attempts)
			if d := q.deadLetter(s); d != nil {
				fmt.Fprintf(&b, " %s at=%s", d, d.Time.Format("15:04:05.000"))
			}
			b.WriteByte('\n')
			return true
		})
	}
	return b.String()
}

// readBack is e as a log gives it back: the payload in one piece.
func readBack(e Entry) Entry {
	return Entry{Seq: e.Seq, Kind: e.Kind, Body: slices.Concat(e.Head, e.Body)}
}

// A tester fails a test, or one run of a property.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// replayed is a new machine after these entries.
func replayed(t tester, o Options, entries []Entry) *Machine {
	t.Helper()
	m := New(o)
	for _, e := range entries {
		if err := m.Replay(e); err != nil {
			t.Fatalf("replay entry %d: %v", e.Seq, err)
		}
	}
	return m
}

func TestReplayRefusesEntriesOutOfOrder(t *testing.T) {
	t.Parallel()
	m := replayed(t, Options{}, []Entry{{Seq: 7, Kind: KindStart}})
	for _, seq := range []uint64{0, 6, 7} {
		if err := m.Replay(Entry{Seq: seq, Kind: KindStart}); err == nil {
			t.Errorf("entry %d is replayed after entry 7", seq)
		}
	}
	if err := m.Replay(Entry{Seq: 9, Kind: 99}); err == nil || !strings.Contains(err.Error(), "unknown kind 99") {
		t.Errorf("an entry of an unknown kind gives the error %v", err)
	}
	if m.Last() != 7 {
		t.Errorf("refused entries moved Last to %d", m.Last())
	}
}
