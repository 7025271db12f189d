package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// A link is a connection that a broker has answered with CONNECTED.
type link struct {
	net.Conn
	address   string
	connected *frame.Header
	in        *reader
	beat      time.Duration // we are to be heard so often; 0: never
	silence   time.Duration // so long without a sign, and the broker is dead; 0: never
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

// open connects to an address and waits for CONNECTED. It ends with ctx, and after the URL's timeout.
func (d *dialer) open(ctx context.Context, address string) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.url.ConnectTimeout, fmt.Errorf("no CONNECTED came within %v", d.url.ConnectTimeout))
	defer cancel()
	conn, err := d.dial(ctx, address)
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	l, err := d.handshake(conn, address)
	if !cut() || err != nil {
		_ = conn.Close()
		return nil, causeOf(ctx, err)
	}
	return l, nil
}

func (d *dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{}
	if !d.url.KeepAlive {
		dialer.KeepAlive = -1
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && !d.url.NoDelay {
		_ = tcp.SetNoDelay(false)
	}
	return conn, nil
}

func (d *dialer) handshake(conn net.Conn, address string) (*link, error) {
	if _, err := conn.Write(d.connectFrame(address)); err != nil {
		return nil, err
	}
	l := &link{Conn: conn, address: address}
	l.in = newReader(l, d.options.MaxMessageBytes)
	answer, err := l.in.next()
	if err != nil {
		return nil, err
	}
	if answer.Command == frame.ERROR {
		return nil, refusal(answer)
	}
	if answer.Command != frame.CONNECTED {
		return nil, fmt.Errorf("the broker answered CONNECT with %s", answer.Command)
	}
	if version := answer.Header.Get(frame.Version); version != "1.2" {
		return nil, fmt.Errorf("the broker speaks STOMP %s, not 1.2", strconv.Quote(version))
	}
	l.connected = answer.Header
	return l, l.agree(d.options.HeartBeat)
}

// connectFrame is CONNECT, whose headers are not escaped (STOMP 1.2, "Value Encoding").
func (d *dialer) connectFrame(address string) []byte {
	o := d.options
	host, _, _ := net.SplitHostPort(address)
	if o.Host != "" {
		host = o.Host
	}
	beat := strconv.FormatInt(o.HeartBeat.Milliseconds(), 10)
	headers := []string{frame.AcceptVersion, "1.2", frame.Host, host, frame.HeartBeat, beat + "," + beat}
	if o.Login != "" || o.Passcode != "" {
		headers = append(headers, frame.Login, o.Login, frame.Passcode, string(o.Passcode))
	}
	if o.ClientID != "" {
		headers = append(headers, "client-id", o.ClientID)
	}
	var b strings.Builder
	b.WriteString("CONNECT\n")
	for i := 0; i < len(headers); i += 2 {
		b.WriteString(headers[i] + ":" + headers[i+1] + "\n")
	}
	b.WriteString("\n\x00")
	return []byte(b.String())
}

// agree settles the heart-beats (STOMP 1.2, "Heart-beating"): the less eager side counts, and none where one side wants none.
func (l *link) agree(wanted time.Duration) error {
	offered := l.connected.Get(frame.HeartBeat)
	if offered == "" {
		offered = "0,0"
	}
	sends, wants, err := frame.ParseHeartBeat(offered)
	if err != nil {
		return fmt.Errorf("heart-beat %s of CONNECTED: %w", strconv.Quote(excerpt(offered)), err)
	}
	if wanted > 0 && wants > 0 {
		l.beat = min(max(wanted, wants), maxDuration)
	}
	if wanted > 0 && sends > 0 {
		l.silence = 2 * min(max(wanted, sends), maxDuration)
	}
	return nil
}

// causeOf says why ctx has ended, if that is why something failed.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
