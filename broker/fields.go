package broker

import (
	"bytes"

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
