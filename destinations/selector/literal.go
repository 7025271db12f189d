package selector

// A literal is a constant.
type literal struct{ is value }

func (l literal) eval(Fields) value { return l.is }
func (l literal) kind() kind        { return l.is.kind }
func (l literal) binds() int        { return bindsPrimary } // with its sign: see newSigned

func (l literal) appendText(dst []byte) []byte {
	switch {
	case l.is.kind == kindNumber:
		return appendNumber(dst, l.is.number)
	case l.is.kind == kindText:
		return append(dst, quoted(string(l.is.text), '\'')...)
	case l.is.yes:
		return append(dst, "TRUE"...)
	}
	return append(dst, "FALSE"...)
}
