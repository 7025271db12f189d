package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"baton/broker/stomp"
	"baton/destinations"
)

// A session is one connection: a goroutine that reads and one that writes.
// Fields without a remark belong to the reading one.
type session struct {
	server *Server
	agent  *Agent // that this is the session of; nil: of a connection
	id     uint64
	mark   string // ends what names it, and tells it from any other, of all epochs
	conn   net.Conn
	logger *zap.Logger
	out    *outbox

	reader     *stomp.Reader
	since      time.Time // when the connection was accepted
	connected  bool
	clientID   string        // what the client calls itself; empty: it does not
	version    atomic.Uint32 // a stomp.Version, set before CONNECTED
	heard      time.Time     // when octets of the client last came
	beatWithin time.Duration // the client is cut when nothing comes for so long; 0: never
	deadlines  deadlines

	// Set before CONNECTED is pushed, read by the writer after it took that.
	beatEvery       time.Duration // something is written at least this often; 0: no need
	heartBeatHeader string

	post         *post // read and not yet submitted; nil: there is nothing
	bytes        int   // of the messages in it
	sends        bool  // there are such
	transactions map[string]*transaction
	begun        uint64                // transactions, ever
	lastTarget   destinations.Outgoing // of the last SEND, without its message; most go where the one before went
	lastMore     *destinations.More    // of its SENDs, once the client has named itself and sent one
	lastName     string                // the same as the client wrote it
	lastStored   bool                  // what is sent there and does not say is persistent
	temps        map[string]*temp      // temporary destinations by what the client calls them
	unnamed      map[string]string     // ids of a 1.0 client's subscriptions by their destinations

	stopping atomic.Pointer[clientError] // why the broker ends the session
	ending   atomic.Bool                 // nothing more is read: the writer must not take long
	draining bool                        // the last frame is on its way; guarded by closing
	closing  sync.Mutex                  // stop and drain set the same deadline
	broken   atomic.Pointer[error]       // why nothing more can be written
	gone     chan struct{}               // closed by kill
	killed   sync.Once

	// The engine's own.
	refused bool   // an ERROR is on its way
	ended   bool   // its Disconnect was carried out
	cause   error  // of that; nil: the client asked for it
	parked  []mail // that wait for room on the disk, in order
	sorted  uint64 // the last batch with outputs for it
	parcel  int    // in engine.parcels, in that batch

	parkedBytes atomic.Int64 // of the messages in parked; written with the lock of the engine's lot
}

func newSession(server *Server, id uint64, conn net.Conn) *session {
	s := &session{
		server: server,
		id:     id,
		mark:   fmt.Sprintf("-%d.%d", server.engine.epoch, id),
		conn:   conn,
		since:  time.Now(),
		logger: server.opts.Logger.With(zap.Uint64("session", id), zap.Stringer("client", conn.RemoteAddr())),
		out:    newOutbox(),
		gone:   make(chan struct{}),
	}
	s.reader = stomp.NewReader(s.source(), stomp.V12, server.opts.ConnectLimits)
	return s
}

// run serves the connection until it has ended, and closes it.
func (s *session) run() {
	var writer sync.WaitGroup
	writer.Go(func() {
		defer s.recovered("writing")
		defer s.out.close()
		s.write()
	})
	err := s.read()
	s.deadlines.frameDone(s.server.budget)
	s.dropTransactions()
	s.end(err)
	s.drain(&writer)
	_ = s.conn.Close()
	s.reader.Release()
}

// read carries out frames until the connection or the client ends, and says
// why.
func (s *session) read() (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.logPanic("reading", v)
			err = errInternal
		}
	}()
	for {
		f, err := s.reader.Next()
		if err != nil {
			return s.readError(err)
		}
		s.deadlines.frameDone(s.server.budget)
		if err := s.handle(f); err != nil {
			return s.named(err, f)
		}
		if s.post != nil && (!s.reader.Buffered() || s.bytes >= submitBytes || len(s.post.mails) >= submitMails) {
			s.submit()
		}
	}
}

// Mails are submitted when nothing further has arrived, and at the latest when
// there are so many: one client's flood must not become one huge batch.
const (
	submitBytes = 256 << 10
	submitMails = 256
)

// readError turns what the reader said into what the client is told: nothing,
// if it has gone.
func (s *session) readError(err error) error {
	switch {
	case s.stopping.Load() != nil:
		return s.stopping.Load()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.deadlines.passed
	case s.broken.Load() != nil && !errors.Is(err, io.EOF):
		return *s.broken.Load()
	default:
		return err
	}
}

