package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
	"github.com/spf13/cobra"

	"baton/failover/client"
)

// maxPrefetch is how many messages are on their way to us at most. More would only be taken from other consumers.
const maxPrefetch = 100

// receive is one call of `baton receive`.
type receive struct {
	servers servers
	count   int // 0: no end
	ack     string
	json    bool
	timeout time.Duration // between messages; 0: none

	mu    sync.Mutex
	again map[string]bool // message-ids that were printed, but whose acknowledgement is lost with its connection
}

func receiveCommand() *cobra.Command {
	var r receive
	cmd := &cobra.Command{
		Use:   "receive DEST",
		Short: "Print messages, and acknowledge each when it is printed",
		Long: `Print each message that arrives at DEST, its body and a newline, until --count are printed, or until a signal. A
message is acknowledged after it was printed: what is not printed goes to another consumer or stays.`,
		Example: `  baton receive /queue/orders --count 1
  baton receive /topic/prices --json | jq .body`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, err := r.ackMode()
			if err != nil {
				return err
			}
			if r.count < 0 {
				return usagef("--count %d: want 0 or more", r.count)
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return r.run(ctx, args[0], mode, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	r.servers.addFlags(cmd)
	flags := cmd.Flags()
	flags.IntVar(&r.count, "count", 0, "end after `N` messages; 0: only at a signal")
	flags.StringVar(&r.ack, "ack", stomp.AckClientIndividual.String(),
		"client-individual, client, or auto; with auto, a message is acknowledged before it is printed")
	complete(cmd, "ack", stomp.AckClientIndividual.String(), stomp.AckClient.String(), stomp.AckAuto.String())
	flags.BoolVar(&r.json, "json", false, "print each message as one JSON object: destination, headers, body or body_base64")
	flags.DurationVar(&r.timeout, "timeout", 0, "end when no message came for so long; 0s: wait for ever")
	return cmd
}

func (r *receive) run(ctx context.Context, destination string, mode stomp.AckMode, out, stderr io.Writer) error {
	r.again = map[string]bool{}
	conn, err := r.servers.connect(ctx, client.Options{OnLostAck: r.noteLostAck}, stderr)
	if err != nil {
		return err
	}
	subscription, err := conn.Subscribe(ctx, destination, mode, stomp.SubscribeOpt.Header("prefetch-count", r.prefetch()))
	if err == nil {
		err = r.receive(ctx, conn, subscription, out)
	}
	return cmp.Or(err, disconnect(ctx, conn))
}

func (r *receive) ackMode() (stomp.AckMode, error) {
	for _, mode := range []stomp.AckMode{stomp.AckAuto, stomp.AckClient, stomp.AckClientIndividual} {
		if r.ack == mode.String() {
			return mode, nil
		}
	}
	return stomp.AckAuto, usagef("--ack %q: want client-individual, client or auto", r.ack)
}

// prefetch asks for no more messages than will be printed.
func (r *receive) prefetch() string {
	if r.count > 0 {
		return strconv.Itoa(min(r.count, maxPrefetch))
	}
	return strconv.Itoa(maxPrefetch)
}

// receive prints and acknowledges until the count is full, ctx ends, or no message comes for the timeout. Only between
// two messages does it end, so what is printed has its acknowledgement sent.
func (r *receive) receive(ctx context.Context, conn *client.Client, subscription *client.Subscription, out io.Writer) error {
	for printed := 0; r.count == 0 || printed < r.count; {
		message, err := r.next(ctx, subscription)
		if err != nil {
			return fmt.Errorf("after %d messages: %w", printed, err)
		}
		if message == nil && r.count > 0 && ctx.Err() == nil {
			return fmt.Errorf("no message for %s: %d of %d received", r.timeout, printed, r.count)
		}
		if message == nil {
			return nil
		}
		if !r.wasPrinted(message) {
			if err := r.print(out, message); err != nil {
				return err
			}
			printed++
		}
		if err := conn.Ack(context.WithoutCancel(ctx), message); err != nil && !errors.Is(err, client.ErrLostAck) {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return nil
}

// next waits for a message; nil when ctx ended or the timeout passed first.
func (r *receive) next(ctx context.Context, subscription *client.Subscription) (*client.Message, error) {
	waiting := ctx
	if r.timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	message, err := subscription.Receive(waiting)
	if err != nil && waiting.Err() != nil {
		return nil, nil
	}
	return message, err
}

// noteLostAck remembers that a message which was printed will come again.
func (r *receive) noteLostAck(message *client.Message, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again[message.Header.Get(frame.MessageId)] = true
}

// wasPrinted says whether a message has come again after it was printed.
func (r *receive) wasPrinted(message *client.Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := message.Header.Get(frame.MessageId)
	was := r.again[id]
	delete(r.again, id)
	return was
}

func (r *receive) print(out io.Writer, message *client.Message) error {
	if !r.json {
		_, err := out.Write(append(message.Body, '\n'))
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(asJSON(message))
}

// printedMessage is a message as --json prints it. A body that is not UTF-8 is in BodyBase64 instead of Body.
type printedMessage struct {
	Destination string            `json:"destination"`
	Headers     map[string]string `json:"headers"`
	Body        *string           `json:"body,omitempty"`
	BodyBase64  []byte            `json:"body_base64,omitempty"`
}

func asJSON(message *client.Message) printedMessage {
	printed := printedMessage{Destination: message.Destination, Headers: headersOf(message.Header)}
	if utf8.Valid(message.Body) {
		body := string(message.Body)
		printed.Body = &body
	} else {
		printed.BodyBase64 = message.Body
	}
	return printed
}

// headersOf keeps the first of repeated headers (STOMP 1.2, "Repeated Header Entries").
func headersOf(header *frame.Header) map[string]string {
	headers := map[string]string{}
	for i := range header.Len() {
		name, value := header.GetAt(i)
		if _, repeated := headers[name]; !repeated {
			headers[name] = value
		}
	}
	return headers
}
