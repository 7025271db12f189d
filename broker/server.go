package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
)

// A Server is one broker: an engine, and a session for each connection.
type Server struct {
	opts   Options
	name   string // begins message ids
	names  destinations.Names
	plain  destinations.Policy // of a destination that no rule matches
	budget *budget
	engine *engine

	fetches *allowance // for contents that writers read from the log
	outage  *outage    // in which they cannot

	hopeless chan struct{} // closed when the engine is too busy to be waited for
	failed   chan struct{} // closed by Fail
	once     sync.Once
	cause    error // why it failed; set before failed is closed

	leaves  chan struct{} // closed by Leave
	leaving sync.Once
	parting error // why it leaves; set before leaves is closed

	mu        sync.Mutex
	sessions  map[*session]struct{}
	perIP     map[string]int
	lastID    uint64
	stopping  bool
	turnsAway error // what those are told who come then; nil: nothing

	turningAway chan struct{} // bounds the goroutines that tell clients that there is no room
	running     sync.WaitGroup
	goodbyes    sync.WaitGroup // that go on when Serve has returned
}

// New makes a server. It serves after Recover and Serve.
func New(o Options) *Server {
	o = o.withDefaults()
	fetches := o.MemoryBytes / fetchShare
	memory := &budget{limit: o.MemoryBytes - fetches}
	s := &Server{
		opts:    o,
		plain:   o.Machine.DefaultPolicy(),
		names:   destinations.Names{MaxBytes: o.MaxNameBytes, DeadLetterPrefixes: o.Machine.DeadLetterPrefixes()},
		budget:  memory,
		fetches: newAllowance(fetches),
		outage:  &outage{logger: o.Logger},
		engine: &engine{
			machine:  destinations.New(o.Machine),
			budget:   memory,
			box:      newMailbox(o.MailboxBytes),
			logger:   o.Logger,
			sessions: map[uint64]*session{},
			ended:    make(chan struct{}),
			left:     make(chan struct{}),
			options:  o.Machine,
			progress: o.Progress,
			stored:   o.OnStored,
			disk:     disk{policy: o.OnDiskFull},
			checkpoints: checkpointer{
				logger: o.Logger, every: o.CheckpointEvery, written: make(chan outcome, 1),
			},
			lot:        newLot(memory.limit / 8),
			dropped:    dropLog{text: "topic subscribers are too slow, or away for too long: copies were dropped"},
			unclaimed:  dropLog{text: "replies were for temporary queues that are gone or full: they were dropped"},
			overflowed: dropLog{text: "queues are full: messages were dropped, as their policies say"},
		},
		hopeless:    make(chan struct{}),
		failed:      make(chan struct{}),
		leaves:      make(chan struct{}),
		sessions:    map[*session]struct{}{},
		perIP:       map[string]int{},
		turningAway: make(chan struct{}, 64),
	}
	s.engine.examiner = newExaminer(s.engine, s.fetches, o.Logger)
	return s
}

// Durable tells the server that the log is durable up to seq. It does not
// block and may be called from any goroutine.
func (s *Server) Durable(seq uint64) { s.engine.release(seq) }

// Fail tells the server that the log has failed, or that it is not the master any
// more: nothing more is acknowledged, connections are closed at once, and Serve
// returns err. If the engine waits for the log by then, it does so until that is closed. Fail
// does not block.
func (s *Server) Fail(err error) {
	s.once.Do(func() {
		s.cause = err
		close(s.failed)
	})
}

// Recover brings the destinations to the state of the log and begins an epoch,
// which must be higher than those in the log. The name begins every message id,
// so that those of different brokers differ; it is of letters, digits and "_".
// Recover must return before Serve. It ends early, with the error of ctx, when
// ctx does. After Follow it goes on from there. The log must be able to give back all that it
// has, up to its Last().
func (s *Server) Recover(ctx context.Context, log Log, name string, epoch uint32) error {
	s.name = name
	begun := time.Now()
	if err := s.engine.restore(ctx, log, epoch); err != nil {
		return err
	}
	if err := s.awaitDurable(ctx, s.engine.machine.Last()); err != nil {
		return err
	}
	stats := s.engine.machine.Stats()
	s.opts.Logger.Info("recovered", zap.Int("queues", stats.Queues), zap.Int("messages", stats.Messages),
		zap.Duration("took", time.Since(begun)))
	return nil
}

