package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// A link is a connection that a broker has answered with CONNECTED. One goroutine reads, one writes.
type link struct {
	net.Conn
	which    string // source or target
	server   string // what it calls itself; may be empty
	in       *reader
	beat     time.Duration // we are to be heard so often; 0: never
	silence  time.Duration // so long without a sign, and the broker is dead; 0: never
	patience time.Duration // for a write
}

// open connects to a side and waits for CONNECTED, for up to Options.Timeout in all.
func (b *Bridge) open(ctx context.Context, which string, s Side) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.o.Timeout, fmt.Errorf("%s: no CONNECTED came within %v", which, b.o.Timeout))
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, causeOf(ctx, fmt.Errorf("%s: %w", which, err))
	}
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	l := &link{Conn: conn, which: which, patience: b.o.Timeout}
	l.in = newReader(l, b.o.MaxBodyBytes)
	err = l.handshake(s, b.o.HeartBeat)
	if !cut() || err != nil {
		_ = conn.Close()
		return nil, causeOf(ctx, fmt.Errorf("%s: %w", which, err))
	}
	return l, nil
}

func (s Side) dial(ctx context.Context) (net.Conn, error) {
	dial := s.Dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", s.Address) }
	}
	conn, err := dial(ctx)
	if err != nil || s.TLS == nil {
		return conn, err
	}
	secured := tls.Client(conn, s.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

func (l *link) handshake(s Side, heartBeat time.Duration) error {
	if err := l.write(s.connectFrame(heartBeat)); err != nil {
		return err
	}
	answer, err := l.in.next()
	switch {
	case err != nil:
		return err
	case answer.Command == frame.ERROR:
		return refusal(answer)
	case answer.Command != frame.CONNECTED:
		return fmt.Errorf("CONNECT was answered with %s", answer.Command)
	case answer.Header.Get(frame.Version) != "1.2":
		return fmt.Errorf("it speaks STOMP %.20q, not 1.2", answer.Header.Get(frame.Version))
	}
	l.server = answer.Header.Get(frame.Server)
	return l.agree(answer.Header.Get(frame.HeartBeat), heartBeat)
}

// connectFrame is CONNECT, whose headers are not escaped (STOMP 1.2, "Value Encoding").
func (s Side) connectFrame(heartBeat time.Duration) []byte {
	host, _, _ := net.SplitHostPort(s.Address)
	if s.Host != "" {
		host = s.Host
	}
	beat := strconv.FormatInt(heartBeat.Milliseconds(), 10)
	var b strings.Builder
	b.WriteString("CONNECT\naccept-version:1.2\nhost:" + host + "\nheart-beat:" + beat + "," + beat + "\n")
	if s.Login != "" || s.Passcode != "" {
		b.WriteString("login:" + s.Login + "\npasscode:" + s.Passcode + "\n")
	}
	b.WriteString("\n\x00")
	return []byte(b.String())
}

// agree settles the heart-beats (STOMP 1.2, "Heart-beating"): the less eager side counts, and none where one side wants none.
func (l *link) agree(offered string, wanted time.Duration) error {
	if offered == "" {
		return nil
	}
	sends, wants, err := frame.ParseHeartBeat(offered)
	if err != nil {
		return fmt.Errorf("heart-beat %.40q of CONNECTED: %w", offered, err)
	}
	if wants > 0 {
		l.beat = min(max(wanted, wants), time.Hour)
	}
	if sends > 0 {
		l.silence = 2 * min(max(wanted, sends), time.Hour)
	}
	return nil
}

// Read gives up when the broker is silent for too long.
func (l *link) Read(p []byte) (int, error) {
	if l.silence > 0 {
		if err := l.SetReadDeadline(time.Now().Add(l.silence)); err != nil {
			return 0, err
		}
	}
	n, err := l.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the broker was silent for %v", l.silence)
	}
	return n, err
}

// write gives up when the broker takes nothing for too long.
func (l *link) write(octets []byte) error {
	if err := l.SetWriteDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	_, err := l.Conn.Write(octets)
	return err
}

// ticker ticks when a heart-beat is due: twice as often as was agreed.
func (l *link) ticker() *time.Ticker {
	if l.beat > 0 {
		return time.NewTicker(l.beat / 2)
	}
	never := time.NewTicker(time.Hour)
	never.Stop()
	return never
}

// refusal is an ERROR frame as an error.
func refusal(f *frame.Frame) error {
	text := f.Header.Get(frame.Message)
	if text == "" {
		text = string(f.Body)
	}
	return fmt.Errorf("it answered ERROR: %.200q", text)
}

// causeOf says why ctx has ended, if that is why something failed.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
