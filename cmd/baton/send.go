package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
	"github.com/spf13/cobra"

	"baton/failover/client"
)

// maxMessageBytes bounds what is read as one message before the broker's own limit is known.
const maxMessageBytes = 1 << 30

// send is one call of `baton send`.
type send struct {
	servers     servers
	destination string
	headers     []string // NAME:VALUE
	file        string
}

func sendCommand() *cobra.Command {
	var s send
	cmd := &cobra.Command{
		Use:   "send DEST [BODY]",
		Short: "Send messages, and wait for the receipt of each",
		Long: `Send BODY, the content of a file, or each line of standard input as a message to DEST, and wait for the receipt of
each: when the command has succeeded, the broker has every message safe.`,
		Example: `  baton send /queue/orders '{"id":1}' -H content-type:application/json
  printf 'hello' | baton send /queue/a`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.destination = args[0]
			options, err := s.options()
			if err != nil {
				return err
			}
			messages, err := s.messages(args[1:], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return s.run(cmd.Context(), messages, options, cmd.ErrOrStderr())
		},
	}
	s.servers.addFlags(cmd)
	cmd.Flags().StringArrayVarP(&s.headers, "header", "H", nil, "header as `NAME:VALUE`; may be repeated")
	cmd.Flags().StringVar(&s.file, "file", "", "send the content of `FILE` as one message; - is standard input")
	return cmd
}

// run sends until the messages are used up. A signal kills it as it kills any program: what has no receipt yet is
// unknown then, as always.
func (s *send) run(ctx context.Context, messages iter.Seq2[[]byte, error], options []func(*frame.Frame) error, stderr io.Writer) error {
	conn, err := s.servers.connect(ctx, client.Options{}, stderr)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	p := newProgress(stderr)
	defer p.done()
	sent := 0
	for body, err := range messages {
		if err == nil {
			err = conn.Send(ctx, s.destination, "", body, options...)
		}
		if err != nil {
			return fmt.Errorf("message %d: %w (%d sent before it are safe)", sent+1, err, sent)
		}
		sent++
		p.show("%d messages sent", sent)
	}
	return disconnect(ctx, conn)
}

// ownHeaders are those that the command itself has to set for its promise to hold.
var ownHeaders = []string{frame.Destination, frame.ContentLength, frame.Receipt, frame.Transaction}

func (s *send) options() ([]func(*frame.Frame) error, error) {
	var options []func(*frame.Frame) error
	for _, header := range s.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok || name == "" {
			return nil, usagef("-H %q: want NAME:VALUE", header)
		}
		if slices.Contains(ownHeaders, name) {
			return nil, usagef("-H %q: baton send sets %s itself", header, name)
		}
		options = append(options, stomp.SendOpt.Header(name, value))
	}
	return options, nil
}

// messages yields the bodies to send: the argument, the file, or the lines of standard input.
func (s *send) messages(body []string, stdin io.Reader) (iter.Seq2[[]byte, error], error) {
	switch {
	case len(body) == 1 && s.file != "":
		return nil, usagef("give BODY or --file, not both")
	case len(body) == 1:
		return one([]byte(body[0])), nil
	case s.file == "":
		return lines(stdin, maxMessageBytes), nil
	}
	content, err := s.content(stdin)
	return one(content), err
}

func (s *send) content(stdin io.Reader) ([]byte, error) {
	if s.file != "-" {
		file, err := os.Open(s.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		stdin = file
	}
	content, err := io.ReadAll(io.LimitReader(stdin, maxMessageBytes+1))
	if len(content) > maxMessageBytes {
		err = fmt.Errorf("%s: more than %d bytes", s.file, maxMessageBytes)
	}
	return content, err
}

func one(body []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yield(body, nil) }
}

// lines yields each line of in without its newline, whatever else is in it; the last may lack the newline. A body is
// valid until the next is asked for.
func lines(in io.Reader, maxBytes int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, maxBytes)
		scanner.Split(splitLine)
		for scanner.Scan() {
			if !yield(scanner.Bytes(), nil) {
				return
			}
		}
		err := scanner.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("a line is longer than %d bytes", maxBytes)
		}
		if err != nil {
			yield(nil, fmt.Errorf("standard input: %w", err))
		}
	}
}

// splitLine is bufio.ScanLines without its habit of taking a carriage return away: a body is sent as it is.
func splitLine(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