// awaitDurable waits until the log is durable up to seq. The ids of messages
// that are not stored hold the Seq of the start: no other start may get it.
func (s *Server) awaitDurable(ctx context.Context, seq uint64) error {
	started := newOutbox()
	s.engine.fresh = append(s.engine.fresh, waiter{seq, started})
	s.engine.await()
	for s.engine.durable.Load() < seq {
		select {
		case <-started.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.failed:
			return s.cause
		}
	}
	return nil
}

// Serve accepts connections until ctx ends, and then says goodbye: what was
// received is carried out, receipts that are due are sent, clients are told
// that the broker stops. It returns nil then, and an error when the log or the
// listener fails. It closes the listener. When ShutdownTimeout after the last client
// has gone the log is not durable, it closes that, and waits no more; and when the engine is still busy
// then, it returns an error while that goes on: the process should end.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	go func() {
		if err := s.engine.run(); err != nil {
			s.Fail(err)
			s.engine.box.close() // nobody empties it any more
		}
		close(s.engine.ended)
	}()
	var examiner sync.WaitGroup
	examiner.Go(s.engine.examiner.run)
	accepted := make(chan error, 1)
	s.running.Go(func() { accepted <- s.accept(listener) })
	var err error
	relent := func() {}
	patient, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	var grace <-chan time.Time // for the engine, whose log may take its time until it is closed
	left := false
	select {
	case <-ctx.Done():
	case <-s.failed:
	case <-s.leaves:
	case err = <-accepted:
	}
	switch { // whoever is told to leave, or fails, is soon told to end as well: in peace that would take as long as the slowest client
	case isClosed(s.failed):
		err, grace = s.cause, time.After(engineGrace)
	case isClosed(s.leaves):
		s.dismiss(listener, s.movedError())
		err, grace, left = s.parting, time.After(engineGrace), true
	case err != nil:
		err = fmt.Errorf("accept connections: %w", err)
	default:
		if s.engine.halt.Load() != nil {
			s.dismiss(listener, errShutdown)
			s.awaitClients()
			relent = s.hurry(giveUp)
		} else {
			relent = s.shutdown(listener, giveUp)
		}
	}
	if left {
		s.goodbyes.Go(func() {
			s.awaitClients()
			s.abandon(listener)
		})
	} else {
		s.abandon(listener)
	}
	select {
	case <-s.engine.ended:
	case <-s.hopeless:
	case <-grace:
	}
	close(s.engine.examiner.stopped)
	examiner.Wait()
	if err == nil {
		err = s.finishLog(patient)
	}
	relent()
	if !s.engine.hasEnded() {
		return err
	}
	if err == nil && patient.Err() == nil {
		// The next start begins where this broker ends.
		s.engine.checkpoints.last(s.engine.machine, s.engine.machine.Last())
	}
	s.engine.checkpoints.running.Wait()
	if left {
		s.engine.machine = nil // whoever goes on needs the memory, goodbyes do not
	}
	return err
}

