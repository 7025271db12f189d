package bench

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"baton/broker/stomp"
)

// A Relay is the least that a broker can do: it parses STOMP 1.2 and forwards what a producer sends to who has subscribed,
// and answers receipts; it remembers nothing, and looks at no acknowledgement. What one read brings of a queue goes to one of
// its consumers, in turn. With a log, the receipts of persistent SENDs come when it has been synced; all that wait
// share a sync. A broker with the same promises has all that to do, and more.
type Relay struct {
	listener net.Listener
	log      *relayLog // nil: there is none
	clients  sync.WaitGroup

	// spoil, if it is not nil, makes of a MESSAGE what a broker must not: it returns what is to be sent in its place.
	spoil func(number int, frame []byte) []byte

	mu     sync.Mutex
	routes map[string]*route
	open   map[*relayConn]struct{} // nil: it is closed
}

// A route is who has subscribed to a destination.
type route struct {
	topic     bool
	listeners []listener
	turn      int
}

type listener struct {
	conn *relayConn
	id   string
	acks bool
}

// NewRelay listens on a free port of loopback. logFile, if it is not empty, is made, and removed in the end.
func NewRelay(logFile string) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, routes: map[string]*route{}, open: map[*relayConn]struct{}{}}
	if logFile != "" {
		if r.log, err = newRelayLog(logFile); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	r.clients.Go(r.accept)
	return r, nil
}

// Addr is where it listens.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Close ends all connections. The error is the first of the log.
func (r *Relay) Close() error {
	err := r.listener.Close()
	r.mu.Lock()
	for c := range r.open {
		_ = c.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.clients.Wait()
	if r.log != nil {
		err = errors.Join(err, r.log.close())
	}
	return err
}

func (r *Relay) accept() {
	for number := 0; ; number++ {
		socket, err := r.listener.Accept()
		if err != nil {
			return
		}
		limits := stomp.AfterConnect()
		limits.BodyBytes = maxBodyBytes
		c := &relayConn{Conn: socket, relay: r, in: stomp.NewReader(socket, stomp.V12, limits), prefix: strconv.Itoa(number) + "-"}
		c.changed.L = &c.mu
		if !r.admit(c) {
			_ = socket.Close()
			return
		}
		r.clients.Go(c.read)
		r.clients.Go(c.write)
	}
}

// admit notes c, unless r is closed.
func (r *Relay) admit(c *relayConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		return false
	}
	r.open[c] = struct{}{}
	return true
}

// A relayConn is a client's connection: one goroutine reads, another writes.
type relayConn struct {
	net.Conn
	relay   *Relay
	in      *stomp.Reader
	prefix  string // of the ids of the messages that it sends
	sent    int
	batch   []forward // what was read and is not forwarded yet
	body    []byte    // their headers and bodies
	scratch []byte    // MESSAGE frames
	answers []byte    // receipts of what was read
	stores  bool      // some of them, or earlier ones, promise something: they come in order

	mu      sync.Mutex
	changed sync.Cond
	out     []byte
	closed  bool
}

// A forward is a message on its way: the part of body from begin on.
type forward struct {
	route      *route
	id         int
	begin, end int
}

// maxPending is how much may wait for a client that does not read, before others wait for it.
const maxPending = 1 << 20

func (c *relayConn) read() {
	defer c.end()
	for {
		f, err := c.in.Next()
		if err != nil {
			return
		}
		c.handle(f)
		if !c.in.Buffered() || len(c.body) >= flushBytes {
			c.forward()
		}
	}
}

func (c *relayConn) handle(f *stomp.Frame) {
	if receipt, ok := f.Header("receipt"); ok {
		c.answers = append(c.answers, "RECEIPT\n"...)
		c.answers = stomp.AppendHeader(c.answers, stomp.V12, "receipt-id", receipt)
		c.answers = append(c.answers, '\n', 0)
	}
	switch f.Command {
	case stomp.CmdConnect, stomp.CmdStomp:
		c.answers = append(c.answers, "CONNECTED\nversion:1.2\n\n\x00"...)
	case stomp.CmdSubscribe:
		c.subscribe(f)
	case stomp.CmdSend:
		c.take(f)
	case stomp.CmdCommit:
		c.stores = true
	}
}

