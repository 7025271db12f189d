package selector

import (
	"bytes"
	"slices"
)

// An operator compares.
type operator uint8

const (
	equal operator = iota
	unequal
	less
	lessOrEqual
	greater
	greaterOrEqual
)

var operators = []string{"=", "<>", "<", "<=", ">", ">="}

// operatorOf returns the operator that a token is; ok is false if it is none.
func operatorOf(t token) (op operator, ok bool) {
	i := slices.Index(operators, t.text)
	return operator(i), i >= 0 && t.form == tokenMark
}

// orders reports whether only numbers can be compared so (JMS 1.1, §3.8.1.2).
func (op operator) orders() bool { return op >= less }

// holds tells it of the order of two values, as cmp.Compare gives that.
func (op operator) holds(order int) bool {
	switch op {
	case equal:
		return order == 0
	case unequal:
		return order != 0
	case less:
		return order < 0
	case lessOrEqual:
		return order <= 0
	case greater:
		return order > 0
	}
	return order >= 0
}

// compare is unknown if a value is null, and false if the two are of unlike kinds, whatever the operator (JMS 1.1,
// §3.8.1.2). Two texts are compared as texts for equality, otherwise as numbers. The parser refuses to order booleans.
func compare(a value, op operator, b value) truth {
	if a.kind == kindNull || b.kind == kindNull {
		return unknown
	}
	if a.kind == kindText && b.kind == kindText && !op.orders() {
		return truthOf(bytes.Equal(a.text, b.text) == (op == equal))
	}
	if a.kind == kindBoolean || b.kind == kindBoolean {
		left, leftOK := a.asBoolean()
		right, rightOK := b.asBoolean()
		return truthOf(leftOK && rightOK && (left == right) == (op == equal))
	}
	left, leftOK := a.asNumber()
	right, rightOK := b.asNumber()
	return truthOf(leftOK && rightOK && op.holds(compareNumbers(left, right)))
}

// A comparison compares two values.
type comparison struct {
	left  expression
	op    operator
	right expression
}

func (c *comparison) eval(message Fields) value {
	return compare(c.left.eval(message), c.op, c.right.eval(message)).value()
}

func (c *comparison) kind() kind { return kindBoolean }
func (c *comparison) binds() int { return bindsComparison }

func (c *comparison) appendText(dst []byte) []byte {
	dst = appendOperand(dst, c.left, bindsSum)
	dst = append(dst, ' ')
	dst = append(dst, operators[c.op]...)
	dst = append(dst, ' ')
	return appendOperand(dst, c.right, bindsSum)
}

// An isNull is IS NULL or IS NOT NULL. It is never unknown.
type isNull struct {
	of  expression
	not bool
}

func (n *isNull) eval(message Fields) value {
	return truthOf((n.of.eval(message).kind == kindNull) != n.not).value()
}

func (n *isNull) kind() kind { return kindBoolean }
func (n *isNull) binds() int { return bindsComparison }

func (n *isNull) appendText(dst []byte) []byte {
	dst = appendOperand(dst, n.of, bindsSum)
	if n.not {
		return append(dst, " IS NOT NULL"...)
	}
	return append(dst, " IS NULL"...)
}

// appendNot writes a word that NOT may stand before, between blanks.
func appendNot(dst []byte, not bool, word string) []byte {
	if not {
		dst = append(dst, " NOT"...)
	}
	dst = append(dst, ' ')
	dst = append(dst, word...)
	return append(dst, ' ')
}

// A between is BETWEEN: of >= low AND of <= high; or NOT BETWEEN: of < low OR of > high.
type between struct {
	of        expression
	not       bool
	low, high expression
}

func (b *between) eval(message Fields) value {
	of, low, high := b.of.eval(message), b.low.eval(message), b.high.eval(message)
	if b.not {
		return either(compare(of, less, low), compare(of, greater, high)).value()
	}
	return both(compare(of, greaterOrEqual, low), compare(of, lessOrEqual, high)).value()
}

func (b *between) kind() kind { return kindBoolean }
func (b *between) binds() int { return bindsComparison }

func (b *between) appendText(dst []byte) []byte {
	dst = appendOperand(dst, b.of, bindsSum)
	dst = appendNot(dst, b.not, "BETWEEN")
	dst = appendOperand(dst, b.low, bindsSum)
	dst = append(dst, " AND "...)
	return appendOperand(dst, b.high, bindsSum)
}

// An in is IN or NOT IN: the members joined by =, one of which has to hold. They are looked up, not compared one by one.
type in struct {
	of       expression
	not      bool
	members  []literal
	texts    map[string]struct{}
	numbers  map[number]struct{} // keys of the members that are numbers
	readable map[number]struct{} // and of the texts that can be read as one
}

func newIn(of expression, not bool, members []literal) *in {
	n := &in{of, not, members, map[string]struct{}{}, map[number]struct{}{}, map[number]struct{}{}}
	for _, member := range members {
		if member.is.kind == kindNumber {
			n.numbers[member.is.number.key()] = struct{}{}
		} else {
			n.texts[string(member.is.text)] = struct{}{}
		}
		if number, ok := member.is.asNumber(); ok {
			n.readable[number.key()] = struct{}{}
		}
	}
	return n
}

func (n *in) eval(message Fields) value {
	of := n.of.eval(message)
	if of.kind == kindNull {
		return value{}
	}
	return truthOf(n.has(of)).negatedIf(n.not).value()
}

func (n *in) has(v value) bool {
	if v.kind == kindNumber {
		_, found := n.readable[v.number.key()]
		return found
	}
	if _, found := n.texts[string(v.text)]; found || len(n.numbers) == 0 {
		return found
	}
	number, ok := readNumber(v.text)
	_, found := n.numbers[number.key()]
	return ok && found
}

func (n *in) kind() kind { return kindBoolean }
func (n *in) binds() int { return bindsComparison }

func (n *in) appendText(dst []byte) []byte {
	dst = appendOperand(dst, n.of, bindsSum)
	dst = appendNot(dst, n.not, "IN")
	dst = append(dst, '(')
	for i, member := range n.members {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = member.appendText(dst)
	}
	return append(dst, ')')
}

// A like is LIKE or NOT LIKE, of what is a text or null.
type like struct {
	of     expression
	not    bool
	match  *pattern
	text   string // of the pattern, as given
	escape string // "" for none
}

func (l *like) eval(message Fields) value {
	of := l.of.eval(message)
	if of.kind == kindNull {
		return value{}
	}
	return truthOf(l.match.matches(of.text)).negatedIf(l.not).value()
}

func (l *like) kind() kind { return kindBoolean }
func (l *like) binds() int { return bindsComparison }

func (l *like) appendText(dst []byte) []byte {
	dst = appendOperand(dst, l.of, bindsSum)
	dst = appendNot(dst, l.not, "LIKE")
	dst = append(dst, quoted(l.text, '\'')...)
	if l.escape != "" {
		dst = append(dst, " ESCAPE "...)
		dst = append(dst, quoted(l.escape, '\'')...)
	}
	return dst
}
