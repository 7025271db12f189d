package selector

import (
	"bytes"
	"strings"
)

// A kind is what a value is; the kind of an expression is what its values are if they are not null.
type kind uint8

const (
	kindNull kind = iota // of an expression: only the message tells
	kindBoolean
	kindNumber
	kindText
)

// String is how an error calls it.
func (k kind) String() string {
	return [...]string{"a header", "a condition", "a number", "a string"}[k]
}

// A truth is a value of three-valued logic.
type truth uint8

const (
	unknown truth = iota
	no
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) not() truth {
	return [...]truth{unknown: unknown, no: yes, yes: no}[t]
}

// negatedIf is for operators that a NOT may stand before.
func (t truth) negatedIf(not bool) truth {
	if not {
		return t.not()
	}
	return t
}

func both(a, b truth) truth {
	switch {
	case a == no || b == no:
		return no
	case a == yes && b == yes:
		return yes
	}
	return unknown
}

func either(a, b truth) truth {
	return both(a.not(), b.not()).not()
}

// A value is what an expression yields for a message.
type value struct {
	kind   kind
	yes    bool   // of kindBoolean
	number number // of kindNumber
	text   []byte // of kindText
}

func (t truth) value() value {
	if t == unknown {
		return value{}
	}
	return value{kind: kindBoolean, yes: t == yes}
}

func numberValue(n number) value { return value{kind: kindNumber, number: n} }

func textValue(text []byte) value { return value{kind: kindText, text: text} }

// truth reads the value as a condition. A text that is neither true nor false is unknown.
func (v value) truth() truth {
	if yes, ok := v.asBoolean(); ok {
		return truthOf(yes)
	}
	return unknown
}

func (v value) asBoolean() (_, ok bool) {
	switch {
	case v.kind == kindBoolean:
		return v.yes, true
	case v.kind != kindText:
		return false, false
	}
	isTrue := bytes.EqualFold(v.text, []byte("true"))
	return isTrue, isTrue || bytes.EqualFold(v.text, []byte("false"))
}

func (v value) asNumber() (_ number, ok bool) {
	switch v.kind {
	case kindNumber:
		return v.number, true
	case kindText:
		return readNumber(v.text)
	}
	return number{}, false
}

// An expression is a node of the tree. It never changes after Parse.
type expression interface {
	eval(Fields) value
	kind() kind
	binds() int                   // how tightly: one of the levels below
	appendText(dst []byte) []byte // in the canonical spelling, such that it is parsed as the same expression
}

// How tightly operators bind their operands, as the grammar has them.
const (
	bindsOr = iota
	bindsAnd
	bindsNot
	bindsComparison
	bindsSum
	bindsProduct
	bindsSign
	bindsPrimary
)

// appendOperand writes an operand where the grammar asks for one that binds at least so tightly.
func appendOperand(dst []byte, e expression, least int) []byte {
	if e.binds() >= least {
		return e.appendText(dst)
	}
	dst = append(dst, '(')
	dst = e.appendText(dst)
	return append(dst, ')')
}

// quoted writes text between two marks, with those within doubled.
func quoted(text string, mark byte) string {
	m := string(mark)
	return m + strings.ReplaceAll(text, m, m+m) + m
}
