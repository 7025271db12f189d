package bridge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/go-stomp/stomp/v3/frame"
)

const (
	headerPersistent  = "persistent"
	headerRedelivered = "redelivered"
	headerReplyTo     = "reply-to"
	headerDedup       = "deduplication-id"
	headerArtemis     = "_AMQ_DUPL_ID" // what Artemis knows a message by
	headerAgain       = "x-bridge-redelivered"

	maxIDBytes = 512 // of a deduplication-id at Baton
)

// dedupNames are the headers by which Baton knows a message.
var dedupNames = []string{headerDedup, headerArtemis, "x-deduplication-id"}

// uncopied are the headers that speak of the delivery or of the SEND, and not of the message. RabbitMQ gives those of the SEND to the
// consumer, so that a receipt or a transaction of the producer must not become the bridge's.
var uncopied = map[string]bool{
	frame.MessageId: true, frame.Subscription: true, frame.Ack: true, frame.Destination: true, frame.ContentLength: true,
	frame.Receipt: true, frame.ReceiptId: true, frame.Transaction: true, frame.Id: true, headerRedelivered: true, headerPersistent: true,
	headerAgain: true, "delivery-count": true, "JMSXDeliveryCount": true, "JMSXUserID": true, "JMSXGroupFirstForConsumer": true,
	"create": true, "min-copies": true, "x-header-dropped": true, "browser": true, "auto-delete": true, "durable": true, "exclusive": true,
	// What was to be late is late: it has come.
	"AMQ_SCHEDULED_DELAY": true, "AMQ_SCHEDULED_TIME": true, "AMQ_SCHEDULED_PERIOD": true, "AMQ_SCHEDULED_REPEAT": true,
	"AMQ_SCHEDULED_CRON": true, "AMQ_SCHEDULER_ACTION": true, "scheduledJobId": true, "x-delay": true,
}

// A translator makes the SEND of a MESSAGE.
type translator struct {
	o       *Options
	source  string // what the source calls itself
	target  string
	renamed map[string]string
}

func newTranslator(o *Options, source, target string) *translator {
	t := &translator{o: o, source: source, target: target, renamed: map[string]string{}}
	for _, r := range o.Headers {
		t.renamed[r.From] = r.To
	}
	return t
}

// name is what the message is called at its source for ever, empty when that is not known.
func (t *translator) name(m *frame.Frame) string {
	header := t.o.IDHeader
	if header == "" {
		if header = frame.MessageId; strings.HasPrefix(t.source, "RabbitMQ") {
			return ""
		}
	}
	id := m.Header.Get(header)
	if from := m.Header.Get(frame.Destination); id != "" && from != t.o.Source.Destination {
		id += "@" + from // a wildcard: copies in several queues have one id
	}
	return id
}

// send is the SEND of a message, with a receipt; again says that it may have been sent before.
func (t *translator) send(m *frame.Frame, name, receipt string, again bool) *frame.Frame {
	f := frame.New(frame.SEND, frame.Destination, t.o.Target.Destination, frame.Receipt, receipt)
	f.Body = m.Body
	t.copyHeaders(f, m)
	f.Header.Add(headerPersistent, strconv.FormatBool(t.persistent(m)))
	t.identify(f, name)
	if again {
		f.Header.Add(headerAgain, "true")
	}
	if t.hasLength(m) {
		f.Header.Add(frame.ContentLength, strconv.Itoa(len(m.Body)))
	}
	return f
}

// copyHeaders copies what belongs to the message. Of a header that is there twice the first counts (STOMP 1.2, "Repeated Header
// Entries").
func (t *translator) copyHeaders(to, from *frame.Frame) {
	for i := range from.Header.Len() {
		name, value := from.Header.GetAt(i)
		if renamed, ok := t.renamed[name]; ok {
			name = renamed
		} else if uncopied[name] || strings.HasPrefix(name, "x-broker-") || name == headerReplyTo && temporary(value) {
			continue
		}
		if _, there := to.Header.Contains(name); name != "" && !there {
			to.Header.Add(name, value)
		}
	}
}

// temporary says that a destination belongs to a connection of the source, where nobody of the target reaches it.
func temporary(destination string) bool {
	for _, prefix := range []string{"/temp-queue/", "/temp-topic/", "/remote-temp-queue/", "/remote-temp-topic/", "/reply-queue/"} {
		if strings.HasPrefix(destination, prefix) {
			return true
		}
	}
	return false
}

// persistent says what the message was at its source. ActiveMQ, Artemis and RabbitMQ say so when it was; with Baton, and somebody
// unknown, a message is unless it says that it is not.
func (t *translator) persistent(m *frame.Frame) bool {
	value, ok := m.Header.Contains(headerPersistent)
	if ok {
		return value == "true" || value == "1"
	}
	return !strings.HasPrefix(t.source, "ActiveMQ") && !strings.HasPrefix(t.source, "RabbitMQ")
}

// identify gives the SEND the id by which the target knows it again, unless the producer has.
func (t *translator) identify(f *frame.Frame, name string) {
	id := ""
	for _, header := range dedupNames {
		if id == "" {
			id = f.Header.Get(header)
		}
	}
	if id == "" && name != "" {
		if id = t.o.Name + "/" + name; len(id) > maxIDBytes {
			sum := sha256.Sum256([]byte(id))
			id = hex.EncodeToString(sum[:])
		}
		f.Header.Add(headerDedup, id)
	}
	if _, there := f.Header.Contains(headerArtemis); id != "" && !there && strings.HasPrefix(t.target, "ActiveMQ-Artemis") {
		f.Header.Add(headerArtemis, id)
	}
}

// hasLength says whether the SEND tells the length of its body. For ActiveMQ and Artemis that makes it a BytesMessage, and a
// TextMessage without: what came without stays so, and what says that it is text becomes one.
func (t *translator) hasLength(m *frame.Frame) bool {
	if _, had := m.Header.Contains(frame.ContentLength); !had {
		return false
	}
	text := strings.HasPrefix(m.Header.Get(frame.ContentType), "text/")
	return !(strings.HasPrefix(t.target, "ActiveMQ") && text && !bytes.ContainsRune(m.Body, 0))
}
