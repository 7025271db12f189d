package client

import (
	"context"
	"fmt"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// A Message came on a connection, and is acknowledged on that one or not at all.
type Message struct {
	Destination  string
	ContentType  string
	Header       *frame.Header
	Body         []byte
	Generation   uint64 // of the connection, see Connected
	Subscription *Subscription
}

// Redelivered says whether the broker may have delivered it before.
func (m *Message) Redelivered() bool { return m.Header.Get("redelivered") == "true" }

// Ack acknowledges a message, of a subscription with stomp.AckClient all up to it. It returns when that is on its way; what
// becomes of it Options.OnLostAck says, if it is lost. Of a message of an earlier connection it returns ErrLostAck, too.
// Options add headers, such as stomp.SubscribeOpt.Header would. For a subscription with stomp.AckAuto it does nothing.
func (c *Client) Ack(ctx context.Context, m *Message, opts ...func(*frame.Frame) error) error {
	return c.settle(ctx, frame.ACK, m, nil, opts)
}

// Nack refuses a message; see Ack.
func (c *Client) Nack(ctx context.Context, m *Message, opts ...func(*frame.Frame) error) error {
	return c.settle(ctx, frame.NACK, m, nil, opts)
}

// AckConfirmed is Ack that waits until the broker has said that it is safe. ErrLostAck says that the message may come again.
func (c *Client) AckConfirmed(ctx context.Context, m *Message, opts ...func(*frame.Frame) error) error {
	if m.Subscription.mode == stomp.AckAuto {
		return nil
	}
	answer := make(chan error, 1)
	if err := c.settle(ctx, frame.ACK, m, answer, opts); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return inDoubt(context.Cause(ctx))
	}
}

// maxAcks bounds the acknowledgements without an answer.
const maxAcks = 4096

func (c *Client) settle(ctx context.Context, command string, m *Message, answer chan<- error, opts []func(*frame.Frame) error) error {
	if m.Subscription.mode == stomp.AckAuto {
		if command == frame.NACK {
			return stomp.ErrCannotNackAutoSub
		}
		return nil
	}
	f, err := settlement(command, m, opts)
	if err != nil {
		return err
	}
	if err := c.acquire(ctx, c.ackRoom, 1, false); err != nil {
		return err
	}
	err = c.sendAck(f, m, answer)
	if err != nil {
		c.ackRoom.Release(1)
		c.tellLostAck(m, err)
	}
	return err
}

// settlement is an ACK or NACK.
func settlement(command string, m *Message, opts []func(*frame.Frame) error) (*frame.Frame, error) {
	id, ok := m.Header.Contains(frame.Ack)
	if !ok {
		return nil, fmt.Errorf("message %s is not to be acknowledged", m.Header.Get(frame.MessageId))
	}
	f := frame.New(command, frame.Id, id)
	return f, apply(f, opts)
}

// sendAck queues an ACK or NACK, if the connection of its message is still there. The place in ackRoom is its own then.
func (c *Client) sendAck(f *frame.Frame, m *Message, answer chan<- error) error {
	r := &request{kind: kindAck, frames: []*frame.Frame{f}, generation: m.Generation}
	r.done = func(err error) {
		c.ackRoom.Release(1)
		if err != nil {
			c.tellLostAck(m, err)
		}
		if answer != nil {
			answer <- err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.push(r)
}

func (c *Client) tellLostAck(m *Message, err error) {
	if c.options.OnLostAck != nil {
		c.options.OnLostAck(m, err)
	}
}
