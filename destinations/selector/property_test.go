package selector_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"baton/destinations/selector"
)

// A claim is a condition or a sum in full parentheses, and the naive answer to it.
type claim struct {
	text   string
	truth  int      // 0 false, 1 unknown, 2 true: so that AND is min, OR is max, NOT is 2 - truth
	number *big.Rat // of a sum; nil for null
}

// numbers are the headers that claims speak of; none and word are no numbers.
var numbers = message{"one", "1", "two", "2.0", "ten", "10", "minus", "-3", "half", "0.5", "word", "abc"}

func drawSum(t *rapid.T, depth int) claim {
	if depth == 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
		if rapid.Bool().Draw(t, "literal") {
			n := rapid.IntRange(-12, 12).Draw(t, "n")
			return claim{text: fmt.Sprintf("(%d)", n), number: big.NewRat(int64(n), 1)}
		}
		name := rapid.SampledFrom([]string{"one", "two", "ten", "minus", "half", "word", "none"}).Draw(t, "name")
		text, _ := numbers.Field(name)
		n, ok := new(big.Rat).SetString(string(text))
		if !ok {
			n = nil
		}
		return claim{text: name, number: n}
	}
	left, right := drawSum(t, depth-1), drawSum(t, depth-1)
	op := rapid.SampledFrom([]string{"+", "-", "*", "sign"}).Draw(t, "op")
	if op == "sign" {
		left, op = claim{number: new(big.Rat)}, "-"
	}
	sum := claim{text: "(" + left.text + " " + op + right.text + ")"}
	if left.number == nil || right.number == nil {
		return sum
	}
	apply := map[string]func(z, x, y *big.Rat) *big.Rat{"+": (*big.Rat).Add, "-": (*big.Rat).Sub, "*": (*big.Rat).Mul}
	sum.number = apply[op](new(big.Rat), left.number, right.number)
	return sum
}

func drawCondition(t *rapid.T, depth int) claim {
	if depth == 0 {
		return drawComparison(t)
	}
	left, right := drawCondition(t, depth-1), drawCondition(t, depth-1)
	switch rapid.IntRange(0, 2).Draw(t, "logic") {
	case 0:
		return claim{text: "(NOT " + left.text + ")", truth: 2 - left.truth}
	case 1:
		return claim{text: "(" + left.text + " AND " + right.text + ")", truth: min(left.truth, right.truth)}
	}
	return claim{text: "(" + left.text + " OR " + right.text + ")", truth: max(left.truth, right.truth)}
}

// orders are the operators, and the orders of two numbers for which each holds.
var orders = map[string][]int{"=": {0}, "<>": {-1, 1}, "<": {-1}, "<=": {-1, 0}, ">": {1}, ">=": {0, 1}}

func compared(a claim, op string, b claim) claim {
	c := claim{text: "(" + a.text + op + b.text + ")", truth: 1}
	if a.number != nil && b.number != nil {
		c.truth = truthIf(slices.Contains(orders[op], a.number.Cmp(b.number)))
	}
	return c
}

func truthIf(b bool) int {
	if b {
		return 2
	}
	return 0
}

// drawComparison makes numbers of its operands, so that a word is null and not unlike.
func drawComparison(t *rapid.T) claim {
	a, b, c := drawSum(t, 2), drawSum(t, 2), drawSum(t, 2)
	a.text, b.text, c.text = "(+"+a.text+")", "(+"+b.text+")", "(+"+c.text+")"
	switch word := rapid.SampledFrom([]string{"=", "<>", "<", "<=", ">", ">=", "IS NULL", "BETWEEN", "NOT IN"}).Draw(t, "word"); word {
	case "IS NULL":
		return claim{text: "(" + a.text + " IS NULL)", truth: truthIf(a.number == nil)}
	case "BETWEEN":
		return claim{
			text:  "(" + a.text + " BETWEEN " + b.text + " AND " + c.text + ")",
			truth: min(compared(a, ">=", b).truth, compared(a, "<=", c).truth),
		}
	case "NOT IN":
		in := claim{text: "(" + a.text + " NOT IN (1, -2.5, 'x', '10'))", truth: 1}
		if a.number != nil {
			in.truth = truthIf(!slices.Contains([]string{"1", "-5/2", "10"}, a.number.RatString()))
		}
		return in
	default:
		return compared(a, word, b)
	}
}

