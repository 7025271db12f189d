package selector

import "strings"

// A field is a header, or a JMS name for one.
type field struct {
	name string // as the selector has it
	jmsField
}

// A jmsField says how a JMS name is read.
type jmsField struct {
	header string
	is     kind               // kindNull: a text, that is converted where another kind is needed
	read   func([]byte) value // the value of the header
	none   value              // without it
}

var jmsFields = map[string]jmsField{
	"JMSPriority":       {"priority", kindNumber, readAsNumber, numberValue(integer(4))},
	"JMSTimestamp":      {"timestamp", kindNumber, readAsNumber, value{}},
	"JMSExpiration":     {"expires", kindNumber, readAsNumber, numberValue(integer(0))},
	"JMSXDeliveryCount": {"JMSXDeliveryCount", kindNumber, readAsNumber, numberValue(integer(1))},
	"JMSXGroupSeq":      {"JMSXGroupSeq", kindNumber, readAsNumber, value{}},
	"JMSRedelivered":    {"redelivered", kindBoolean, readAsBoolean, no.value()},
	"JMSDeliveryMode":   {"persistent", kindText, readAsDeliveryMode, textValue(persistent)},
	"JMSMessageID":      {"message-id", kindNull, textValue, value{}},
	"JMSCorrelationID":  {"correlation-id", kindNull, textValue, value{}},
	"JMSType":           {"type", kindNull, textValue, value{}},
	"JMSReplyTo":        {"reply-to", kindNull, textValue, value{}},
	"JMSDestination":    {"destination", kindNull, textValue, value{}},
}

var (
	persistent    = []byte("PERSISTENT")
	nonPersistent = []byte("NON_PERSISTENT")
)

func readAsNumber(text []byte) value {
	n, ok := readNumber(text)
	if !ok {
		return value{}
	}
	return numberValue(n)
}

func readAsBoolean(text []byte) value { return textValue(text).truth().value() }

func readAsDeliveryMode(text []byte) value {
	if textValue(text).truth() == no {
		return textValue(nonPersistent)
	}
	return textValue(persistent)
}

func newField(name string) field {
	jms, ok := jmsFields[name]
	if !ok {
		jms = jmsField{header: name, read: textValue}
	}
	return field{name, jms}
}

func (f field) eval(message Fields) value {
	text, ok := message.Field(f.header)
	if !ok {
		return f.none
	}
	return f.read(text)
}

func (f field) kind() kind                   { return f.is }
func (f field) binds() int                   { return bindsPrimary }
func (f field) appendText(dst []byte) []byte { return append(dst, spelled(f.name)...) }

// spelled quotes a name that is not plain.
func spelled(name string) string {
	plain := keyword(name) == "" && strings.IndexFunc(name, isLetter) == 0 &&
		strings.IndexFunc(name, func(r rune) bool { return !isLetterOrDigit(r) }) < 0
	if plain {
		return name
	}
	return quoted(name, '"')
}
