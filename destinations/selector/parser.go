package selector

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A parser reads the grammar of the package from left to right, one function a rule. After an error it finds only the
// end, so that the rules need not look for errors.
type parser struct {
	lexer
	token token // the next one
	depth int
	nodes int
}

// parse returns the condition of a text, or nil if it has none.
func parse(text string) (expression, error) {
	if i := invalid(text); i >= 0 {
		return nil, errorAt(text, i, "not UTF-8")
	}
	p := &parser{lexer: lexer{text: text}}
	p.prefixes()
	p.advance()
	if p.err == nil && p.token.form == tokenEnd {
		return nil, nil
	}
	condition := p.condition(p.or)
	if p.token.form != tokenEnd {
		p.expected("an operator or the end")
	}
	if p.err != nil {
		return nil, p.err
	}
	return condition, nil
}

// invalid returns the offset of the first octet that is not UTF-8, or -1.
func invalid(text string) int {
	for i, r := range text {
		if _, n := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && n == 1 {
			return i
		}
	}
	return -1
}

func (p *parser) advance() { p.token = p.next() }

func (p *parser) fail(at int, reason string) {
	p.lexer.fail(at, reason)
	p.token = token{at: len(p.text)}
}

func (p *parser) expected(what string) {
	p.fail(p.token.at, fmt.Sprintf("expected %s, found %s", what, p.token))
}

// is reports whether the next token is this keyword or mark.
func (p *parser) is(word string) bool {
	return (p.token.form == tokenKeyword || p.token.form == tokenMark) && p.token.text == word
}

// accept reads this keyword or mark if it comes next.
func (p *parser) accept(word string) bool {
	if !p.is(word) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) require(word string) {
	if !p.accept(word) {
		p.expected(word)
	}
}

// node counts a node of the tree.
func (p *parser) node(e expression) expression {
	p.nodes++
	if p.nodes > MaxNodes {
		p.fail(p.token.at, fmt.Sprintf("more than %d literals, identifiers, operators and %%", MaxNodes))
	}
	return e
}

// nested reads what lies within a parenthesis, a NOT or a sign.
func (p *parser) nested(rule func() expression) expression {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		p.fail(p.token.at, fmt.Sprintf("more than %d parentheses, NOTs and signs within one another", MaxDepth))
		return literal{}
	}
	return rule()
}

// condition reads what has to be true or false.
func (p *parser) condition(rule func() expression) expression {
	return p.kind(rule, "a condition", kindBoolean)
}

// number reads what has to be a number.
func (p *parser) number(rule func() expression) expression {
	return p.kind(rule, "a number", kindNumber)
}

// kind reads what has to be of one of these kinds. A header can be of every kind.
func (p *parser) kind(rule func() expression, what string, allowed ...kind) expression {
	at := p.token.at
	e := rule()
	p.check(at, e, what, allowed...)
	return e
}

func (p *parser) check(at int, e expression, what string, allowed ...kind) {
	if k := e.kind(); k != kindNull && !slices.Contains(allowed, k) {
		p.fail(at, fmt.Sprintf("expected %s, found %s", what, k))
	}
}

func (p *parser) or() expression  { return p.chain("OR", p.and) }
func (p *parser) and() expression { return p.chain("AND", p.not) }

func (p *parser) chain(word string, rule func() expression) expression {
	at := p.token.at
	first := rule()
	if !p.is(word) {
		return first
	}
	p.check(at, first, "a condition", kindBoolean)
	parts := []expression{first}
	for p.accept(word) {
		parts = append(parts, p.node(p.condition(rule)))
	}
	return &logic{word == "OR", parts}
}

func (p *parser) not() expression {
	if !p.accept("NOT") {
		return p.comparison()
	}
	return p.node(negation{p.condition(func() expression { return p.nested(p.not) })})
}

func (p *parser) comparison() expression {
	at := p.token.at
	left := p.sum()
	if op, ok := operatorOf(p.token); ok {
		return p.compared(at, left, op)
	}
	if p.accept("IS") {
		not := p.accept("NOT")
		p.require("NULL")
		return p.node(&isNull{left, not})
	}
	not := p.accept("NOT")
	switch {
	case p.accept("BETWEEN"):
		p.check(at, left, "a number", kindNumber)
		low := p.number(p.sum)
		p.require("AND")
		return p.node(&between{left, not, low, p.number(p.sum)})
	case p.accept("IN"):
		p.check(at, left, "a header", kindNumber, kindText)
		return p.node(newIn(left, not, p.members()))
	case p.accept("LIKE"):
		p.check(at, left, "a string", kindText)
		return p.node(p.like(left, not))
	case not:
		p.expected("BETWEEN, IN or LIKE")
	}
	return left
}

