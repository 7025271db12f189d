package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Patience ends a test that hangs. No test measures time against it. In a bubble, where something always ticks, a day has
// passed at once, and without an end a wait in vain would go on for ever.
const (
	patience     = 30 * time.Second
	pipePatience = 24 * time.Hour
)

// A client is one connection, spoken octet by octet. What it reads, it reads
// with a parser of its own.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	tape *tape // all that came, with its times; only over pipes
}

// dial makes a connection and says nothing.
func (h *host) dial() *client {
	h.t.Helper()
	c := &client{t: h.t}
	var err error
	if h.pipes != nil {
		c.conn, err = h.pipes.dial(nil)
	} else {
		c.conn, err = net.Dial("tcp", h.tcp.Addr().String())
	}
	if err != nil {
		h.t.Fatal(err)
	}
	c.listen()
	return c
}

// listen begins to read. A pipe holds nothing: what comes is taken at once.
func (c *client) listen() {
	c.t.Cleanup(c.close)
	if _, ok := c.conn.(*net.TCPConn); ok {
		c.in = bufio.NewReader(c.conn)
		return
	}
	c.tape = newTape()
	go c.tape.record(c.conn)
	c.in = bufio.NewReader(c.tape)
}

// connect makes a connection that speaks a version, with further headers of
// CONNECT.
func (h *host) connect(version string, headers ...string) *client {
	h.t.Helper()
	c := h.dial()
	c.hello(version, headers...)
	return c
}

// hello says CONNECT and returns the CONNECTED.
func (c *client) hello(version string, headers ...string) frame {
	c.t.Helper()
	c.say("CONNECT\n" + lines("accept-version:"+version, "host:h") + lines(headers...) + "\n")
	return c.want("CONNECTED", "version:"+version)
}

func lines(headers ...string) string {
	if len(headers) == 0 {
		return ""
	}
	return strings.Join(headers, "\n") + "\n"
}

// say writes a frame: text and the NUL that ends it.
func (c *client) say(text string) {
	c.t.Helper()
	c.write(text + "\x00")
}

func (c *client) write(octets string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(pipePatience))
	if _, err := io.WriteString(c.conn, octets); err != nil {
		c.t.Fatalf("write %.80q: %v", octets, err)
	}
}

// offer writes to a server that may have closed already.
func (c *client) offer(octets string) { _, _ = io.WriteString(c.conn, octets) }

// do says a frame that asks for a receipt, and takes that receipt: the frame
// was carried out. Its text is command and headers, each on its line.
func (c *client) do(head string, body ...string) {
	c.t.Helper()
	c.say(head + "\nreceipt:do\n\n" + strings.Join(body, ""))
	c.want("RECEIPT", "receipt-id:do")
}

// send puts messages into a destination, on a connection of its own, and
// returns when they are safe.
func (h *host) send(destination string, bodies ...string) {
	h.t.Helper()
	c := h.connect("1.2")
	for _, body := range bodies {
		c.do("SEND\ndestination:"+destination, body)
	}
	c.close()
}

// subscribe returns when the subscription is made.
func (c *client) subscribe(id, destination, ack string, headers ...string) {
	c.t.Helper()
	c.do("SUBSCRIBE\nid:" + id + "\ndestination:" + destination + "\nack:" + ack + strings.Join(append([]string{""}, headers...), "\n"))
}

// read returns the next frame.
func (c *client) read() frame {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("no frame came: %v", err)
	}
	return f
}

func (c *client) next() (frame, error) {
	if c.tape == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		return parse(c.in)
	}
	defer time.AfterFunc(pipePatience, func() {
		c.t.Errorf("nothing came for %v", pipePatience)
		c.tape.end(errPatience)
	}).Stop()
	return parse(c.in)
}

var errPatience = errors.New("the test has waited long enough")

// want reads the next frame, which must be of this command and have these
// header lines, as they stand on the wire.
func (c *client) want(command string, headers ...string) frame {
	c.t.Helper()
	f := c.read()
	if f.command != command {
		c.t.Fatalf("got %s, want %s", f, command)
	}
	for _, h := range headers {
		if !slices.Contains(f.headers, h) {
			c.t.Fatalf("no header %q in %s", h, f)
		}
	}
	return f
}

// message reads the next frame, which must be a MESSAGE with this body.
func (c *client) message(body string, headers ...string) frame {
	c.t.Helper()
	f := c.want("MESSAGE", headers...)
	if f.body != body {
		c.t.Fatalf("got body %.200q, want %.200q", f.body, body)
	}
	return f
}

// refused reads an ERROR with this code, and the end of the connection.
func (c *client) refused(code string) frame {
	c.t.Helper()
	f := c.want("ERROR", "code:"+code)
	c.end()
	return f
}

