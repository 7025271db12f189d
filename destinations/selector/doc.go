// Package selector is the language in which a subscription says which messages it wants: the conditions of SQL-92 that
// JMS took over (JMS 1.1, §3.8.1 "Message Selector"), over the headers of a STOMP message.
//
//	text ──Parse──> Selector ──Matches(Fields)──> true, or false
//	     lexer, parser,      the tree, evaluated in
//	     limits, kinds       three-valued logic
//
//	s, err := selector.Parse("type = 'order' AND (price > 100 OR urgent)")
//	if err != nil { ... } // an *Error: the character, what stands there, what was expected
//	if s.Matches(message) { ... }
//
// # Grammar
//
// Words in capitals are keywords, in any case. Blanks may stand between any two tokens. A selector without a condition
// matches every message.
//
//	selector   = { prefix } [ condition ] .
//	prefix     = "convert_string_expressions:" | "hyphenated_props:" .
//	condition  = both { OR both } .
//	both       = negation { AND negation } .
//	negation   = { NOT } comparison .
//	comparison = sum [ ( "=" | "<>" | "<" | "<=" | ">" | ">=" ) sum
//	                 | IS [ NOT ] NULL
//	                 | [ NOT ] BETWEEN sum AND sum
//	                 | [ NOT ] IN "(" member { "," member } ")"
//	                 | [ NOT ] LIKE string [ ESCAPE string ] ] .
//	sum        = product { ( "+" | "-" ) product } .
//	product    = signed { ( "*" | "/" | "%" ) signed } .
//	signed     = { "+" | "-" } primary .
//	primary    = string | number | TRUE | FALSE | identifier | "(" condition ")" .
//	member     = string | [ "+" | "-" ] number .
//
//	string     = "'" { any character but "'" | "''" } "'" .
//	number     = integer [ "L" ] | ( decimal | integer ) [ "D" | "F" ] .
//	integer    = digits | "0" octal digits | "0x" hexadecimal digits .
//	decimal    = digits "." [ digits ] [ exponent ] | "." digits [ exponent ] | digits exponent .
//	exponent   = "E" [ "+" | "-" ] digits .
//	identifier = letter { letter | digit | "-" } | '"' { any character but '"' | '""' } '"' .
//
// The letters E, X, D, F and L of numbers may be small. A letter of an identifier is one of Java's: a letter of any
// script, "_", "$" and the other connectors and currencies; case matters. A "-" belongs to the identifier before it if
// it stands directly between that and a letter: content-type is a header, price-1 and a - b are differences. After the
// prefix hyphenated_props: every "-" that directly follows an identifier belongs to it. Anything may stand in a quoted
// identifier: "x-1".
//
// # Values
//
// A value is null, a boolean, a number (an exact int64 or a finite float64) or a text. A header's value is a text; a
// header that the message does not have is null. A text is read as a number or a boolean where one is needed, which is
// what convert_string_expressions: asks for; so that prefix changes nothing. Of the JMS names, JMSPriority and others
// are of a kind of their own: see [Fields].
//
// # Invariants
//
//   - The result is true, false or unknown, and unknown does not match. A comparison with null is unknown; one of
//     unlike kinds is false, <> as well (§3.8.1.2).
//   - Arithmetic with what is not a number, a division by zero, and a result beyond float64 are null. An exact result
//     that int64 cannot hold is approximated by a float64.
//   - Parse bounds length, depth and size; it never panics. Parse(s.String()) always gives an equal Selector.
//   - A Selector never changes. Matches allocates nothing to speak of and takes time in proportion to the selector
//     and the values that it reads.
package selector
