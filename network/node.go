package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"baton/destinations"
)

// A Broker is where a Node sends and consumes, as a session of its own.
// *broker.Agent is one.
type Broker interface {
	// Submit has commands carried out, in order. It may wait for room. An error says
	// that nothing of it was done.
	Submit(commands ...destinations.Command) error
	// Run calls outputs with what is released for the session and demands with what
	// consumers want, one call at a time, until ctx or the broker ends.
	Run(ctx context.Context, outputs func([]destinations.Output), demands func([]destinations.Demand)) error
}

// Options say how a Node works.
type Options struct {
	Settings
	Conn   *nats.Conn // where the network meets; it stays the caller's
	Broker Broker
	Logger *zap.Logger // nil: none
}

// WithDefaults returns s with its zero values replaced.
func (s Settings) WithDefaults() Settings {
	for _, d := range []struct {
		value   *time.Duration
		instead time.Duration
	}{{&s.Hello, 500 * time.Millisecond}, {&s.Silence, 3 * time.Second}, {&s.Timeout, 2 * time.Second}, {&s.Retry, 250 * time.Millisecond}} {
		if *d.value == 0 {
			*d.value = d.instead
		}
	}
	if s.Forwards == nil {
		s.Forwards = func(destinations.Destination) bool { return true }
	}
	return s
}

// A Node is a broker in its network.
type Node struct {
	opts     Options
	logger   *zap.Logger
	exchange *exchange
	events   chan event
	asks     chan func(x *exchange, out *actions)
	ended    chan struct{}
}

// An event is something that happened, for the goroutine that decides.
type event struct {
	outputs []destinations.Output
	demands []destinations.Demand
	frame   *frame
}

// Subjects of the network. Both hold frames.
const (
	subjectAll     = "baton.network.all"
	subjectMember  = "baton.network.to."     // and the member
	subjectExplain = "baton.network.explain" // a queue, to be answered
)

// Bounds of what waits for a Node.
const (
	maxEvents     = 256
	maxEventsPass = 64       // handled before their commands and frames leave
	maxInboxBytes = 64 << 20 // of frames that have come; more are lost, and what they were about is said again
	busyTick      = 10 * time.Millisecond
	idleTick      = 200 * time.Millisecond
)

// NewNode makes a node.
func NewNode(o Options) *Node {
	o.Settings = o.Settings.WithDefaults()
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return &Node{
		opts: o, logger: o.Logger, exchange: newExchange(o.Settings), events: make(chan event, maxEvents),
		asks: make(chan func(*exchange, *actions)), ended: make(chan struct{}),
	}
}

// Run takes part in the network until ctx ends, and then says goodbye. An error says
// that the broker has ended, or that the connection was closed.
func (n *Node) Run(ctx context.Context) (err error) {
	defer close(n.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var subs []*nats.Subscription
	defer func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // the connection may be closed
		}
	}()
	hear := func(m *nats.Msg) { n.hear(ctx, m) }
	for subject, fn := range map[string]nats.MsgHandler{
		subjectAll: hear, subjectMember + n.opts.Member: hear, subjectExplain: func(m *nats.Msg) { n.explains(ctx, m) },
	} {
		s, err := n.opts.Conn.Subscribe(subject, fn)
		if err != nil {
			return fmt.Errorf("join the network: %w", err)
		}
		subs = append(subs, s)
		if err := s.SetPendingLimits(-1, maxInboxBytes); err != nil {
			return fmt.Errorf("join the network: %w", err)
		}
	}
	var broker sync.WaitGroup
	ended := make(chan error, 1)
	broker.Go(func() {
		ended <- n.opts.Broker.Run(ctx, func(o []destinations.Output) { n.post(ctx, event{outputs: slices.Clone(o)}) },
			func(d []destinations.Demand) { n.post(ctx, event{demands: d}) })
	})
	defer broker.Wait()
	defer cancel()
	return n.loop(ctx, ended)
}

// post gives an event to the loop, and waits for it to have room.
func (n *Node) post(ctx context.Context, e event) {
	select {
	case n.events <- e:
	case <-ctx.Done():
	}
}

func (n *Node) hear(ctx context.Context, m *nats.Msg) {
	f, err := decodeFrame(m.Data)
	if err != nil {
		n.logger.Warn("the network: what came cannot be read", zap.Error(err))
		return
	}
	n.post(ctx, event{frame: &f})
}

// loop lets the exchange decide.
func (n *Node) loop(ctx context.Context, ended <-chan error) error {
	tick := time.NewTimer(busyTick)
	defer tick.Stop()
	x := n.exchange
	var out actions
	due := time.Now().Add(busyTick)
	x.begin(time.Now(), &out)
	for {
		if err := n.act(&out); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			x.end(time.Now(), &out)
			return n.act(&out)
		case err := <-ended:
			if ctx.Err() != nil {
				continue
			}
			return fmt.Errorf("the network ends with its broker: %w", err)
		case ask := <-n.asks:
			ask(x, &out)
		case e := <-n.events:
			n.handle(e, &out)
			for range maxEventsPass {
				select {
				case e := <-n.events:
					n.handle(e, &out)
					continue
				default:
				}
				break
			}
			x.flush(time.Now(), &out)
		case <-tick.C:
		}
		// However much happens, a tick is not put off.
		now := time.Now()
		if !now.Before(due) {
			x.tick(now, &out)
			due = now.Add(idleTick)
		}
		if soon := now.Add(busyTick); x.busy() && soon.Before(due) {
			due = soon
		}
		tick.Reset(due.Sub(now))
	}
}

