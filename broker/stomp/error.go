package stomp

import (
	"errors"
	"fmt"
)

// ProtocolError says what in the byte stream breaks the protocol or a limit, and where. Nothing can be read after it:
// the end of the broken frame is not known.
type ProtocolError struct {
	Reason  string // bounded and printable, holds no header value but a content-length; fit to be shown to the client
	Receipt string // value of the receipt header of the broken frame, "" if it had not been read
}

func (e *ProtocolError) Error() string { return "protocol error: " + e.Reason }

// ErrReleased is what a Reader returns after its Release.
var ErrReleased = errors.New("stomp: reader is released")

func protocolError(format string, args ...any) error {
	return &ProtocolError{Reason: fmt.Sprintf(format, args...)}
}

// quoteName renders a header name of the client for an error text: quoted, and cut to a length that does no harm.
func quoteName(name []byte) string {
	return fmt.Sprintf("%.64q", name)
}

// quoteEscape renders the undefined escape that begins text, the first byte of which is a backslash.
func quoteEscape(text []byte) string {
	switch {
	case len(text) < 2:
		return `"\" at the end`
	case text[1] > ' ' && text[1] < 0x7f:
		return `"\` + string(text[1]) + `"`
	}
	return fmt.Sprintf(`"\" before octet 0x%02x`, text[1])
}
