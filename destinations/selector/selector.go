package selector

// Limits of a selector. One at the limit is accepted.
const (
	MaxLength = 8 << 10 // octets of the text, as given and as String writes it
	MaxDepth  = 64      // parentheses, NOTs and signs within one another
	MaxNodes  = 1000    // literals, identifiers, operators and the % of patterns; the members of an IN are not counted
)

// Fields is what a selector reads of a message.
type Fields interface {
	// Field returns the decoded value of the first header of that name; ok is false if there is none. The value must
	// stay as it is until Matches returns.
	//
	// The JMS names are asked for by the headers that carry them, and are of the kind given here:
	//
	//	JMSPriority        priority          number, 4 if there is none
	//	JMSTimestamp       timestamp         number, ms since 1970
	//	JMSExpiration      expires           number, ms since 1970; 0 if there is none
	//	JMSXDeliveryCount  JMSXDeliveryCount number, 1 if there is none
	//	JMSXGroupSeq       JMSXGroupSeq      number
	//	JMSRedelivered     redelivered       boolean, false if there is none
	//	JMSDeliveryMode    persistent        'NON_PERSISTENT' if that is "false", otherwise 'PERSISTENT'
	//	JMSMessageID       message-id        text
	//	JMSCorrelationID   correlation-id    text
	//	JMSType            type              text
	//	JMSReplyTo         reply-to          text
	//	JMSDestination     destination       text
	//
	// Every other identifier is the name of a header; JMSXGroupID and JMSXUserID are headers too.
	Field(name string) (value []byte, ok bool)
}

// A Selector is a parsed condition. It never changes, so that any number of goroutines may use it. A nil Selector
// matches every message.
type Selector struct {
	condition expression // nil: every message
	text      string
}

// Parse reads a selector. The error is an *[Error].
func Parse(text string) (*Selector, error) {
	if len(text) > MaxLength {
		return nil, tooLong(len(text))
	}
	condition, err := parse(text)
	if err != nil {
		return nil, err
	}
	s := &Selector{condition: condition}
	if condition != nil {
		s.text = string(condition.appendText(nil))
	}
	if len(s.text) > MaxLength {
		return nil, tooLong(len(s.text)) // or else String could not be parsed again
	}
	return s, nil
}

// String returns the selector in its one canonical spelling, without prefixes. Two selectors with the same String match
// the same messages.
func (s *Selector) String() string {
	if s == nil {
		return ""
	}
	return s.text
}

// Matches reports whether the condition is true for a message. It allocates nothing, unless Field does or a header has a
// number beyond float64.
func (s *Selector) Matches(message Fields) bool {
	return s == nil || s.condition == nil || s.condition.eval(message).truth() == yes
}
