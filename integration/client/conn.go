package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// Options of Dial. The zero value speaks STOMP 1.2 without heart-beats.
type Options struct {
	Version   string // accept-version; "": 1.2; "1.0" sends no accept-version at all
	HeartBeat string // the header's value, such as "500,500"; "": no header
	ClientID  string // "": no client-id

	Dial func(ctx context.Context, addr string) (net.Conn, error) // how Dial gets its connection; nil: over TCP
}

// Conn is a connection to a broker. One goroutine may read (Next, Call) while others write (Write, Flush).
type Conn struct {
	Connected *Frame // the answer to CONNECT

	conn     net.Conn
	reader   *bufio.Reader
	frame    Frame    // what Next returns, reused
	kept     []*Frame // frames that Call met on the way to its receipt
	beats    int
	receipts int // named by Call so far

	mu      sync.Mutex
	pending []byte // written, not yet flushed; guarded by mu
	failed  error  // of the first write that failed; guarded by mu
}

const (
	flushBytes = 64 << 10 // pending output at which Write flushes by itself
	readBytes  = 64 << 10 // read at once
)

// Dial connects and waits for CONNECTED. An ERROR frame in its place is returned as an Error.
func Dial(ctx context.Context, addr string, o Options) (*Conn, error) {
	dial := o.Dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	c, err := Handshake(conn, o)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, nil
}

// Raw is a client that has sent nothing yet, not even CONNECT.
func Raw(conn net.Conn) *Conn {
	return &Conn{conn: conn, reader: bufio.NewReaderSize(conn, readBytes)}
}

// Handshake is Dial over a connection that is there already.
func Handshake(conn net.Conn, o Options) (*Conn, error) {
	c := Raw(conn)
	headers := []string{"host", "baton"}
	if o.Version != "1.0" {
		headers = append(headers, "accept-version", orElse(o.Version, "1.2"))
	}
	if o.HeartBeat != "" {
		headers = append(headers, "heart-beat", o.HeartBeat)
	}
	if o.ClientID != "" {
		headers = append(headers, "client-id", o.ClientID)
	}
	if err := c.Write("CONNECT", nil, headers...); err != nil {
		return nil, err
	}
	if err := c.Flush(); err != nil {
		return nil, err
	}
	answer, err := c.Next()
	if err != nil {
		return nil, err
	}
	if answer.Command != "CONNECTED" {
		return nil, fmt.Errorf("the broker answered CONNECT with %s", answer)
	}
	c.Connected = answer.Clone()
	return c, nil
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// Write appends a frame to the output, headers as name, value, name, value. A body gets its content-length. The frame
// leaves with the next Flush, or earlier when much is pending.
func (c *Conn) Write(command string, body []byte, headers ...string) error {
	if len(headers)%2 != 0 {
		panic("BUG: headers come in pairs: " + command)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = appendFrame(c.pending, command, body, headers)
	if len(c.pending) >= flushBytes {
		return c.flush()
	}
	return c.failed
}

// WriteRaw appends bytes to the output as they are.
func (c *Conn) WriteRaw(raw []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, raw...)
	return c.failed
}

func appendFrame(b []byte, command string, body []byte, headers []string) []byte {
	b = append(b, command...)
	b = append(b, '\n')
	for i := 0; i < len(headers); i += 2 {
		b = append(b, headers[i]...)
		b = append(b, ':')
		b = append(b, headers[i+1]...)
		b = append(b, '\n')
	}
	if len(body) > 0 {
		b = append(b, "content-length:"...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, body...)
	return append(b, 0)
}

// Flush sends what was written.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

// Acquire takes a place in a window of frames under way. Before it waits for one it flushes, for what was written may have
// to come back first. It ends with what it receives from ended.
func (c *Conn) Acquire(slots chan<- struct{}, ended <-chan error) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	if err := c.Flush(); err != nil {
		return err
	}
	select {
	case slots <- struct{}{}:
		return nil
	case err := <-ended:
		return err
	}
}

func (c *Conn) flush() error {
	if c.failed != nil || len(c.pending) == 0 {
		return c.failed
	}
	_, c.failed = c.conn.Write(c.pending)
	c.pending = c.pending[:0]
	return c.failed
}

// Next waits for the next frame of the broker; it is valid until the next call of Next or Call. An ERROR frame is returned
// as the error Error. io.EOF says that the broker closed between two frames.
func (c *Conn) Next() (*Frame, error) {
	if len(c.kept) > 0 {
		f := c.kept[0]
		c.kept = c.kept[1:]
		return f, nil
	}
	return c.read()
}

// Receive is Next for who answers what comes: before it has to wait it flushes, so that answers travel in batches.
func (c *Conn) Receive() (*Frame, error) {
	if len(c.kept) == 0 && c.reader.Buffered() == 0 {
		if err := c.Flush(); err != nil {
			return nil, err
		}
	}
	return c.Next()
}

func (c *Conn) read() (*Frame, error) {
	if err := readFrame(c.reader, &c.frame, &c.beats); err != nil {
		return nil, err
	}
	if c.frame.Command == "ERROR" {
		return nil, Error{c.frame.Clone()}
	}
	return &c.frame, nil
}

// Beats is how many heart-beats were read so far.
func (c *Conn) Beats() int { return c.beats }

// Call writes a frame with a receipt of its own, flushes and waits for the RECEIPT. Other frames that come first are kept
// for Next.
func (c *Conn) Call(command string, body []byte, headers ...string) error {
	c.receipts++
	receipt := "call-" + strconv.Itoa(c.receipts)
	if err := c.Write(command, body, append(headers, "receipt", receipt)...); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	for {
		f, err := c.read()
		if err != nil {
			return fmt.Errorf("receipt of %s: %w", command, err)
		}
		if f.Command == "RECEIPT" && f.Header("receipt-id") == receipt {
			return nil
		}
		c.kept = append(c.kept, f.Clone())
	}
}

// Drain reads until the broker closes, and returns the ERROR frame that came before, if any.
func (c *Conn) Drain() error {
	var last error
	for {
		switch _, err := c.Next(); err.(type) {
		case nil:
		case Error:
			last = err
		default:
			if err == io.EOF {
				return last
			}
			return err
		}
	}
}

// Abort closes the connection with a reset: unread data of both sides is thrown away, as when the client's host dies.
func (c *Conn) Abort() {
	if tcp, ok := c.conn.(interface{ SetLinger(seconds int) error }); ok {
		tcp.SetLinger(0)
	}
	c.conn.Close()
}

// SetDeadline bounds all reads and writes from now on.
func (c *Conn) SetDeadline(at time.Time) { c.conn.SetDeadline(at) }

// Close closes the connection without DISCONNECT.
func (c *Conn) Close() error { return c.conn.Close() }