func (c *relayConn) subscribe(f *stomp.Frame) {
	destination, _ := f.Header("destination")
	id, _ := f.Header("id")
	l := listener{conn: c, id: string(id)}
	ack, _ := f.Header("ack")
	l.acks = len(ack) > 0 && string(ack) != "auto"
	to := c.relay.route(string(destination))
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	to.listeners = append(to.listeners, l)
}

func (r *Relay) route(destination string) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.routes[destination]
	if to == nil {
		to = &route{topic: strings.HasPrefix(destination, "/topic/")}
		r.routes[destination] = to
	}
	return to
}

// take puts a message into the batch.
func (c *relayConn) take(f *stomp.Frame) {
	destination, _ := f.Header("destination")
	to := c.relay.find(destination)
	if to == nil {
		to = c.relay.route(string(destination))
	}
	if persistent, _ := f.Header("persistent"); string(persistent) == "true" {
		c.stores = true
	}
	begin := len(c.body)
	c.body, _ = f.AppendHeaders(c.body, dropReceipt)
	c.body = append(c.body, '\n')
	c.body = append(c.body, f.Body...)
	c.body = append(c.body, 0)
	c.sent++
	c.batch = append(c.batch, forward{to, c.sent, begin, len(c.body)})
}

func dropReceipt(name []byte) bool { return string(name) == "receipt" || string(name) == "transaction" }

func (r *Relay) find(destination []byte) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.routes[string(destination)]
}

// forward gives the batch to who has subscribed, and the answers to the client: at once, or when the log is synced.
func (c *relayConn) forward() {
	for first := 0; first < len(c.batch); {
		to, last := c.batch[first].route, first+1
		for last < len(c.batch) && c.batch[last].route == to {
			last++
		}
		c.forwardTo(to, c.batch[first:last])
		first = last
	}
	if log := c.relay.log; log != nil && c.stores && len(c.answers)+len(c.body) > 0 {
		log.append(c, c.body, c.answers)
	} else {
		c.pushBytes(c.answers)
	}
	c.batch, c.body, c.answers = c.batch[:0], c.body[:0], c.answers[:0]
}

func (c *relayConn) forwardTo(to *route, batch []forward) {
	c.relay.mu.Lock()
	listeners := to.listeners
	if n := len(listeners); n > 0 && !to.topic {
		to.turn = (to.turn + 1) % n
		listeners = listeners[to.turn : to.turn+1]
	}
	c.relay.mu.Unlock()
	for i := range listeners {
		l := &listeners[i]
		if len(listeners) == 1 { // copied once less
			l.conn.push(func(out []byte) []byte { return l.frames(out, c, batch) })
			return
		}
		if i == 0 || l.id != listeners[i-1].id || l.acks != listeners[i-1].acks {
			c.scratch = l.frames(c.scratch[:0], c, batch)
		}
		l.conn.pushBytes(c.scratch)
	}
}

// frames appends the MESSAGE frames for l.
func (l *listener) frames(dst []byte, from *relayConn, batch []forward) []byte {
	for _, f := range batch {
		begin := len(dst)
		dst = append(dst, "MESSAGE\nsubscription:"...)
		dst = append(dst, l.id...)
		dst = append(dst, "\nmessage-id:"...)
		dst = append(dst, from.prefix...)
		dst = strconv.AppendInt(dst, int64(f.id), 10)
		if l.acks {
			dst = append(dst, "\nack:"...)
			dst = append(dst, from.prefix...)
			dst = strconv.AppendInt(dst, int64(f.id), 10)
		}
		dst = append(dst, '\n')
		dst = append(dst, from.body[f.begin:f.end]...)
		if spoil := from.relay.spoil; spoil != nil {
			dst = append(dst[:begin], spoil(f.id, bytes.Clone(dst[begin:]))...)
		}
	}
	return dst
}

