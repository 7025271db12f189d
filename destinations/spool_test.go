package destinations

import (
	"fmt"
	"strings"
	"testing"
)

// A broker that is not in reach costs a bounded amount of memory, and so do all of which somebody has made up the name; who sends
// more is told.
func TestSpoolsAreBounded(t *testing.T) {
	t.Parallel()
	m := New(Options{Member: "b"})
	send := func(member, body string) error {
		var out Effects
		return m.Step(scriptTime, &Command{Op: Send, Session: 1, Destination: Temporary(Queue("r"), AtMember("t", member)), Message: newMessage(body, true)}, &out)
	}
	var begun Effects
	if err := m.Step(scriptTime, &Command{Op: Start}, &begun); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 1<<20)
	for i := range 15 {
		if err := send("a", large); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err, ok := send("a", large).(*Error); !ok || err.Code != CodeQueueFull || !strings.Contains(err.Text, `"a"`) {
		t.Errorf("beyond the limit: %v", err)
	}
	var out Effects
	all := []Outgoing{}
	for range 2 {
		all = append(all, Outgoing{Destination: Temporary(Queue("r"), "t@a"), Message: newMessage(large[:600<<10], true)})
	}
	if err, ok := m.Step(scriptTime, &Command{Op: Commit, Session: 1, More: &More{Sends: all}}, &out).(*Error); !ok || err.Code != CodeQueueFull {
		t.Errorf("a transaction beyond the limit: %v", err)
	}
	for i := range maxSpools - 1 {
		if err := send(fmt.Sprint("made-up-", i), "x"); err != nil {
			t.Fatalf("broker %d: %v", i, err)
		}
	}
	if err, ok := send("one-more", "x").(*Error); !ok || err.Code != CodeQueueFull {
		t.Errorf("one more broker: %v", err)
	}
	if err := send("a", "x"); err != nil {
		t.Errorf("where there is room: %v", err)
	}
	if err := m.Step(scriptTime.Add(2*spoolTTL), &Command{Op: Tick}, &out); err != nil {
		t.Fatal(err)
	}
	if s := m.Stats(); s.Queues+s.Messages+int(s.Bytes) != 0 || m.spools != 0 {
		t.Errorf("after their time is left %+v, %d spools", s, m.spools)
	}
}
