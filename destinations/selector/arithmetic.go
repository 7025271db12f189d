package selector

// An arithmetic is an operation on two numbers.
type arithmetic struct {
	op          byte // one of + - * / %
	left, right expression
}

func (a *arithmetic) eval(message Fields) value {
	left, ok := a.left.eval(message).asNumber()
	if !ok {
		return value{}
	}
	right, ok := a.right.eval(message).asNumber()
	if !ok {
		return value{}
	}
	result, ok := compute(a.op, left, right)
	if !ok {
		return value{}
	}
	return numberValue(result)
}

func (a *arithmetic) kind() kind { return kindNumber }

func (a *arithmetic) binds() int {
	if a.op == '+' || a.op == '-' {
		return bindsSum
	}
	return bindsProduct
}

func (a *arithmetic) appendText(dst []byte) []byte {
	dst = appendOperand(dst, a.left, a.binds())
	dst = append(dst, ' ', a.op, ' ')
	return appendOperand(dst, a.right, a.binds()+1)
}

// A signed is a plus or minus before what is no literal.
type signed struct {
	minus bool
	of    expression
}

// newSigned counts a sign into the literal that it stands before.
func newSigned(minus bool, of expression) expression {
	l, ok := of.(literal)
	switch {
	case !ok:
		return signed{minus, of}
	case minus:
		return literal{numberValue(negated(l.is.number))}
	}
	return l
}

func (s signed) eval(message Fields) value {
	n, ok := s.of.eval(message).asNumber()
	switch {
	case !ok:
		return value{}
	case s.minus:
		return numberValue(negated(n))
	}
	return numberValue(n)
}

func (s signed) kind() kind { return kindNumber }
func (s signed) binds() int { return bindsSign }

func (s signed) appendText(dst []byte) []byte {
	if s.minus {
		return appendOperand(append(dst, '-'), s.of, bindsSign)
	}
	return appendOperand(append(dst, '+'), s.of, bindsSign)
}