func TestAnswersAreThoseOfANaiveEvaluator(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawCondition(t, rapid.IntRange(0, 3).Draw(t, "depth"))
		is, err := selector.Parse(c.text)
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		isNot, err := selector.Parse("NOT " + c.text)
		if err != nil {
			t.Fatalf("NOT %s: %v", c.text, err)
		}
		if is.Matches(numbers) != (c.truth == 2) || isNot.Matches(numbers) != (c.truth == 0) {
			t.Fatalf("%s is %v, its negation %v, want %d", c.text, is.Matches(numbers), isNot.Matches(numbers), c.truth)
		}
		again, err := selector.Parse(is.String())
		if err != nil || again.String() != is.String() || again.Matches(numbers) != is.Matches(numbers) {
			t.Fatalf("%s: parsed again %s, %v", is, again, err)
		}
	})
}

func TestLikeIsThatOfANaiveMatcher(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.SampledFrom([]rune("aabü")), 0, 12).Draw(t, "text"))
		like := rapid.SliceOfN(rapid.SampledFrom([]rune("aabü_%%")), 0, 10).Draw(t, "pattern")
		s, err := selector.Parse("x LIKE '" + string(like) + "'")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := s.Matches(message{"x", text}), naiveLike([]rune(text), like); got != want {
			t.Fatalf("%q LIKE %q is %v, want %v", text, string(like), got, want)
		}
	})
}

func naiveLike(text, like []rune) bool {
	switch {
	case len(like) == 0:
		return len(text) == 0
	case like[0] == '%':
		return naiveLike(text, like[1:]) || len(text) > 0 && naiveLike(text[1:], like)
	}
	return len(text) > 0 && (like[0] == '_' || like[0] == text[0]) && naiveLike(text[1:], like[1:])
}

func TestLikeFindsTheLongestPieceThatMayFloat(t *testing.T) {
	t.Parallel()
	s := parsed(t, "x LIKE '%"+strings.Repeat("a", 63)+"_%'")
	if !s.Matches(message{"x", "b" + strings.Repeat("a", 100) + "b"}) || s.Matches(message{"x", strings.Repeat("a", 63)}) {
		t.Error("64 characters between two % are not compared rightly")
	}
}

func TestLikeMayHaveLongPiecesAtItsEnds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 100)
	s := parsed(t, "x LIKE '_"+long+"%"+long+"%_"+long+"'")
	if !s.Matches(message{"x", "b" + long + long + "b" + long}) || s.Matches(message{"x", "b" + long + long + "b"}) {
		t.Error("long pieces at the ends are not compared rightly")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"type = 'car' AND color <> 'blue' OR weight > 2500",
		"convert_string_expressions:hyphenated_props:x-1 NOT IN ('a', 'it''s', -5, 0x1FL)",
		`NOT (price * (1 + 0.19) NOT BETWEEN -1e3 AND .5) AND "x y" IS NOT NULL`,
		"city LIKE 'Z_r%ch!%' ESCAPE '!' AND NOT JMSRedelivered = TRUE AND JMSPriority >= 4",
		"--a / +b % 3 - -9223372036854775808 <= 017 OR größe IS NULL",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := selector.Parse(text)
		if err != nil {
			if len(err.Error()) > 512 {
				t.Errorf("an error of %d octets: %v", len(err.Error()), err)
			}
			return
		}
		again, err := selector.Parse(s.String())
		if err != nil {
			t.Fatalf("%q, of %q: %v", s, text, err)
		}
		if again.String() != s.String() || again.Matches(order) != s.Matches(order) {
			t.Fatalf("%q: parsed again %q; matches %v and %v", s, again, s.Matches(order), again.Matches(order))
		}
	})
}
