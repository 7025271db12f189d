package stomp

import "bytes"

// AppendHeader appends the line name:value to dst, escaped as version v asks, and LF. What v has no way to write is left
// out octet by octet: NUL always, CR and LF in 1.0; a name is the program's own and holds no colon in 1.0. It appends at
// most 2*(len(name)+len(value))+2 bytes (STOMP 1.2, "Value Encoding").
func AppendHeader[T ~string | ~[]byte](dst []byte, v Version, name string, value T) []byte {
	dst = appendEscaped(dst, v, name)
	dst = append(dst, ':')
	dst = appendEscaped(dst, v, value)
	return append(dst, '\n')
}

// AppendRawHeader appends a header line of CONNECT or CONNECTED, which no version escapes. NUL, CR and LF are left out.
func AppendRawHeader[T ~string | ~[]byte](dst []byte, name string, value T) []byte {
	return AppendHeader(dst, verbatim, name, value)
}

func appendEscaped[T ~string | ~[]byte](dst []byte, v Version, text T) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if !special(c) {
			dst = append(dst, c)
			continue
		}
		dst, _ = appendSpecial(dst, v, c)
	}
	return dst
}

// special reports whether some version cannot write the octet c as it is.
func special(c byte) bool {
	return c == '\\' || c == ':' || c == '\n' || c == '\r' || c == 0
}

// appendSpecial appends the special octet c as version v writes it within a value; ok is false, and nothing is
// appended, where v cannot.
func appendSpecial(dst []byte, v Version, c byte) (_ []byte, ok bool) {
	if c == 0 {
		return dst, false // a NUL ends the frame for a reader that does not look where it stands
	}
	if !v.escapes() {
		if c == '\n' || c == '\r' {
			return dst, false
		}
		return append(dst, c), true
	}
	switch c {
	case '\\':
		return append(dst, '\\', '\\'), true
	case '\n':
		return append(dst, '\\', 'n'), true
	case ':':
		return append(dst, '\\', 'c'), true
	case '\r':
		if v == V11 {
			return append(dst, '\r'), true // 1.1 has no escape for it, and it is not part of a line end there
		}
		return append(dst, '\\', 'r'), true
	}
	return append(dst, c), true
}

// AppendUnescaped appends text to dst with its escapes resolved as version v defines them; ok is false if one is
// undefined, and what was appended is then worthless. The result is never longer than text.
func AppendUnescaped(dst, text []byte, v Version) (_ []byte, ok bool) {
	if !v.escapes() {
		return append(dst, text...), true
	}
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...), true
		}
		c, ok := unescape(text[i:], v)
		if !ok {
			return dst, false
		}
		dst = append(append(dst, text[:i]...), c)
		text = text[i+2:]
	}
}

// unescape returns the octet that the escape at the start of text stands for.
func unescape(text []byte, v Version) (c byte, ok bool) {
	if len(text) < 2 {
		return 0, false
	}
	switch text[1] {
	case '\\':
		return '\\', true
	case 'n':
		return '\n', true
	case 'c':
		return ':', true
	case 'r':
		return '\r', v == V12
	}
	return 0, false
}

// undefinedEscape returns the part of text that begins with its first undefined escape.
func undefinedEscape(text []byte, v Version) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if _, ok := unescape(text[i:], v); !ok {
			return text[i:]
		}
		i++
	}
	return nil
}

// blank reports whether version 1.0 readers cut c from the ends of names and values. CR is one because people type 1.0
// into programs that end their lines with CR LF, and because a value that ends with CR reads differently from client to
// client.
func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func trimBlanks(text []byte) []byte { return bytes.Trim(text, " \t\r") }

// blankEdge reports whether text begins or ends with an octet that some reader of version 1.0 cuts: we cut blanks, others
// every control character too.
func blankEdge(text []byte) bool {
	return len(text) > 0 && (text[0] <= ' ' || text[len(text)-1] <= ' ')
}
