package selector

// A logic is a chain of conditions joined by AND, or by OR.
type logic struct {
	or    bool
	parts []expression // at least two
}

func (l *logic) eval(message Fields) value {
	decides := truthOf(l.or) // whatever the others are
	result := decides.not()
	for _, part := range l.parts {
		switch part.eval(message).truth() {
		case decides:
			return decides.value()
		case unknown:
			result = unknown
		}
	}
	return result.value()
}

func (l *logic) kind() kind { return kindBoolean }

func (l *logic) binds() int {
	if l.or {
		return bindsOr
	}
	return bindsAnd
}

func (l *logic) appendText(dst []byte) []byte {
	for i, part := range l.parts {
		switch {
		case i > 0 && l.or:
			dst = append(dst, " OR "...)
		case i > 0:
			dst = append(dst, " AND "...)
		}
		dst = appendOperand(dst, part, l.binds()+1)
	}
	return dst
}

// A negation is NOT.
type negation struct{ of expression }

func (n negation) eval(message Fields) value { return n.of.eval(message).truth().not().value() }
func (n negation) kind() kind                { return kindBoolean }
func (n negation) binds() int                { return bindsNot }

func (n negation) appendText(dst []byte) []byte {
	return appendOperand(append(dst, "NOT "...), n.of, bindsNot)
}
