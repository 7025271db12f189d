package stomp

// Limits bounds what one frame may bring. A value at the limit is read, one more is a [ProtocolError]. A command line
// holds at most 16 bytes always.
type Limits struct {
	HeaderLineBytes int // one header line, without its line end
	Headers         int // header lines, repeated ones included
	HeaderBytes     int // all header lines, with their line ends
	BodyBytes       int // the body, without the NUL that ends it
}

const (
	maxCommandBytes = 16

	// maxPaddingBytes is how many line ends may stand before the NUL of a frame that has no body, as some clients
	// write them.
	maxPaddingBytes = 256
)

// BeforeConnect returns the limits for a client that nobody knows yet: 8 KiB of headers in all and no body.
func BeforeConnect() Limits {
	return Limits{HeaderLineBytes: 8 << 10, Headers: 128, HeaderBytes: 8 << 10, BodyBytes: 0}
}

// AfterConnect returns the default limits for a client that has connected: 128 headers of 8 KiB, 64 KiB in all, and a
// body of 16 MiB.
func AfterConnect() Limits {
	return Limits{HeaderLineBytes: 8 << 10, Headers: 128, HeaderBytes: 64 << 10, BodyBytes: 16 << 20}
}
