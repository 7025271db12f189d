package destinations

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Destination is where messages are sent and taken from. The zero value is
// no destination.
type Destination struct {
	Topic bool   // a topic; otherwise a queue
	Name  string // without its prefix: "orders.eu"
}

const (
	queuePrefix = "/queue/"
	topicPrefix = "/topic/"

	// maxDepth bounds the dot-separated parts of a name, so that the cost of
	// matching a name against patterns is bounded too.
	maxDepth = 16
)

// Queue names the queue called name.
func Queue(name string) Destination { return Destination{Name: name} }

// Topic names the topic called name.
func Topic(name string) Destination { return Destination{Topic: true, Name: name} }

// String is the destination as clients write it: "/queue/orders.eu"; the address
// of a temporary one.
func (d Destination) String() string { return string(d.AppendTo(nil)) }

// AppendTo appends what String returns to dst.
func (d Destination) AppendTo(dst []byte) []byte {
	if id, durable := durableID(d); durable {
		return id.appendTo(dst)
	}
	if d.Temporary() {
		return d.appendAddress(dst)
	}
	if topic, ok := strings.CutPrefix(d.Name, schedulePrefix); ok {
		return append(append(dst, "/schedule/"...), topic...)
	}
	if topic, ok := strings.CutPrefix(d.Name, archivePrefix); ok {
		return append(append(dst, "/kept/"...), topic...)
	}
	if d.Topic {
		dst = append(dst, topicPrefix...)
	} else {
		dst = append(dst, queuePrefix...)
	}
	return append(dst, d.Name...)
}

// Names says which names destinations may have.
type Names struct {
	MaxBytes           int      // of a name
	DeadLetterPrefixes []string // of dead-letter queues; they do not count, so that every name can have one
}

// Parse reads "/queue/NAME" or "/topic/NAME". A name has 1 to MaxBytes octets
// of UTF-8 without control characters and at most 16 parts, with dots between
// them; a part may be empty, and counts as any other. The characters
// * > # , and names that begin with $ are refused: they are kept for wildcards,
// composite destinations and the broker's own, see ReportsPrefix.
func (n Names) Parse(s string) (Destination, error) {
	d, limited, err := n.cut(s)
	if err == nil {
		err = n.check(limited)
	}
	switch {
	case err != nil:
		return d, err
	case own(limited):
		return d, destinationError("destination names that begin with $ are the broker's own: %s", quote(limited))
	}
	if i := strings.IndexAny(limited, wildcards); i >= 0 {
		return d, destinationError("the destination name %s holds the wildcard %q: only a SUBSCRIBE can name many destinations by wildcards", quote(limited), limited[i])
	}
	return d, nil
}

// cut reads a destination, and returns the part of its name that is limited.
func (n Names) cut(s string) (d Destination, limited string, err error) {
	switch {
	case strings.HasPrefix(s, queuePrefix):
		d = Queue(s[len(queuePrefix):])
		for _, prefix := range n.DeadLetterPrefixes {
			if rest, dead := strings.CutPrefix(d.Name, prefix); dead && rest != "" {
				return d, rest, nil
			}
		}
	case strings.HasPrefix(s, topicPrefix):
		d = Topic(s[len(topicPrefix):])
	case s == "":
		return d, "", destinationError("the destination is empty")
	case namesTemporary(s):
		return d, "", destinationError("%s is temporary: it stands alone, in SEND, SUBSCRIBE and reply-to", quote(s))
	default:
		return d, "", destinationError("unknown destination %s: it must begin with /queue/ or /topic/", quote(s))
	}
	return d, d.Name, nil
}

func (n Names) check(name string) error {
	switch {
	case name == "":
		return destinationError("the destination has no name after its prefix")
	case len(name) > n.MaxBytes:
		return destinationError("the destination name has %d octets; at most %d are allowed", len(name), n.MaxBytes)
	case !utf8.ValidString(name):
		return destinationError("the destination name %s is not valid UTF-8", quote(name))
	case strings.Count(name, ".") >= maxDepth:
		return destinationError("the destination name has more than %d parts", maxDepth)
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c < ' ' || c == 0x7f:
			return destinationError("the destination name %s holds a control character", quote(name))
		case c == ',':
			return destinationError("the destination name %s holds a comma: that stands between several destinations, and here is place for one", quote(name))
		}
	}
	return nil
}

func destinationError(format string, args ...any) error {
	return &Error{Code: CodeBadDestination, Text: fmt.Sprintf(format, args...)}
}

// quote bounds what of a client's input is echoed to it and to logs.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%.64q...", s)
	}
	return fmt.Sprintf("%q", s)
}
