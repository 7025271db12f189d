package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"baton/broker/stomp"
	"baton/destinations"
)

// A clientError ends a session with an ERROR frame. All that clients are told
// of errors is made in this file.
type clientError struct {
	code    string            // stable, for programs
	text    string            // for people: what is wrong and where
	receipt string            // of the frame that was refused
	refused bool              // receipt is set
	headers map[string]string // further ones
	command string            // of the frame that was refused
}

func (e *clientError) Error() string { return e.text }

// Codes of errors beside those of package destinations.
const (
	codeProtocol       = "protocol-error"
	codeConnectFirst   = "not-connected"
	codeConnected      = "already-connected"
	codeVersion        = "unsupported-version"
	codeHeader         = "bad-header"
	codeTransaction    = "no-such-transaction"
	codeTransactionNew = "transaction-exists"
	codeTxLimit        = "transaction-limit"
	codeTxIdle         = "transaction-timeout"
	codeUnsupported    = "unsupported"
	codeDiskFull       = "disk-full"
	codeTimeout        = "timeout"
	codeHeartBeat      = "heart-beat-timeout"
	codeConnections    = "too-many-connections"
	codeTempLimit      = "too-many-temporary-destinations"
	codeShutdown       = "shutdown"
	codeFailover       = "failover"
	codeCopies         = "not-replicated"
	codeInternal       = "internal-error"
)

func refuse(code, format string, args ...any) *clientError {
	return &clientError{code: code, text: fmt.Sprintf(format, args...)}
}

// excerpt is as much of what a client wrote as fits into an error.
func excerpt(text string) string {
	if len(text) > 64 {
		text = text[:64] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

var (
	errShutdown        = &clientError{code: codeShutdown, text: "the broker is shutting down"}
	errInternal        = &clientError{code: codeInternal, text: "the broker met an error of its own; the connection is closed"}
	errTooManyConns    = &clientError{code: codeConnections, text: "the broker has as many connections as it may have: see stomp.max_connections"}
	errTooManyConnsIP  = &clientError{code: codeConnections, text: "your address has as many connections as it may have: see stomp.max_connections_per_ip"}
	errConnectTimeout  = &clientError{code: codeTimeout, text: "no complete CONNECT frame came in time"}
	errFrameTimeout    = &clientError{code: codeTimeout, text: "a frame was begun and not completed in time"}
	errIdleTimeout     = &clientError{code: codeTimeout, text: "nothing came for too long and no heart-beats were agreed"}
	errHeartBeatMissed = &clientError{code: codeHeartBeat, text: "no heart-beat came in time"}
	errTxIdle          = &clientError{code: codeTxIdle, text: "a transaction was left open and unused for too long"}
)

// movedError is what clients are told when another broker goes on: where to find it, if
// that is known.
func (s *Server) movedError() *clientError {
	e := refuse(codeFailover, "another broker of the pair takes over: connect again")
	for _, h := range s.connectedHeaders() {
		if h.Name == headerBrokers {
			e.headers = map[string]string{h.Name: h.Value}
		}
	}
	return e
}

// whyRefused says why c was refused. It names the receipt of c, so that the client
// knows what was refused (STOMP 1.2, "ERROR"), and what c acknowledges as it is
// called in the session of c.
func whyRefused(err error, c *destinations.Command, s *session) error {
	e := *asClientError(err)
	var machine *destinations.Error
	if errors.As(err, &machine) && machine.Code == destinations.CodeUnknownAck {
		e.text = unknownID(acknowledgedID(c.Delivery, s)).text
	}
	if c.WantReceipt && !e.refused {
		e.receipt, e.refused = c.Receipt, true
	}
	return &e
}

// asClientError says what a client is told of err: nothing about the inside
// of the broker.
func asClientError(err error) *clientError {
	var client *clientError
	var machine *destinations.Error
	var protocol *stomp.ProtocolError
	switch {
	case errors.As(err, &client):
		return client
	case errors.As(err, &machine):
		return &clientError{code: machine.Code, text: machine.Text}
	case errors.As(err, &protocol):
		return &clientError{code: codeProtocol, text: protocol.Reason, receipt: protocol.Receipt, refused: protocol.Receipt != ""}
	default:
		return errInternal
	}
}

// appendError appends the ERROR frame of err to dst.
func appendError(dst []byte, v stomp.Version, err error) []byte {
	e := asClientError(err)
	body := e.text + "\n"
	if e.command != "" {
		body = e.command + ": " + body
	}
	dst = append(dst, "ERROR\n"...)
	dst = stomp.AppendHeader(dst, v, headerMessage, e.text)
	dst = stomp.AppendHeader(dst, v, headerCode, e.code)
	if e.refused {
		dst = stomp.AppendHeader(dst, v, headerReceiptID, e.receipt)
	}
	for _, name := range slices.Sorted(maps.Keys(e.headers)) {
		dst = stomp.AppendHeader(dst, v, name, e.headers[name])
	}
	dst = append(dst, headerContentType+":text/plain\n"+headerContentLength+":"...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\n\n"...)
	dst = append(dst, body...)
	return append(dst, 0)
}
