package broker

import (
	"strconv"
	"strings"

	"baton/destinations"
)

// Ids are made of letters, digits, ".", "_" and "-" only: some clients of
// STOMP 1.0 and 1.1 stumble over colons.
//
//	message-id  NAME-SEQ         a stored message
//	            NAME-SEQ.N       one that is not stored
//	            NAME-SEQ.N.SUB   the copy of a topic's subscription; N is 0 if it waited on disk
//	ack         SUB-TAG-EPOCH.SESSION: a client that connects again may say late what it was
//	            given on its last connection, and that must not be taken for something else

// MessageID is the message-id of a stored message as its consumers see it. name
// is that of the broker.
func MessageID(name string, seq uint64) string {
	return string(appendMessageID(nil, name, destinations.MessageID{Seq: seq}, 0))
}

// appendMessageID appends the message-id of a delivery. That of a topic's copy
// names its subscription, so that a 1.0 client with two subscriptions can say
// which copy it acknowledges.
func appendMessageID(dst []byte, name string, id destinations.MessageID, copyFor uint32) []byte {
	dst = append(dst, name...)
	dst = append(dst, '-')
	dst = strconv.AppendUint(dst, id.Seq, 10)
	if id.N > 0 || copyFor > 0 {
		dst = append(dst, '.')
		dst = strconv.AppendUint(dst, id.N, 10)
	}
	if copyFor > 0 {
		dst = append(dst, '.')
		dst = strconv.AppendUint(dst, uint64(copyFor), 10)
	}
	return dst
}

func parseMessageID(name, s string) (destinations.DeliveryID, bool) {
	d := destinations.DeliveryID{ByMessage: true}
	rest, ok := strings.CutPrefix(s, name+"-")
	if !ok {
		return d, false
	}
	seq, rest, some := strings.Cut(rest, ".")
	d.ID.Seq, ok = parseID(seq)
	if some && ok {
		n, sub, copied := strings.Cut(rest, ".")
		d.ID.N, ok = parseID(n)
		if copied && (ok || n == "0") {
			var v uint64
			v, ok = parseID(sub)
			ok = ok && v <= 1<<32-1
			d.Sub = uint32(v)
		}
	}
	return d, ok
}

// appendAckID appends the ack of a delivery to the session with this mark.
func appendAckID(dst []byte, sub uint32, tag uint64, mark string) []byte {
	dst = strconv.AppendUint(dst, uint64(sub), 10)
	dst = append(dst, '-')
	dst = strconv.AppendUint(dst, tag, 10)
	dst = append(dst, '-')
	return append(dst, mark...)
}

// parseAckID reads one of the session with this mark; it may be left out.
func parseAckID(s, mark string) (destinations.DeliveryID, bool) {
	var d destinations.DeliveryID
	sub, tag, ok := strings.Cut(s, "-")
	tag, of, marked := strings.Cut(tag, "-")
	if marked && of != mark {
		return d, false
	}
	n, okSub := parseID(sub)
	t, okTag := parseID(tag)
	d.Sub, d.Tag = uint32(n), t
	return d, ok && okSub && okTag && n <= 1<<32-1
}

// acknowledgedID is the header in which the client of a session names a delivery,
// and what it writes there.
func acknowledgedID(d destinations.DeliveryID, s *session) (header, id string) {
	if d.ByMessage {
		return headerMessageID, string(appendMessageID(nil, s.server.name, d.ID, d.Sub))
	}
	return headerID, string(appendAckID(nil, d.Sub, d.Tag, s.mark))
}

// parseID reads a positive number as it is written by us: digits, the first
// not zero.
func parseID(s string) (uint64, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}
