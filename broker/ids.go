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

// beginAckID and endAckID append the ack of a delivery to the session with this mark.
func beginAckID(dst []byte, sub uint32) []byte {
	return append(strconv.AppendUint(dst, uint64(sub), 10), '-')
}

func endAckID(dst []byte, tag uint64, mark string) []byte {
	return append(strconv.AppendUint(dst, tag, 10), mark...)
}

// parseAckID reads one of the session with this mark; it may be left out.
func parseAckID(s, mark string) (d destinations.DeliveryID, ok bool) {
	sub, rest, okSub := leadingID(s)
	if !okSub || sub > 1<<32-1 || rest == "" || rest[0] != '-' {
		return d, false
	}
	tag, rest, okTag := leadingID(rest[1:])
	d.Sub, d.Tag = uint32(sub), tag
	return d, okTag && (rest == "" || rest == mark)
}

// leadingID reads a number as parseID does, of 19 digits at the most, and what is
// behind it.
func leadingID(s string) (n uint64, rest string, ok bool) {
	i := 0
	for ; i < len(s) && i < 19 && '0' <= s[i] && s[i] <= '9'; i++ {
		n = n*10 + uint64(s[i]-'0')
	}
	return n, s[i:], i > 0 && s[0] != '0'
}

// acknowledgedID is the header in which the client of a session names a delivery,
// and what it writes there.
func acknowledgedID(d destinations.DeliveryID, s *session) (header, id string) {
	if d.ByMessage {
		return headerMessageID, string(appendMessageID(nil, s.server.name, d.ID, d.Sub))
	}
	return headerID, string(endAckID(beginAckID(nil, d.Sub), d.Tag, s.mark))
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
