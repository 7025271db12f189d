package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
)

// A listener is what an agent is told, as text.
type listener struct {
	t       *testing.T
	agent   *Agent
	said    chan string
	demands chan destinations.Demand
	cancel  context.CancelFunc
	ended   chan error
}

// listen runs an agent of h.
func (h *host) listen() *listener {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	l := &listener{
		t: h.t, agent: h.NewAgent("test"), said: make(chan string, 1000), demands: make(chan destinations.Demand, 1000),
		cancel: cancel, ended: make(chan error, 1),
	}
	go func() {
		l.ended <- l.agent.Run(ctx, func(all []destinations.Output) {
			for i := range all {
				l.said <- outputText(&all[i])
			}
		}, func(all []destinations.Demand) {
			for _, d := range all {
				l.demands <- d
			}
		})
	}()
	h.t.Cleanup(func() {
		cancel()
		<-l.ended
	})
	return l
}

func outputText(o *destinations.Output) string {
	switch o.Kind {
	case destinations.Receipt:
		return "receipt " + o.ReceiptID
	case destinations.Refused:
		return "refused " + o.ReceiptID + ": " + o.Err.Error()
	case destinations.Deliver:
		m := o.Delivery.Message
		return fmt.Sprintf("message %s as %d.%d", m.Content[m.HeaderBytes+1:], o.Delivery.Sub, o.Delivery.Tag)
	}
	return fmt.Sprint("output ", o.Kind)
}

func (l *listener) do(commands ...destinations.Command) {
	l.t.Helper()
	if err := l.agent.Submit(commands...); err != nil {
		l.t.Fatal(err)
	}
}

func (l *listener) hears(want ...string) {
	l.t.Helper()
	for _, w := range want {
		if got := <-l.said; !strings.HasPrefix(got, w) {
			l.t.Fatalf("it is told %q, want %q", got, w)
		}
	}
}

func text(body string) *destinations.Message {
	return &destinations.Message{Content: []byte("\n" + body), Persistent: true}
}

// An agent consumes and sends as a client does, and goes on when something of that
// is refused. When it ends, what it had is back, and is not said to be delivered.
func TestAgent(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	h.send("/queue/in", "one", "two", "three")
	l := h.listen()
	l.do(
		destinations.Command{Op: destinations.Subscribe, Subscription: "s", Destination: destinations.Queue("in"),
			Consumer: &destinations.Consumer{Ack: destinations.AckClient, Network: true}},
		destinations.Command{Op: destinations.Grant, Subscription: "s", More: &destinations.More{Grant: 2}},
	)
	l.hears("message one as 1.1", "message two as 1.2")
	l.do(
		destinations.Command{Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: 7, Tag: 7}, WantReceipt: true, Receipt: "a"},
		destinations.Command{Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: 1, Tag: 1}, WantReceipt: true, Receipt: "b"},
		destinations.Command{Op: destinations.Send, Destination: destinations.Queue("out"), Message: text("sent"), WantReceipt: true, Receipt: "c"},
	)
	l.hears("refused a: no message was delivered", "receipt b", "receipt c")
	c := h.connect("1.2")
	c.subscribe("o", "/queue/out", "auto")
	c.message("sent")
	l.cancel()
	if err := <-l.ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
	l.ended <- nil
	c.subscribe("i", "/queue/in", "auto")
	for _, body := range []string{"two", "three"} {
		if m := c.message(body); m.header("redelivered") != "" {
			t.Errorf("%s says that it was delivered before", body)
		}
	}
}

// It is told what consumers want, of all queues first and then of those where that
// has changed.
func TestAgentHearsOfDemand(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	h.send("/queue/idle", "one")
	c := h.connect("1.2")
	c.subscribe("a", "/queue/busy", "client", "prefetch-count:3")
	l := h.listen()
	seen := map[string]destinations.Demand{}
	for len(seen) < 2 {
		d := <-l.demands
		seen[d.Queue] = d
	}
	if d := seen["idle"]; d.Consumers != 0 || d.Ready != 1 {
		t.Errorf("of the queue without consumers it is told %+v", d)
	}
	if d := seen["busy"]; d.Consumers != 1 || d.Free != 3 || d.Window != 3 {
		t.Errorf("of the queue with one it is told %+v", d)
	}
	c.do("UNSUBSCRIBE\nid:a")
	for d := range l.demands {
		if d.Queue == "busy" && d.Consumers == 0 {
			break
		}
	}
}

// An agent of a broker that ends is told so.
func TestAgentOutlivesItsBroker(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	l := h.listen()
	l.do(destinations.Command{Op: destinations.Note, WantReceipt: true, Receipt: "n"})
	l.hears("receipt n")
	_ = h.stop()
	err := <-l.ended
	l.ended <- nil
	if !errors.Is(err, ErrEnded) {
		t.Errorf("it ends with %v", err)
	}
	if err := l.agent.Submit(destinations.Command{Op: destinations.Note}); !errors.Is(err, ErrEnded) {
		t.Errorf("a command afterwards is answered with %v", err)
	}
}

// What only the log has is read for an agent, too, within its share of the memory.
func TestAgentReadsTheLog(t *testing.T) {
	inLittleMemory(t, nil, func(t *testing.T, h *host, _ *getLog, _ *observer.ObservedLogs) {
		bodies := h.fill("/queue/in", 100, 1000)
		l := h.listen()
		l.do(
			destinations.Command{Op: destinations.Subscribe, Subscription: "s", Destination: destinations.Queue("in"),
				Consumer: &destinations.Consumer{Ack: destinations.AckClient, Network: true}},
			destinations.Command{Op: destinations.Grant, Subscription: "s", More: &destinations.More{Grant: 100}},
		)
		for i, body := range bodies {
			l.hears(fmt.Sprintf("message %s as 1.%d", body, i+1))
		}
	})
}

// A queue that is full, whose producers wait, takes what another broker has accepted,
// and holds up nothing of an agent.
func TestFullQueueHoldsNoAgentUp(t *testing.T) {
	inFullQueue(t, destinations.FullBlock, func(t *testing.T, h *host) {
		h.send("/queue/full", "one", "two")
		l := h.listen()
		commit := func(queue, receipt string) destinations.Command {
			return destinations.Command{Op: destinations.Commit, WantReceipt: true, Receipt: receipt, More: &destinations.More{
				Tx: receipt, Sends: []destinations.Outgoing{{Destination: destinations.Queue(queue), Message: text("m"), Forwarded: true}},
			}}
		}
		l.do(commit("full", "a"), commit("other", "b"))
		l.hears("receipt a", "receipt b")
	})
}
