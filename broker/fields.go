package broker

import (
	"bytes"
	"strconv"

	"baton/broker/stomp"
	"baton/destinations"
	"baton/destinations/selector"
)

// fields are the headers of a message, as selectors read them: in place, but for
// values with escapes.
type fields destinations.Message

// fieldsOf gives a message to a selector, without allocation.
func fieldsOf(m *destinations.Message) selector.Fields { return (*fields)(m) }

// Field returns the value of the first header of this name.
func (f *fields) Field(name string) ([]byte, bool) {
	if name == headerExpires { // which the broker writes, see reserved
		if f.Props == nil || f.Props.Expires == 0 {
			return nil, false
		}
		return strconv.AppendInt(nil, f.Props.Expires, 10), true
	}
	block, form := f.Content[:f.HeaderBytes], stomp.Form(f.Form)
	for len(block) > 0 {
		var line []byte
		line, block, _ = bytes.Cut(block, []byte{'\n'})
		if v, ok := stomp.LineValue(line, form, name); ok {
			return v, true
		}
	}
	return nil, false
}
