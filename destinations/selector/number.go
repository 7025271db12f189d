package selector

import (
	"bytes"
	"cmp"
	"math"
	"strconv"
	"strings"
)

// A number is an int64, or a finite float64.
type number struct {
	exact bool
	i     int64   // if exact
	f     float64 // otherwise
}

func integer(i int64) number { return number{exact: true, i: i} }

// approximate returns f as a number; ok is false if that is infinite or not a number.
func approximate(f float64) (_ number, ok bool) {
	return number{f: f}, !math.IsInf(f, 0) && !math.IsNaN(f)
}

func (n number) float() float64 {
	if n.exact {
		return float64(n.i)
	}
	return n.f
}

// key returns the same for all numbers that are equal.
func (n number) key() number {
	if !n.exact && n.f == math.Trunc(n.f) && n.f >= -1<<63 && n.f < 1<<63 {
		return integer(int64(n.f))
	}
	return n
}

// compareNumbers compares by worth, without rounding.
func compareNumbers(a, b number) int {
	switch {
	case a.exact && b.exact:
		return cmp.Compare(a.i, b.i)
	case a.exact:
		return compareMixed(a.i, b.f)
	case b.exact:
		return -compareMixed(b.i, a.f)
	}
	return cmp.Compare(a.f, b.f)
}

func compareMixed(i int64, f float64) int {
	if f >= 1<<63 {
		return -1
	}
	if f < -1<<63 {
		return 1
	}
	if order := cmp.Compare(i, int64(f)); order != 0 {
		return order
	}
	return cmp.Compare(0, f-math.Trunc(f))
}

// compute returns a op b; ok is false if that is no number.
func compute(op byte, a, b number) (_ number, ok bool) {
	if a.exact && b.exact {
		if i, ok := computeExact(op, a.i, b.i); ok {
			return integer(i), true
		}
	}
	return approximate(computeFloat(op, a.float(), b.float()))
}

// computeExact returns a op b; ok is false if int64 cannot hold it, as the infinity of a division by zero.
func computeExact(op byte, a, b int64) (_ int64, ok bool) {
	switch op {
	case '+':
		sum := a + b
		return sum, (sum > a) == (b > 0)
	case '-':
		difference := a - b
		return difference, (difference < a) == (b > 0)
	case '*':
		if a == 0 || b == 0 {
			return 0, true
		}
		product := a * b
		return product, (product < 0) == ((a < 0) != (b < 0)) && product/b == a
	}
	if b == 0 {
		return 0, false
	}
	if op == '/' {
		return a / b, a != math.MinInt64 || b != -1
	}
	return a % b, true
}

func computeFloat(op byte, a, b float64) float64 {
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	case '/':
		return a / b
	}
	return math.Mod(a, b)
}

func negated(n number) number {
	if n.exact && n.i != math.MinInt64 {
		return integer(-n.i)
	}
	return number{f: -n.float()}
}

// maxNumber is how many octets the number in a header may have: strconv turns no more into a string without
// allocating, and the longest float64 that programs write has 24.
const maxNumber = 32

// readNumber reads a header's value as Java does: an optional sign, digits, perhaps a point and an exponent, nothing
// else. It allocates only for one beyond float64, which is no number.
func readNumber(text []byte) (_ number, ok bool) {
	if len(text) > maxNumber {
		return number{}, false
	}
	whole, ok := numeric(text)
	if !ok {
		return number{}, false
	}
	if whole {
		if i, ok := readInteger(text); ok {
			return integer(i), true
		}
	}
	f, err := strconv.ParseFloat(string(text), 64)
	return number{f: f}, err == nil
}

// numeric reports whether text is spelled as a number, and whether as a whole one. It comes before strconv, whose
// errors are allocated.
func numeric(text []byte) (whole, ok bool) {
	text = withoutSign(text)
	rest := withoutDigits(text)
	digits := len(text) - len(rest)
	if digits > 0 && len(rest) == 0 {
		return true, true
	}
	if after, found := bytes.CutPrefix(rest, []byte{'.'}); found {
		rest = withoutDigits(after)
		digits += len(after) - len(rest)
	}
	if digits == 0 {
		return false, false
	}
	if len(rest) > 0 && (rest[0] == 'e' || rest[0] == 'E') {
		exponent := withoutSign(rest[1:])
		rest = withoutDigits(exponent)
		return false, len(exponent) > 0 && len(rest) == 0
	}
	return false, len(rest) == 0
}

func withoutSign(text []byte) []byte {
	if len(text) > 0 && (text[0] == '+' || text[0] == '-') {
		return text[1:]
	}
	return text
}

func withoutDigits(text []byte) []byte {
	for len(text) > 0 && isDigit(rune(text[0])) {
		text = text[1:]
	}
	return text
}

// readInteger reads an optional sign and digits; ok is false if int64 cannot hold them.
func readInteger(text []byte) (n int64, ok bool) {
	negative := text[0] == '-'
	for _, c := range withoutSign(text) {
		digit := int64(c - '0')
		if n < (math.MinInt64+digit)/10 {
			return 0, false
		}
		n = 10*n - digit // below zero, where there is room for one more
	}
	if negative {
		return n, true
	}
	return -n, n != math.MinInt64
}

// literalNumber returns what a number in a selector is worth, or why it is worth nothing.
func literalNumber(spelling string, negative bool) (_ number, reason string) {
	if negative {
		spelling = "-" + spelling
	}
	lower := strings.ToLower(spelling)
	hexadecimal := strings.HasPrefix(strings.TrimPrefix(lower, "-"), "0x")
	if !hexadecimal && strings.ContainsAny(lower, ".edf") {
		return literalFloat(strings.TrimRight(lower, "df"), spelling)
	}
	return literalInteger(strings.TrimSuffix(lower, "l"), spelling)
}

func literalFloat(digits, spelling string) (_ number, reason string) {
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil && !math.IsInf(f, 0) {
		return number{}, shortened(spelling) + " is not a number"
	}
	if err != nil {
		return number{}, shortened(spelling) + " is beyond the numbers of a double"
	}
	return number{f: f}, ""
}

func literalInteger(digits, spelling string) (_ number, reason string) {
	base := 10
	unsigned := strings.TrimPrefix(digits, "-")
	switch {
	case strings.HasPrefix(unsigned, "0x"):
		base = 16
		digits = strings.Replace(digits, "0x", "", 1)
	case strings.HasPrefix(unsigned, "0"):
		base = 8
	}
	i, err := strconv.ParseInt(digits, base, 64)
	if err == nil {
		return integer(i), ""
	}
	if i != 0 {
		return number{}, shortened(spelling) + " is beyond the numbers of a long"
	}
	if base == 8 {
		return number{}, shortened(spelling) + " begins with 0 but is not octal"
	}
	return number{}, shortened(spelling) + " is not a number"
}

// appendNumber writes n so that it is read as n again.
func appendNumber(dst []byte, n number) []byte {
	if n.exact {
		return strconv.AppendInt(dst, n.i, 10)
	}
	mark := len(dst)
	dst = strconv.AppendFloat(dst, n.f, 'g', -1, 64)
	if !bytes.ContainsAny(dst[mark:], ".e") {
		dst = append(dst, ".0"...)
	}
	return dst
}
