package selector

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A token is a word of the language.
type token struct {
	form tokenForm
	text string // a keyword in capitals; a string or identifier without its quotes
	at   int    // offset in octets
}

type tokenForm uint8

const (
	tokenEnd tokenForm = iota
	tokenMark
	tokenKeyword
	tokenIdentifier
	tokenText
	tokenNumber
)

// String is how an error calls the token.
func (t token) String() string {
	switch t.form {
	case tokenEnd:
		return "the end"
	case tokenText:
		return "the string " + shortened(quoted(t.text, '\''))
	case tokenIdentifier:
		return "the identifier " + shortened(spelled(t.text))
	}
	return shortened(t.text)
}

// shortened keeps an error short whatever a client has sent.
func shortened(text string) string {
	const most = 32
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most]) + "…"
}

var (
	keywords = []string{"AND", "BETWEEN", "ESCAPE", "FALSE", "IN", "IS", "LIKE", "NOT", "NULL", "OR", "TRUE"}
	marks    = []string{"<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","} // longest first
)

// keyword returns the keyword that word spells, or "".
func keyword(word string) string {
	i := slices.IndexFunc(keywords, func(k string) bool { return strings.EqualFold(k, word) })
	if i < 0 {
		return ""
	}
	return keywords[i]
}

// A lexer cuts a text into tokens. After an error it gives only the end.
type lexer struct {
	text       string
	at         int  // offset of what is not yet read
	hyphenated bool // every "-" after an identifier belongs to it
	err        *Error
}

func (l *lexer) fail(at int, reason string) {
	if l.err == nil {
		l.err = errorAt(l.text, at, reason)
	}
	l.at = len(l.text)
}

// rest is what is not yet read.
func (l *lexer) rest() string { return l.text[l.at:] }

// take reads as many characters as belong, and returns them.
func (l *lexer) take(belongs func(rune) bool) string {
	rest := l.rest()
	n := strings.IndexFunc(rest, func(r rune) bool { return !belongs(r) })
	if n < 0 {
		n = len(rest)
	}
	l.at += n
	return rest[:n]
}

func (l *lexer) skipBlanks() {
	l.take(func(r rune) bool { return strings.ContainsRune(" \t\n\r\f", r) })
}

// prefixes reads what ActiveMQ's users put before a selector.
func (l *lexer) prefixes() {
	for {
		l.skipBlanks()
		switch {
		case strings.HasPrefix(l.rest(), "convert_string_expressions:"):
			l.at += len("convert_string_expressions:")
		case strings.HasPrefix(l.rest(), "hyphenated_props:"):
			l.at += len("hyphenated_props:")
			l.hyphenated = true
		default:
			return
		}
	}
}

// next reads a token.
func (l *lexer) next() token {
	l.skipBlanks()
	rest := l.rest()
	if rest == "" {
		return token{at: len(l.text)}
	}
	first, _ := utf8.DecodeRuneInString(rest)
	switch {
	case first == '\'':
		return l.quote('\'', tokenText, "the string")
	case first == '"':
		return l.quote('"', tokenIdentifier, "the quoted identifier")
	case isDigit(first), first == '.' && len(rest) > 1 && isDigit(rune(rest[1])):
		return l.number()
	case isLetter(first):
		return l.word()
	}
	return l.mark(first)
}

func (l *lexer) mark(first rune) token {
	at := l.at
	i := slices.IndexFunc(marks, func(m string) bool { return strings.HasPrefix(l.rest(), m) })
	if i < 0 {
		l.fail(at, "nothing begins with "+shortened(string(first)))
		return token{at: at}
	}
	l.at += len(marks[i])
	return token{tokenMark, marks[i], at}
}

// quote reads what stands between two marks; a doubled mark within stands for one.
func (l *lexer) quote(mark byte, form tokenForm, what string) token {
	at := l.at
	l.at++
	var text strings.Builder
	for {
		n := strings.IndexByte(l.rest(), mark)
		if n < 0 {
			l.fail(at, what+" that begins here does not end")
			return token{at: at}
		}
		text.WriteString(l.rest()[:n])
		l.at += n + 1
		if !strings.HasPrefix(l.rest(), string(mark)) {
			break
		}
		text.WriteByte(mark)
		l.at++
	}
	if form == tokenIdentifier && text.Len() == 0 {
		l.fail(at, "a quoted identifier is empty")
	}
	return token{form, text.String(), at}
}

// word reads a keyword or an identifier.
func (l *lexer) word() token {
	at := l.at
	l.take(isLetterOrDigit)
	for l.hyphen() {
		l.at++
		l.take(isLetterOrDigit)
	}
	word := l.text[at:l.at]
	if k := keyword(word); k != "" {
		return token{tokenKeyword, k, at}
	}
	return token{tokenIdentifier, word, at}
}

// hyphen reports whether what comes next is a "-" that belongs to the identifier before it.
func (l *lexer) hyphen() bool {
	after, found := strings.CutPrefix(l.rest(), "-")
	r, _ := utf8.DecodeRuneInString(after)
	return found && (l.hyphenated || after != "" && isLetter(r))
}

// number reads a number as it is spelled; what it is worth is the parser's question.
func (l *lexer) number() token {
	at := l.at
	if rest := strings.ToLower(l.rest()[:min(2, len(l.rest()))]); rest == "0x" {
		l.at += 2
		l.take(isHexDigit)
	} else {
		l.decimal()
	}
	if rest := l.rest(); rest != "" && strings.ContainsRune("lLdDfF", rune(rest[0])) {
		l.at++
	}
	if tail := l.take(isLetterOrDigit); tail != "" {
		l.fail(at, "the number "+shortened(l.text[at:l.at])+" is followed by "+shortened(tail))
		return token{at: at}
	}
	return token{tokenNumber, l.text[at:l.at], at}
}

func (l *lexer) decimal() {
	l.take(isDigit)
	if strings.HasPrefix(l.rest(), ".") {
		l.at++
		l.take(isDigit)
	}
	if rest := l.rest(); rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		l.at++
		if strings.HasPrefix(l.rest(), "+") || strings.HasPrefix(l.rest(), "-") {
			l.at++
		}
		l.take(isDigit)
	}
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

func isHexDigit(r rune) bool {
	return isDigit(r) || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F'
}

// isLetter is Java's Character.isJavaIdentifierStart.
func isLetter(r rune) bool {
	return unicode.IsLetter(r) || unicode.In(r, unicode.Nl, unicode.Sc, unicode.Pc)
}

// isLetterOrDigit is Java's Character.isJavaIdentifierPart without the control characters.
func isLetterOrDigit(r rune) bool {
	return isLetter(r) || unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc)
}