func (p *parser) compared(at int, left expression, op operator) expression {
	p.advance()
	if op.orders() {
		p.check(at, left, "a number", kindNumber)
		return p.node(&comparison{left, op, p.number(p.sum)})
	}
	if p.is("NULL") {
		p.expected("a value (a header is compared with NULL by IS NULL)")
	}
	unlike := map[kind]kind{kindNumber: kindBoolean, kindBoolean: kindNumber}[left.kind()]
	at = p.token.at
	right := p.sum()
	if right.kind() != kindNull && right.kind() == unlike {
		p.fail(at, fmt.Sprintf("expected %s, found %s", left.kind(), unlike))
	}
	return p.node(&comparison{left, op, right})
}

func (p *parser) members() []literal {
	var members []literal
	p.require("(")
	for {
		members = append(members, p.member())
		if !p.accept(",") {
			break
		}
	}
	p.require(")")
	return members
}

func (p *parser) member() literal {
	if p.token.form == tokenText {
		return literal{textValue([]byte(p.string()))}
	}
	minus := p.accept("-")
	if !minus {
		p.accept("+")
	}
	if p.token.form != tokenNumber {
		p.expected("a string or a number")
		return literal{}
	}
	return p.literalNumber(minus)
}

// string reads the text of a string.
func (p *parser) string() string {
	text := p.token.text
	if p.token.form != tokenText {
		p.expected("a string")
	}
	p.advance()
	return text
}

func (p *parser) like(of expression, not bool) expression {
	at := p.token.at
	l := &like{of: of, not: not, text: p.string()}
	var escape rune
	if p.accept("ESCAPE") {
		at := p.token.at
		l.escape = p.string()
		if utf8.RuneCountInString(l.escape) != 1 {
			p.fail(at, "expected a string of one character after ESCAPE")
		}
		escape, _ = utf8.DecodeRuneInString(l.escape)
	}
	var err error
	if l.match, err = newPattern(l.text, escape); err != nil {
		p.fail(at, err.Error())
		return l
	}
	p.nodes += len(l.match.pieces) - 1 // a "%" takes as much memory as a node
	return l
}

func (p *parser) sum() expression     { return p.arithmetic("+-", p.product) }
func (p *parser) product() expression { return p.arithmetic("*/%", p.signed) }

func (p *parser) arithmetic(signs string, rule func() expression) expression {
	at := p.token.at
	left := rule()
	for p.token.form == tokenMark && strings.Contains(signs, p.token.text) {
		op := p.token.text[0]
		p.check(at, left, "a number", kindNumber)
		p.advance()
		left = p.node(&arithmetic{op, left, p.number(rule)})
	}
	return left
}

func (p *parser) signed() expression {
	minus := p.is("-")
	if !minus && !p.is("+") {
		return p.primary()
	}
	p.advance()
	if p.token.form == tokenNumber {
		return p.node(p.literalNumber(minus)) // with its sign: the lowest long has no positive counterpart
	}
	return p.node(newSigned(minus, p.number(func() expression { return p.nested(p.signed) })))
}

func (p *parser) primary() expression {
	t := p.token
	switch {
	case t.form == tokenText:
		return p.node(literal{textValue([]byte(p.string()))})
	case t.form == tokenNumber:
		return p.node(p.literalNumber(false))
	case t.form == tokenIdentifier:
		p.advance()
		return p.node(newField(t.text))
	case p.accept("TRUE"):
		return p.node(literal{yes.value()})
	case p.accept("FALSE"):
		return p.node(literal{no.value()})
	case p.accept("("):
		e := p.nested(p.or)
		p.require(")")
		return e
	}
	p.expected("a value")
	return literal{}
}

func (p *parser) literalNumber(minus bool) literal {
	n, reason := literalNumber(p.token.text, minus)
	if reason != "" {
		p.fail(p.token.at, reason)
		return literal{}
	}
	p.advance()
	return literal{numberValue(n)}
}