// errGoodbye ends a session that said DISCONNECT.
var errGoodbye = errors.New("the client disconnected")

// submit gives the collected mails to the engine.
func (s *session) submit() {
	s.out.waitForReader()
	if p := s.post; p != nil && !s.server.engine.box.put(p, s.bytes, s.sends) {
		for i := range p.mails {
			s.server.budget.give(p.mails[i].taken)
		}
	}
	if s.server.engine.lot.wait(s) {
		s.touchTransactions()
	}
	s.post, s.bytes, s.sends = nil, 0, false
}

// mail adds an empty mail to what will be submitted, to be filled in at once.
func (s *session) mail() *mail {
	if s.post == nil {
		s.post = newPost(s)
	}
	s.post.mails = append(s.post.mails, mail{})
	return &s.post.mails[len(s.post.mails)-1]
}

func (s *session) add(c *destinations.Command) *mail {
	c.Session = s.id
	m := s.mail()
	m.command = *c
	s.bytes += len(c.Receipt) + len(c.Subscription) + len(c.Destination.Name)
	return m
}

// addSends adds a command with messages of so many octets, for which so many
// were taken from the budget.
func (s *session) addSends(c *destinations.Command, bytes, taken int) {
	s.add(c).taken = taken
	s.bytes += bytes
	s.sends = true
}

// end submits what was read, the ERROR if there is one, and the Disconnect.
// What came before the end is carried out (STOMP 1.2, "Connection Lingering").
func (s *session) end(err error) {
	s.ending.Store(true)
	goodbye := errors.Is(err, errGoodbye)
	var protocol *stomp.ProtocolError
	var client *clientError
	tell := errors.As(err, &client) || errors.As(err, &protocol)
	s.logEnd(err, goodbye, tell)
	if goodbye {
		last := len(s.post.mails) - 1
		disconnect := s.post.mails[last]
		s.post.mails = s.post.mails[:last]
		s.addSent(s.out.autoTaken())
		*s.mail() = disconnect
		s.submit()
		return
	}
	if tell {
		s.mail().err = err
	}
	s.submit()
	// What the writer is busy with will be settled if it gets through.
	s.out.waitForWriter()
	s.add(&destinations.Command{Op: destinations.Disconnect, Clean: client == errShutdown, More: &destinations.More{Written: s.out.takenUpTo()}}).err = err
	s.submit()
}

// addSent tells the engine what has left the outbox for auto subscriptions,
// so that it is not taken for undelivered when they end.
func (s *session) addSent(taken map[uint32]uint64) {
	for sub, tag := range taken {
		s.add(&destinations.Command{Op: destinations.Sent, Delivery: destinations.DeliveryID{Sub: sub, Tag: tag}})
	}
}

func (s *session) logEnd(err error, goodbye, tell bool) {
	switch {
	case goodbye, errors.Is(err, io.EOF):
		s.logger.Info("connection ended")
	case tell:
		s.logger.Info("connection ends with an error", zap.Error(err))
	default:
		s.logger.Info("connection lost", zap.Error(err))
	}
}

// drain reads and discards until the client has closed, or Linger after the
// last frame was written: closing with input unread would reset the connection
// and take the last frame with it.
func (s *session) drain(writer *sync.WaitGroup) {
	s.closing.Lock()
	s.draining = true
	_ = s.conn.SetReadDeadline(time.Time{})
	s.closing.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		writer.Wait()
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(s.server.opts.Linger))
	}()
	discard(s.conn)
	s.awaitWriter(done)
}

// discard reads until conn has no more.
func discard(conn net.Conn) {
	buf := make([]byte, 4<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// stop ends the session from outside; the client is told err.
func (s *session) stop(err *clientError) {
	if !s.stopping.CompareAndSwap(nil, err) {
		return
	}
	s.server.engine.lot.wake()
	s.closing.Lock()
	defer s.closing.Unlock()
	if !s.draining {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// kill ends the session without a word.
func (s *session) kill() {
	s.killed.Do(func() { close(s.gone) })
	s.server.engine.lot.wake()
	_ = s.conn.Close()
}

// isOver says that nothing more is read, or soon will not be.
func (s *session) isOver() bool {
	select {
	case <-s.gone:
		return true
	default:
		return s.ending.Load() || s.stopping.Load() != nil
	}
}

func (s *session) recovered(doing string) {
	if v := recover(); v != nil {
		s.logPanic(doing, v)
		s.kill()
	}
}

func (s *session) logPanic(doing string, v any) {
	s.logger.Error("BUG: panic in a session; the connection is closed", zap.String("while", doing), zap.Any("panic", v), zap.Stack("stack"))
}
