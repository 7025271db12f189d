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
	in  *stomp.Reader
	out []byte // frames that are to be written
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
	Login    string
	Passcode string
	Dialect  Dialect
}

// dial connects and waits for CONNECTED. The connection ends with ctx.
func (s *Server) dial(ctx context.Context, headers ...string) (*conn, error) {
	dialing, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	socket, err := (&net.Dialer{}).DialContext(dialing, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	limits := stomp.AfterConnect()
	limits.BodyBytes = maxBodyBytes
	c := &conn{Conn: socket, in: stomp.NewReader(socket, stomp.V12, limits).AcceptServerFrames()}
	headers = append([]string{"accept-version", "1.2", "host", s.Dialect.Host, "heart-beat", "0,0"}, headers...)
	if s.Login != "" {
		headers = append(headers, "login", s.Login, "passcode", s.Passcode)
	}
	context.AfterFunc(ctx, func() { _ = socket.Close() })
	_ = socket.SetDeadline(time.Now().Add(connectPatience))
	f, err := c.call("CONNECT", headers...)
	if err == nil && f.Command != stomp.CmdConnected {
		err = fmt.Errorf("the broker answered CONNECT with %s", f.Command)
	}
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("connect to %s: %w", s.Addr, err)
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
		err = errors.New("the broker has closed the connection")
	case err == nil && f.Command == stomp.CmdError:
		message, _ := f.Header("message")
		err = fmt.Errorf("the broker says ERROR: %s", message)
	}
	return f, err
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

// send writes a SEND whose head, up to its last fixed header, is ready. A receipt below 0 is none.
func (c *conn) send(head []byte, receipt int64, body []byte) {
	c.out = append(c.out, head...)
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
