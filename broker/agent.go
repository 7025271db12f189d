package broker

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
)

// opTell is a command beside those of the machine: the agent wants to know of
// demands, once there are some to tell.
const opTell destinations.Op = 101

// maxDemands bounds what an agent is told at once.
const maxDemands = 1024

// An Agent is a session without a connection: a part of this process that sends
// and consumes as clients do, in the words of package destinations. A command of
// its own that is refused is answered with an output of the kind Refused, and the
// session goes on.
//
// What it is sent is released as to a client: nothing before it is durable.
type Agent struct {
	s         *session
	demands   chan []destinations.Demand // told, and not yet taken
	listening bool                       // the machine tells of demands; the engine's own
}

// ErrEnded says that the broker does not serve any more.
var ErrEnded = errors.New("the broker has ended")

// NewAgent makes an agent; after Recover. Its session begins with its first command
// and ends when Run does.
func (s *Server) NewAgent(name string) *Agent {
	s.mu.Lock()
	s.lastID++
	id := s.lastID
	s.mu.Unlock()
	a := &Agent{demands: make(chan []destinations.Demand, 1)}
	a.s = &session{
		server: s, agent: a, id: id, conn: agentConn{name: agentAddr(name)}, since: time.Now(),
		logger: s.opts.Logger.With(zap.String("agent", name)), out: newOutbox(), gone: make(chan struct{}),
	}
	return a
}

// Submit gives commands to the engine, which carries them out in order, as one
// batch or with others. It waits while the mailbox is full. Sends take from the
// memory of the broker: an error says that there is none, and nothing was done, or
// that it is ErrEnded. The commands are the engine's from then on.
func (a *Agent) Submit(commands ...destinations.Command) error {
	s := a.s
	p := newPost(s)
	octets, sends := 0, false
	for i := range commands {
		c := &commands[i]
		c.Session = s.id
		taken := 0
		for _, o := range c.Outgoing() {
			taken += len(o.Message.Content) + agentOverhead
		}
		if taken > 0 {
			if err := s.server.budget.take(taken); err != nil {
				s.giveBack(p)
				return err
			}
			sends = true
		}
		octets += taken
		p.mails = append(p.mails, mail{command: *c, taken: taken})
	}
	if !s.server.engine.box.put(p, octets, sends) {
		s.giveBack(p)
		return ErrEnded
	}
	return nil
}

// agentOverhead is what a message of an agent takes beyond its content.
const agentOverhead = 256

func (s *session) giveBack(p *post) {
	for i := range p.mails {
		s.server.budget.give(p.mails[i].taken)
	}
}

// Run calls outputs with what the session is sent, in order and once it may leave,
// and demands with what the consumers of queues want, each time when that has
// changed: at first of all queues, and then as often as it is asked to by more,
// never before it has returned from the last. Neither may block for long. It
// returns when ctx ends, or with an error when the broker has ended or the session
// was evicted; then the session is over, and what it had not settled is back where
// it came from.
func (a *Agent) Run(ctx context.Context, outputs func([]destinations.Output), demands func([]destinations.Demand)) error {
	s := a.s
	w := frameWriter{s: s, share: newShare(), retry: newRetry(s.server.outage)}
	defer s.server.fetches.leave(&w.share)
	defer w.retry.stop()
	defer a.end()
	tell := destinations.Command{Op: opTell}
	if err := a.Submit(tell); err != nil {
		return err
	}
	for {
		if err := a.pass(&w, outputs); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.server.failed:
			return ErrEnded
		case <-s.server.engine.ended:
			return ErrEnded
		case <-s.gone:
			return errEvicted
		case <-s.out.wake:
		case <-w.share.granted:
		case <-w.retry.timer.C:
		case told := <-a.demands:
			demands(told)
			if err := a.Submit(tell); err != nil {
				return err
			}
		}
	}
}

var errEvicted = errors.New("the broker has ended the session")

// pass calls outputs with all that may leave now.
func (a *Agent) pass(w *frameWriter, outputs func([]destinations.Output)) error {
	s := a.s
	for {
		durable := s.server.engine.durable.Load()
		w.borrow()
		w.batch = s.out.take(w.batch[:0], durable, takeLimit)
		if len(w.batch) == 0 {
			fetched := w.fetch(durable)
			w.giveBack()
			if fetched {
				continue
			}
			return nil
		}
		over := slices.ContainsFunc(w.batch, func(o destinations.Output) bool {
			return o.Kind == destinations.Evict || o.Kind == outputEnd
		})
		outputs(w.batch)
		clear(w.batch)
		s.server.fetches.leave(&w.share)
		s.out.written()
		w.giveBack()
		if over {
			return errEvicted
		}
	}
}

// end ends the session.
func (a *Agent) end() {
	a.s.kill()
	_ = a.Submit(destinations.Command{Op: destinations.Disconnect, Clean: true}) // else the broker has ended, and it too
	a.s.out.close()
}

// tell notes that an agent wants to know of demands.
func (e *engine) tell(s *session) {
	if s.ended {
		return
	}
	e.sessions[s.id] = s
	if !s.agent.listening {
		s.agent.listening = true
		e.machine.TellDemands(true)
	}
	e.curious = s
}

// tellDemands tells the agent that waits for it of demands that have changed.
func (e *engine) tellDemands() {
	if e.curious == nil || !e.machine.Stirred() {
		return
	}
	select {
	case e.curious.agent.demands <- e.machine.Demands(nil, maxDemands):
		e.curious = nil
	default: // it has some that it has not taken
	}
}

// agentConn stands for the connection that an agent does not have.
type agentConn struct {
	net.Conn
	name agentAddr
}

func (agentConn) Close() error                    { return nil }
func (agentConn) SetReadDeadline(time.Time) error { return nil }
func (c agentConn) RemoteAddr() net.Addr          { return c.name }

type agentAddr string

func (agentAddr) Network() string  { return "internal" }
func (a agentAddr) String() string { return string(a) }