// end reads the end of the connection: nothing but line ends before it, and no
// reset.
func (c *client) end() {
	c.t.Helper()
	if f, err := c.next(); err != io.EOF {
		c.t.Fatalf("got %v and %v, want the end of the connection", f, err)
	}
}

// nothing holds that no frame is on its way: a receipt asked for now is the
// next to come. What others did must be confirmed before.
func (c *client) nothing() {
	c.t.Helper()
	c.do("BEGIN\ntransaction:nothing")
	c.do("ABORT\ntransaction:nothing")
}

// still holds, in a bubble, that no frame comes however long one waits.
func (c *client) still() {
	c.t.Helper()
	synctest.Wait()
	if rest := strings.Trim(c.tape.unread()+c.buffered(), "\n"); rest != "" {
		c.t.Fatalf("got %.300q, want nothing", rest)
	}
}

func (c *client) buffered() string {
	b, _ := c.in.Peek(c.in.Buffered())
	return string(b)
}

func (c *client) close() { _ = c.conn.Close() }

// ack answers a MESSAGE with ACK or NACK as its version does.
func (c *client) ack(command, version string, m frame, headers ...string) {
	c.t.Helper()
	c.do(ackHead(command, version, m) + strings.Join(append([]string{""}, headers...), "\n"))
}

// ackHead is the command line and the headers that name the message.
func ackHead(command, version string, m frame) string {
	switch version {
	case "1.0":
		return command + "\nmessage-id:" + m.header("message-id")
	case "1.1":
		return command + "\nmessage-id:" + m.header("message-id") + "\nsubscription:" + m.header("subscription")
	}
	return command + "\nid:" + m.header("ack")
}

// A frame is one that the server sent. Its headers are lines as they came.
type frame struct {
	command string
	headers []string
	body    string
}

func (f frame) String() string {
	return fmt.Sprintf("%s %q %.300q", f.command, f.headers, f.body)
}

// header returns the value of a header as it came; empty if there is none.
func (f frame) header(name string) string {
	v, _ := f.lookup(name)
	return v
}

func (f frame) lookup(name string) (string, bool) {
	for _, h := range f.headers {
		if v, ok := strings.CutPrefix(h, name+":"); ok {
			return v, true
		}
	}
	return "", false
}

// names returns the names of the headers in their order.
func (f frame) names() []string {
	var all []string
	for _, h := range f.headers {
		name, _, _ := strings.Cut(h, ":")
		all = append(all, name)
	}
	return all
}

// parse reads a frame, and line ends before it. io.EOF is the end between
// frames.
func parse(in *bufio.Reader) (frame, error) {
	var f frame
	for f.command == "" {
		line, err := in.ReadString('\n')
		if err != nil {
			if err == io.EOF && line != "" {
				return f, fmt.Errorf("the connection ended in %.80q", line)
			}
			return f, err
		}
		f.command = strings.TrimSuffix(line, "\n")
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return f, fmt.Errorf("the connection ended in the head of %s: %v", f, err)
		}
		if line == "\n" {
			break
		}
		f.headers = append(f.headers, strings.TrimSuffix(line, "\n"))
	}
	body, err := parseBody(in, f)
	if err != nil {
		return f, fmt.Errorf("the connection ended in the body of %s: %v", f, err)
	}
	f.body = body
	return f, nil
}

func parseBody(in *bufio.Reader, f frame) (string, error) {
	length, ok := f.lookup("content-length")
	if !ok {
		body, err := in.ReadString(0)
		return strings.TrimSuffix(body, "\x00"), err
	}
	n, err := strconv.Atoi(length)
	if err != nil {
		return "", err
	}
	body := make([]byte, n+1)
	if _, err := io.ReadFull(in, body); err != nil {
		return "", err
	}
	if body[n] != 0 {
		return "", fmt.Errorf("octet %#x instead of NUL", body[n])
	}
	return string(body[:n]), nil
}

// A tape takes all that comes on a connection, with the times.
type tape struct {
	mu       sync.Mutex
	changed  sync.Cond
	rest     []byte
	arrivals []time.Time
	err      error
}

func newTape() *tape {
	t := &tape{}
	t.changed.L = &t.mu
	return t
}

func (t *tape) record(conn net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		t.mu.Lock()
		t.rest = append(t.rest, buf[:n]...)
		if n > 0 {
			t.arrivals = append(t.arrivals, time.Now())
		}
		t.mu.Unlock()
		t.changed.Broadcast()
		if err != nil {
			t.end(err)
			return
		}
	}
}

// end says that nothing more comes, and why.
func (t *tape) end(err error) {
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
	t.changed.Broadcast()
}

// Read waits for what is recorded.
func (t *tape) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.rest) == 0 && t.err == nil {
		t.changed.Wait()
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	if n == 0 {
		return 0, t.err
	}
	return n, nil
}

func (t *tape) unread() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.rest)
}

// times returns when something arrived.
func (t *tape) times() []time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.arrivals)
}