// finishLog makes all durable. When ctx ends first, that is for nobody to wait for:
// the log is closed, and its owner may yet do it.
func (s *Server) finishLog(ctx context.Context) error {
	select {
	case <-s.failed:
		return s.cause
	default:
	}
	s.engine.log.Sync()
	err := s.awaitDurable(ctx, s.engine.machine.Last())
	select {
	case <-s.failed:
		return s.cause
	default:
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// hurry closes the log when ShutdownTimeout has passed before relent is called, and
// gives up what waits for it, maybe for room on its disk, or for another broker to
// have it. An engine that does not end is not waited for.
func (s *Server) hurry(giveUp func()) (relent func()) {
	hurried := make(chan struct{})
	timeout := time.AfterFunc(s.opts.ShutdownTimeout, func() {
		defer close(hurried)
		s.closeLog()
		giveUp()
		s.engine.box.close() // sessions that wait for room in it end
		select {
		case <-s.engine.ended:
		case <-time.After(engineGrace):
			s.Fail(errBusy)
			close(s.hopeless)
		}
	})
	return func() {
		if !timeout.Stop() {
			<-hurried
		}
	}
}

// engineGrace is how long the engine has to end when its log is closed.
const engineGrace = 100 * time.Millisecond

var errBusy = errors.New("the broker was still busy when its time to end was over")

// closeLog closes the log because the time to end is over.
func (s *Server) closeLog() {
	cause := "the journal did not become durable in time"
	if !s.engine.hasEnded() {
		switch s.engine.doing.Load() {
		case idle:
			cause = "a connection did not come to its end in time"
		case working:
			cause = "the broker was still busy with what clients had asked for"
		}
	}
	s.opts.Logger.Error(cause + ": the journal is closed, and what nobody was told of may be lost")
	if err := s.engine.log.Close(); err != nil {
		s.Fail(err)
	}
}

// accept serves connections until the listener closes.
func (s *Server) accept(listener net.Listener) error {
	const longest = time.Second
	pause := time.Duration(0)
	for {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// Out of file descriptors, most likely: others will close theirs.
			pause = min(max(2*pause, 5*time.Millisecond), longest)
			s.opts.Logger.Warn("accepting a connection failed", zap.Error(err), zap.Duration("pause", pause))
			select {
			case <-time.After(pause):
			case <-s.failed:
				return err
			}
			continue
		}
		pause = 0
		if h := s.engine.halt.Load(); h != nil {
			select {
			case <-h.over:
			case <-s.engine.left:
			}
		}
		s.welcome(conn)
	}
}

// welcome makes a session of a connection, if there is room for one.
func (s *Server) welcome(conn net.Conn) {
	ip := hostOf(conn)
	ses, err := s.admit(conn, ip)
	if err != nil {
		s.turnAway(conn, err)
		return
	}
	if ses == nil {
		_ = conn.Close()
		return
	}
	s.running.Go(func() {
		defer s.leave(ses, ip)
		ses.logger.Info("connection accepted")
		ses.run()
	})
}

// admit makes a session and counts it; nil when the server is stopping and has
// nothing to say.
func (s *Server) admit(conn net.Conn, ip string) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return nil, s.turnsAway
	case len(s.sessions) >= s.opts.MaxConnections:
		return nil, errTooManyConns
	case s.perIP[ip] >= s.opts.MaxConnectionsPerIP && !(s.opts.Relays != nil && s.opts.Relays(ip)):
		return nil, errTooManyConnsIP
	}
	s.lastID++
	ses := newSession(s, s.lastID, conn)
	s.sessions[ses] = struct{}{}
	s.perIP[ip]++
	return ses, nil
}

func (s *Server) leave(ses *session, ip string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ses)
	if s.perIP[ip]--; s.perIP[ip] == 0 {
		delete(s.perIP, ip)
	}
}

// turnAway tells a client that there is no room for it, unless very many are
// being told already.
func (s *Server) turnAway(conn net.Conn, why error) {
	select {
	case s.turningAway <- struct{}{}:
	default:
		_ = conn.Close()
		return
	}
	s.running.Go(func() {
		defer func() { <-s.turningAway }()
		s.opts.Logger.Warn("connection refused", zap.Stringer("client", conn.RemoteAddr()), zap.Error(why))
		_ = conn.SetDeadline(time.Now().Add(s.opts.Linger))
		_, _ = conn.Write(appendError(nil, 0, why))
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
		discard(conn)
		_ = conn.Close()
	})
}

// shutdown ends all sessions in peace, within ShutdownTimeout. From then on the
// log and the engine are hurried, until relent is called.
func (s *Server) shutdown(listener net.Listener, giveUp func()) (relent func()) {
	_ = listener.Close()
	s.engine.stopping.Store(true)
	s.eachSession(func(ses *session) { ses.stop(errShutdown) })
	s.engine.box.signal()
	s.awaitClients()
	relent = s.hurry(giveUp)
	s.eachSession((*session).kill)
	s.running.Wait()
	return relent
}

// awaitClients gives them ShutdownTimeout to take their goodbye.
func (s *Server) awaitClients() {
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	timeout := time.NewTimer(s.opts.ShutdownTimeout)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-s.failed:
	case <-timeout.C:
		s.opts.Logger.Warn("clients did not take their goodbye in time")
	}
}

// abandon ends what is left at once.
func (s *Server) abandon(listener net.Listener) {
	_ = listener.Close()
	s.engine.endRest()
	s.engine.box.close()
	s.eachSession((*session).kill)
	s.running.Wait()
}

// eachSession calls fn for every session and lets no new one in.
func (s *Server) eachSession(fn func(*session)) {
	s.mu.Lock()
	s.stopping = true
	all := make([]*session, 0, len(s.sessions))
	for ses := range s.sessions {
		all = append(all, ses)
	}
	s.mu.Unlock()
	for _, ses := range all {
		fn(ses)
	}
}

func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
