package selector

import (
	"fmt"
	"unicode/utf8"
)

// An Error says why a text is no selector.
type Error struct {
	Character int    // where, counted in characters from 1; 0 if it is about the whole
	Reason    string // what was expected there and what was found
}

func (e *Error) Error() string {
	if e.Character == 0 {
		return "selector: " + e.Reason
	}
	return fmt.Sprintf("selector, character %d: %s", e.Character, e.Reason)
}

func tooLong(octets int) *Error {
	return &Error{Reason: fmt.Sprintf("%d octets long, at most %d are allowed", octets, MaxLength)}
}

// errorAt is an Error at an offset in octets.
func errorAt(text string, offset int, reason string) *Error {
	return &Error{Character: utf8.RuneCountInString(text[:offset]) + 1, Reason: reason}
}
