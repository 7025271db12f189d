package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"baton/broker/stomp"
)

// A conn is a connection to a broker. One goroutine may read while another writes.
type conn struct {
	net.Conn
	addr string
	in   *stomp.Reader
	out  []byte // frames that are to be written
}

const (
	// flushBytes is how much is written at once at most, with the last frame.
	flushBytes = 64 << 10
	// connectPatience is how long a broker may take to answer a connection.
	connectPatience = 30 * time.Second
)

// Server is whom the clients connect to.
type Server struct {
	Addr     string
	Failover []string // addresses in place of Addr, of brokers that take over from one another; a run goes on when they do
	Consume  string   // address of the consumers, in place of Addr: of another broker of its network; empty: none
	Login    string
	Passcode string
	Dialect  Dialect
}

// dial connects and waits for CONNECTED. The connection ends with ctx.
func (s *Server) dial(ctx context.Context, headers ...string) (*conn, error) {
	if s.survives() {
		return s.redial(ctx, "", headers...)
	}
	return s.dialTo(ctx, s.Addr, connectPatience, headers)
}

func (s *Server) dialTo(ctx context.Context, addr string, patience time.Duration, headers []string) (*conn, error) {
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	socket, err := (&net.Dialer{}).DialContext(dialing, "tcp", addr)
	if err != nil {
		return nil, err
	}
	beat := "0,0"
	if s.survives() {
		socket, beat = &watched{Conn: socket}, "0,"+strconv.FormatInt((silence/2).Milliseconds(), 10)
	}
	limits := stomp.AfterConnect()
	limits.BodyBytes = maxBodyBytes
	c := &conn{Conn: socket, addr: addr, in: stomp.NewReader(socket, stomp.V12, limits).AcceptServerFrames()}
	headers = append([]string{"accept-version", "1.2", "host", s.Dialect.Host, "heart-beat", beat}, headers...)
	if s.Login != "" {
		headers = append(headers, "login", s.Login, "passcode", s.Passcode)
	}
	context.AfterFunc(ctx, func() { _ = socket.Close() })
	_ = socket.SetDeadline(time.Now().Add(patience))
	f, err := c.call("CONNECT", headers...)
	if err == nil && f.Command != stomp.CmdConnected {
		err = fmt.Errorf("the broker answered CONNECT with %s", f.Command)
	}
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	_ = socket.SetDeadline(time.Time{})
	return c, nil
}

// call writes a frame without a body and waits for the next frame.
func (c *conn) call(command string, headers ...string) (*stomp.Frame, error) {
	c.add(command, headers...)
	if err := c.flush(); err != nil {
		return nil, err
	}
	return c.next()
}

// confirm is call for a frame that is answered with a receipt, and by nothing else before.
func (c *conn) confirm(command string, headers ...string) error {
	f, err := c.call(command, append(headers, "receipt", goodbye)...)
	if err == nil && f.Command != stomp.CmdReceipt {
		err = fmt.Errorf("the broker answered %s with %s", command, f.Command)
	}
	return err
}

// goodbye is the receipt of what is not a SEND.
const goodbye = "bye"

// next waits for a frame. What is an ERROR frame is an error.
func (c *conn) next() (*stomp.Frame, error) {
	f, err := c.in.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errGone
	case err == nil && f.Command == stomp.CmdError:
		err = refusal(f)
	}
	return f, err
}

var (
	errGone    = errors.New("the broker has closed the connection")
	errLeaving = errors.New("the broker is going")
)

// refusal is what an ERROR frame says.
func refusal(f *stomp.Frame) error {
	message, _ := f.Header("message")
	err := fmt.Errorf("the broker says ERROR: %s", message)
	if code, _ := f.Header("code"); string(code) == "failover" || string(code) == "shutdown" {
		err = fmt.Errorf("%w: %w", errLeaving, err)
	}
	return err
}

// add writes a frame without a body to the output.
func (c *conn) add(command string, headers ...string) {
	c.out = append(append(c.out, command...), '\n')
	for i := 0; i < len(headers); i += 2 {
		c.out = stomp.AppendHeader(c.out, stomp.V12, headers[i], headers[i+1])
	}
	c.out = append(c.out, '\n', 0)
}

// ack writes an ACK.
func (c *conn) ack(id []byte) {
	c.out = append(c.out, "ACK\n"...)
	c.out = stomp.AppendHeader(c.out, stomp.V12, "id", id)
	c.out = append(c.out, '\n', 0)
}

// begin writes the head of a SEND, up to its last fixed header; more may follow, and send ends it.
func (c *conn) begin(head []byte) { c.out = append(c.out, head...) }

// send writes the rest of a SEND. A receipt below 0 is none.
func (c *conn) send(receipt int64, body []byte) {
	if receipt >= 0 {
		c.out = append(c.out, "receipt:"...)
		c.out = strconv.AppendInt(c.out, receipt, 10)
		c.out = append(c.out, '\n')
	}
	c.out = append(c.out, '\n')
	c.out = append(c.out, body...)
	c.out = append(c.out, 0)
}

func (c *conn) full() bool { return len(c.out) >= flushBytes }

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}
