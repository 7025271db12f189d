package stomp

// Version is a version of the protocol. The numbers are stored on disk within a [Form]: they never change.
type Version uint8

// The versions, in their order. Version 1.0 is what a client speaks that names none.
const (
	V10 Version = 0
	V11 Version = 1
	V12 Version = 2

	// verbatim is how CONNECT and CONNECTED are written whatever the version, since none is agreed on yet: no
	// escapes, either line end (STOMP 1.2, "Value Encoding").
	verbatim Version = 3
)

// String returns the version as the accept-version header names it: "1.0", "1.1" or "1.2".
func (v Version) String() string {
	switch v {
	case V10:
		return "1.0"
	case V11:
		return "1.1"
	case V12:
		return "1.2"
	}
	return "unknown"
}

// escapes reports whether header names and values are escaped.
func (v Version) escapes() bool { return v == V11 || v == V12 }

// cutsCR reports whether a CR before the LF of a header line belongs to the line end and not to the value.
func (v Version) cutsCR() bool { return v == V12 || v == verbatim }

// trims reports whether blanks around header names and values are cut. Version 1.0 does not say so, but its examples
// are written with them.
func (v Version) trims() bool { return v == V10 }
