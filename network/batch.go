package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"baton/destinations"
)

// pathHeader lists the brokers that a message was at before this one.
const pathHeader = "x-broker-path:"

const (
	flagPersistent = 1 << iota
	flagReturned
)

// appendMessage appends one message of a batch, as it leaves member: its length,
// flags, failed deliveries and what destinations.AppendForward makes of it. One
// that comes back to a broker where it was is no duplicate there.
func appendMessage(dst []byte, member, to string, d *destinations.Delivery) []byte {
	m := withPath(d.Message, member)
	if m.Props != nil && m.Props.DedupID != "" && slices.Contains(pathOf(d.Message), to) {
		props := *m.Props
		props.DedupID = ""
		m.Props = &props
	}
	var flags uint64
	if m.Persistent {
		flags |= flagPersistent
	}
	if d.Redelivered || d.Deliveries > 1 {
		flags |= flagReturned
	}
	var own []byte
	own = binary.AppendUvarint(own, flags)
	own = binary.AppendUvarint(own, uint64(d.Deliveries-1))
	own = destinations.AppendForward(own, m)
	dst = binary.AppendUvarint(dst, uint64(len(own)))
	return append(dst, own...)
}

// withPath is m with member at the end of its path.
func withPath(m *destinations.Message, member string) *destinations.Message {
	head, rest := m.Content[:m.HeaderBytes], m.Content[m.HeaderBytes:]
	content := make([]byte, 0, len(m.Content)+len(pathHeader)+len(member)+1)
	at := pathLine(head)
	if at < 0 {
		content = append(append(append(append(content, head...), pathHeader...), member...), '\n')
	} else {
		end := at + bytes.IndexByte(head[at:], '\n')
		content = append(append(append(append(content, head[:end]...), ','), member...), head[end:]...)
	}
	own := destinations.Message{HeaderBytes: int32(len(content)), Form: m.Form, Persistent: m.Persistent, Props: m.Props}
	own.Content = append(content, rest...)
	return &own
}

// pathLine is where the path is in the header lines; -1: there is none.
func pathLine(head []byte) int {
	if bytes.HasPrefix(head, []byte(pathHeader)) {
		return 0
	}
	if at := bytes.Index(head, []byte("\n"+pathHeader)); at >= 0 {
		return at + 1
	}
	return -1
}

// pathOf are the brokers that m was at.
func pathOf(m *destinations.Message) []string {
	head := m.Content[:m.HeaderBytes]
	at := pathLine(head)
	if at < 0 {
		return nil
	}
	line, _, _ := bytes.Cut(head[at+len(pathHeader):], []byte{'\n'})
	return strings.Split(string(line), ",")
}

var errBatch = errors.New("the batch is cut short")

// readBatch reads the messages of a batch for d. They share memory with b.
func readBatch(d destinations.Destination, b []byte) ([]destinations.Outgoing, error) {
	var all []destinations.Outgoing
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errBatch
		}
		own := b[n : n+int(size)]
		b = b[n+int(size):]
		flags, n := binary.Uvarint(own)
		if n <= 0 {
			return nil, errBatch
		}
		own = own[n:]
		attempts, n := binary.Uvarint(own)
		if n <= 0 {
			return nil, errBatch
		}
		m, err := destinations.ReadForward(own[n:])
		if err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", len(all), err)
		}
		m.Persistent = flags&flagPersistent != 0
		all = append(all, destinations.Outgoing{
			Destination: d, Message: m, Forwarded: true, Returned: flags&flagReturned != 0, Attempts: int(attempts),
		})
	}
	return all, nil
}
