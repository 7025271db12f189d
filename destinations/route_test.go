package destinations

import (
	"fmt"
	"slices"
	"testing"

	"baton/destinations/selector"
)

// headless has the body of a message as the header "body", for selectors.
type headless struct{ *Message }

func (h headless) Field(name string) ([]byte, bool) { return h.Content[1:], name == "body" }

func selected(tb testing.TB, text string) *selector.Selector {
	tb.Helper()
	s, err := selector.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func fieldsOfBody(msg *Message) selector.Fields { return headless{msg} }

// wantBodies checks what waits in a queue.
func wantBodies(t *testing.T, m *Machine, queue string, want ...string) {
	t.Helper()
	var got []string
	if q := m.find(queue); q != nil {
		q.each(func(at ref) bool {
			got = append(got, bodyText(at.slot().msg))
			return true
		})
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q holds %q, want %q", queue, got, want)
	}
}

// Routes copy or move what their selector matches, into one entry, and what they
// send is not routed again.
func TestRoutes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Fields: fieldsOfBody, Routes: []Route{
		{From: Pattern{Queue("in.*")}, To: []Destination{Queue("copy"), Topic("t")}},
		{From: Pattern{Queue("in.a")}, To: []Destination{Queue("moved"), Queue("copy")}, Move: true, Selector: selected(t, "body = 'away'")},
		{From: Pattern{Queue("copy")}, To: []Destination{Queue("in.a")}},
		{From: Pattern{Topic("t")}, To: []Destination{Queue("never")}},
	}})
	r.send(Queue("in.a"), newMessage("stays", true))
	if n := len(r.out.Entries); n != 1 {
		t.Errorf("%d entries hold what goes to two queues", n)
	}
	r.send(Queue("in.a"), newMessage("away", true))
	r.send(Queue("other"), newMessage("plain", true))
	r.step(Command{Op: Commit, Session: 1, More: &More{Tx: "x", Sends: []Outgoing{{Destination: Queue("in.b"), Message: newMessage("tx", true)}}}})
	wantBodies(t, r.m, "in.a", "stays")
	wantBodies(t, r.m, "in.b", "tx")
	wantBodies(t, r.m, "copy", "stays", "away", "tx")
	wantBodies(t, r.m, "moved", "away")
	wantBodies(t, r.m, "other", "plain")
	wantBodies(t, r.m, "never")
}

// A durable subscription with a selector holds only what matches; a replay needs
// no selector to know.
func TestDurableSelector(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Fields: fieldsOfBody})
	id := DurableID{Client: "c", Name: "x"}
	subscribe := Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Topic("t"),
		Consumer: &Consumer{Ack: AckIndividual, Durable: id, Selector: selected(t, "body LIKE 'a%'")}}
	r.step(subscribe)
	r.step(Command{Op: Disconnect, Session: 1, Clean: true})
	entries := []Entry{}
	for _, body := range []string{"a1", "b1", "a2"} {
		r.send(Topic("t"), newMessage(body, true))
		for _, e := range r.out.Entries {
			entries = append(entries, readBack(e))
		}
	}
	if len(entries) != 2 {
		t.Errorf("%d entries for two that match", len(entries))
	}
	r.step(subscribe)
	if n := len(r.out.Outputs); n != 2 || len(r.out.Entries) > 0 {
		t.Errorf("%d messages come, want 2; entries: %v", n, r.out.Entries)
	}
	r.step(Command{Op: Disconnect, Session: 1, Clean: true})
	subscribe.Consumer.Selector = selected(t, "body LIKE 'b%'")
	r.step(subscribe)
	if got := fmt.Sprint(r.out.Entries[0].Kind, r.out.Entries[1].Kind); got != "forgo durable" {
		t.Errorf("another selector makes %s", got)
	}
}

// A hundred durable subscriptions take little more of the log than one.
func TestDurableOnDiskOnce(t *testing.T) {
	t.Parallel()
	const subscriptions, messages, size = 100, 1000, 1024
	r := newRig(t, Options{})
	for i := range subscriptions {
		r.step(Command{Op: Subscribe, Session: 1, Subscription: fmt.Sprint(i), Destination: Topic("t"),
			Consumer: &Consumer{Durable: DurableID{Client: "c", Name: fmt.Sprint(i)}}})
	}
	r.step(Command{Op: Disconnect, Session: 1, Clean: true})
	octets := 0
	content := append([]byte{'\n'}, make([]byte, size)...)
	for range messages {
		r.send(Topic("t"), &Message{Content: content, Persistent: true})
		for _, e := range r.out.Entries {
			octets += len(e.Head) + len(e.Body)
		}
	}
	if most := messages * (size + 64); octets > most {
		t.Errorf("%d octets, want at most %d", octets, most)
	}
	if s := r.m.Stats(); s.Messages != subscriptions*messages || s.Durables != subscriptions || s.Queues != 0 {
		t.Errorf("%+v", s)
	}
	if contents := r.m.Bytes() - subscriptions*queueBytes; contents != 0 {
		t.Errorf("%d octets are in memory for who is not there", contents)
	}
}

// An entry that names a queue twice, or by name and by topic, puts one message
// into it.
func TestReplayOfAPublishToOneQueueTwice(t *testing.T) {
	t.Parallel()
	const virtual = "Consumer.A.VirtualTopic.x"
	made := record{seq: 1, kind: KindDurable, queue: virtual, topic: "VirtualTopic.x"}
	put := record{seq: 2, kind: KindPublish, topic: "VirtualTopic.x", queues: []string{virtual, "q", "q"}, msg: newMessage("one", true)}
	m := replayed(t, Options{}, []Entry{made.entry(), put.entry()})
	wantBodies(t, m, virtual, "one")
	wantBodies(t, m, "q", "one")
}