// push has written what add appends to the output. It waits while too much is waiting. Nobody gets what comes too late.
func (c *relayConn) push(add func(out []byte) []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > maxPending && !c.closed {
		c.changed.Wait()
	}
	if c.closed {
		return
	}
	idle := len(c.out) == 0
	if c.out = add(c.out); idle && len(c.out) > 0 {
		c.changed.Broadcast()
	}
}

func (c *relayConn) pushBytes(frames []byte) {
	c.push(func(out []byte) []byte { return append(out, frames...) })
}

// write ends the connection when it ends.
func (c *relayConn) write() {
	defer c.Close()
	var buf []byte
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.closed {
			c.changed.Wait()
		}
		if len(c.out) == 0 {
			c.mu.Unlock()
			return
		}
		buf, c.out = c.out, buf[:0]
		c.changed.Broadcast()
		c.mu.Unlock()
		if _, err := c.Write(buf); err != nil {
			c.shut()
			return
		}
	}
}

// shut has the writer end when all is written.
func (c *relayConn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
}

// end forgets the client.
func (c *relayConn) end() {
	c.forward()
	r := c.relay
	r.mu.Lock()
	for _, to := range r.routes {
		kept := make([]listener, 0, len(to.listeners))
		for _, l := range to.listeners {
			if l.conn != c {
				kept = append(kept, l)
			}
		}
		to.listeners = kept
	}
	delete(r.open, c)
	r.mu.Unlock()
	c.shut()
}

// A relayLog is a file that was allocated and filled before, and is written again and again from its begin.
type relayLog struct {
	file *os.File
	done chan error

	mu      sync.Mutex
	changed sync.Cond
	pending []byte
	waiting []promise
	closed  bool
}

// A promise is what a client is told when the log is synced.
type promise struct {
	conn    *relayConn
	answers []byte
}

const relayLogBytes = 64 << 20

func newRelayLog(name string) (*relayLog, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := fill(file, relayLogBytes); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(name))
	}
	l := &relayLog{file: file, done: make(chan error, 1)}
	l.changed.L = &l.mu
	go func() { l.done <- l.write() }()
	return l, nil
}

// append has data written, and the answers given to c after that.
func (l *relayLog) append(c *relayConn, data, answers []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) > 8*maxPending && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		c.shut()
		return
	}
	l.pending = append(l.pending, data...)
	l.waiting = append(l.waiting, promise{c, append([]byte(nil), answers...)})
	l.changed.Broadcast()
}

func (l *relayLog) write() error {
	var data []byte
	var waiting []promise
	at := int64(0)
	for {
		l.mu.Lock()
		for len(l.waiting) == 0 && !l.closed {
			l.changed.Wait()
		}
		if len(l.waiting) == 0 {
			l.mu.Unlock()
			return nil
		}
		data, l.pending = l.pending, data[:0]
		waiting, l.waiting = l.waiting, waiting[:0]
		l.changed.Broadcast()
		l.mu.Unlock()
		if at+int64(len(data)) > relayLogBytes {
			at = 0
		}
		_, err := l.file.WriteAt(data, at)
		if err == nil {
			err = datasync(l.file)
		}
		if err != nil {
			l.fail(waiting)
			return err
		}
		at += int64(len(data))
		for i := range waiting {
			waiting[i].conn.pushBytes(waiting[i].answers)
			waiting[i] = promise{}
		}
	}
}

// fail has all connections end that wait for what was not synced, and those that will.
func (l *relayLog) fail(waiting []promise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Broadcast()
	for _, p := range append(waiting, l.waiting...) {
		p.conn.shut()
	}
}

func (l *relayLog) close() error {
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	return errors.Join(<-l.done, l.file.Close(), os.Remove(l.file.Name()))
}