func (n *Node) handle(e event, out *actions) {
	x, now := n.exchange, time.Now()
	for i := range e.outputs {
		x.takes(now, &e.outputs[i], out)
	}
	if e.demands != nil {
		x.wants(now, e.demands, out)
	}
	if e.frame != nil {
		x.hears(now, e.frame, out)
	}
}

// act does what the exchange wants. Commands that the broker has no memory for are
// refused, as those that it refuses later.
func (n *Node) act(out *actions) error {
	for len(out.commands)+len(out.frames) > 0 {
		commands, frames := out.commands, out.frames
		*out = actions{}
		for _, f := range frames {
			n.say(&f)
			n.exchange.left(&f.frame)
		}
		if len(commands) == 0 {
			continue
		}
		switch err := n.opts.Broker.Submit(commands...); {
		case err == nil:
		case errors.Is(err, context.Canceled):
			return nil
		default:
			n.refuse(commands, err, out)
		}
	}
	return nil
}

// refuse says that each of some commands was refused. Those without messages are
// tried once more, alone.
func (n *Node) refuse(commands []destinations.Command, why error, out *actions) {
	for _, c := range commands {
		if err := n.opts.Broker.Submit(c); err != nil && c.Receipt != "" {
			n.exchange.takes(time.Now(), &destinations.Output{Kind: destinations.Refused, ReceiptID: c.Receipt, Err: why}, out)
		}
	}
}

func (n *Node) say(f *outgoing) {
	subject := subjectAll
	if f.to != "" {
		subject = subjectMember + f.to
	}
	if err := n.opts.Conn.Publish(subject, f.encode()); err != nil {
		n.logger.Debug("the network: a frame is lost", zap.String("to", f.to), zap.Error(err)) // and what it says is said again
	}
}

// errEnded says that Run has ended.
var errEnded = errors.New("this broker takes no part in the network at the moment: it does not serve clients")

// ask has the loop do something, and waits for that.
func (n *Node) ask(ctx context.Context, fn func(x *exchange, out *actions)) error {
	done := make(chan struct{})
	select {
	case n.asks <- func(x *exchange, out *actions) {
		x.now = time.Now()
		fn(x, out)
		close(done)
	}:
		<-done
		return nil
	case <-n.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status says what this broker knows of its network.
func (n *Node) Status(ctx context.Context) (s Status, err error) {
	return s, n.ask(ctx, func(x *exchange, _ *actions) { s = x.status(x.now) })
}

// SetMode changes what this broker takes part in, until it ends.
func (n *Node) SetMode(ctx context.Context, m Mode) error {
	var refused error
	if err := n.ask(ctx, func(x *exchange, out *actions) { refused = x.setMode(m, out) }); err != nil {
		return err
	}
	return refused
}

// explainWithin is how long other brokers have to answer.
const explainWithin = 500 * time.Millisecond

// Explain says of each broker that answers in time why the messages of a queue wait
// there; of this one first, and of the others by their names.
func (n *Node) Explain(ctx context.Context, queue string) ([]Explanation, error) {
	queue = strings.TrimPrefix(queue, "/queue/")
	var own Explanation
	peers := 0
	if err := n.ask(ctx, func(x *exchange, _ *actions) { own, peers = x.explain(queue), len(x.peers) }); err != nil {
		return nil, err
	}
	inbox := n.opts.Conn.NewRespInbox()
	answers, err := n.opts.Conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := n.opts.Conn.PublishRequest(subjectExplain, inbox, []byte(queue)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, explainWithin)
	defer cancel()
	var others []Explanation
	for len(others) < peers {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			break // in time, nobody else has answered
		}
		var e Explanation
		if err := json.Unmarshal(m.Data, &e); err == nil && e.Member != own.Member {
			others = append(others, e)
		}
	}
	slices.SortFunc(others, func(a, b Explanation) int { return strings.Compare(a.Member, b.Member) })
	return append([]Explanation{own}, others...), nil
}

// explains answers another broker that was asked.
func (n *Node) explains(ctx context.Context, m *nats.Msg) {
	if m.Reply == "" {
		return
	}
	var own Explanation
	if err := n.ask(ctx, func(x *exchange, _ *actions) { own = x.explain(string(m.Data)) }); err != nil {
		return
	}
	text, err := json.Marshal(own)
	if err == nil {
		_ = m.Respond(text) // who asked waits no longer than for so long
	}
}
