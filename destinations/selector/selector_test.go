package selector_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"baton/destinations/selector"
)

// A message has headers, given as name, value, name, value…
type message []string

func (m message) Field(name string) ([]byte, bool) {
	for i := 0; i < len(m); i += 2 {
		if m[i] == name {
			return []byte(m[i+1]), true
		}
	}
	return nil, false
}

func parsed(t testing.TB, text string) *selector.Selector {
	t.Helper()
	s, err := selector.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// truthOf finds out which of the three values a condition has: unknown is what neither it nor its negation matches.
func truthOf(t testing.TB, condition string, m message) string {
	t.Helper()
	is, isNot := parsed(t, condition).Matches(m), parsed(t, "NOT ("+condition+")").Matches(m)
	switch {
	case is && isNot:
		t.Errorf("%s is true and false for %q", condition, m)
	case is:
		return "true"
	case isNot:
		return "false"
	}
	return "unknown"
}

// order is the message that most tests ask about.
var order = message{
	"type", "car", "color", "blue", "weight", "2500", "price", "99.5", "debt", "-3", "zero", "0", "empty", "",
	"urgent", "true", "late", "FALSE", "content-type", "text/plain", "x-1", "dash", "name", "O'Reilly",
	"big", "9223372036854775807", "bigger", "9223372036854775808", "same", "blue", "padded", "010", "city", "Zürich",
	"a", "10", "b", "3", "1e3", "1", "exp", "1e3", "select", "1", "größe", "7", "priority", "7", "message-id", "m-1",
	"correlation-id", "c:1", "timestamp", "1700000000000", "expires", "1800000000000", "reply-to", "/queue/r",
	"destination", "/queue/q", "persistent", "false", "redelivered", "true", "JMSXGroupID", "g", "JMSXGroupSeq", "2",
	"JMSXDeliveryCount", "3", "user-id", "u", "and", "reserved", "long", strings.Repeat("1", 33),
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, of := range []struct{ rule, conditions string }{
		{"JMS 1.1 §3.8.1.1: the examples", `
			true    type = 'car' AND color = 'blue' AND weight > 2499
			false   type = 'car' AND color = 'blue' AND weight > 2500
			true    JMSType = 'car' AND color = 'blue' AND weight >= 2500
			true    name = 'O''Reilly'
			false   name = 'O''''Reilly'`},
		{"exact numeric literals", `
			true    weight = 2500
			true    weight = +2500
			true    debt = -3
			true    weight = 2500L
			true    weight = 2500l
			true    weight = 0x9C4
			true    weight = 0X9c4
			true    weight = 0x9C4L
			true    weight = 04704
			true    zero = 0
			true    zero = 00
			true    debt = -0x3
			true    debt = -03
			true    big = 9223372036854775807
			true    big = 0x7fffffffffffffff
			true    debt > -9223372036854775808
			true    big > 9223372036854775806`},
		{"approximate numeric literals", `
			true    price = 99.5
			true    price = 99.50
			true    price = 995E-1
			true    price = .995e2
			true    price = 9.95e+1
			true    weight = 2500.
			true    weight = 2.5e3
			true    weight = 25.E2
			true    weight = 2500d
			true    weight = 2500F
			true    weight = 2500.0f
			true    price = 9.95e1D`},
		{"booleans", `
			true    urgent = TRUE
			true    urgent = true
			false   urgent = False
			true    late = FALSE
			true    late <> TRUE
			true    urgent
			false   late
			true    NOT late
			true    urgent AND NOT late
			unknown color
			unknown weight
			unknown missing
			true    TRUE
			false   FALSE
			true    (weight = 2500) = urgent
			true    (weight = 1) = (color = 'red')
			false   color = TRUE
			false   color <> TRUE
			true    urgent = 'true'
			true    (weight = 2500) = 'TRUE'`},
		{"keywords are case-insensitive, identifiers are not", `
			true    color iS nOT nUll
			unknown Color = 'blue'
			true    color LiKe 'b%' aNd not late oR false
			true    weight nOt BetWeen 1 and 2
			true    color in ('blue')
			false   color = 'Blue'`},
		{"identifiers", `
			unknown _under = 1 OR $dollar = 1
			true    größe = 7
			true    "color" = 'blue'
			true    "x-1" = 'dash'
			true    "1e3" = 1
			true    "and" = 'reserved'
			true    select = 1
			unknown "no ""such"" one" = 1`},
		{"hyphens", `
			true    content-type = 'text/plain'
			true    JMSCorrelationID = 'c:1' AND correlation-id = 'c:1'
			true    a-b IS NULL
			true    a - b = 7
			true    a -b = 7
			true    a- b = 7
			true    a-3 = 7
			true    a-"b" = 7
			true    a-(b) = 7
			true    (a)-b = 7
			true    a--b = 13
			true    a - -b = 13`},
		{"§3.8.1.2: comparison with null is unknown", `
			unknown missing = 1
			unknown missing <> 1
			unknown missing > 1
			unknown 1 <= missing
			unknown missing = missing
			unknown missing <> missing
			unknown missing = 'a'
			unknown missing = TRUE
			unknown missing BETWEEN 1 AND 2
			unknown missing NOT BETWEEN 1 AND 2
			unknown missing IN ('a')
			unknown missing NOT IN ('a')
			unknown missing LIKE '%'
			unknown missing NOT LIKE '%'`},
		{"§3.8.1.2: comparison of unlike kinds is false", `
			false   color = 5
			false   color <> 5
			false   color < 5
			false   color >= 5
			false   empty = 0
			false   empty <> 0
			true    NOT color = 5
			false   color < weight
			false   color NOT BETWEEN 1 AND 2
			true    color NOT IN (5)`},
		{"headers are read as numbers where numbers are", `
			true    weight > 18
			true    weight < 2500.5
			true    price < weight
			false   weight < price
			true    padded = 10
			false   padded = 8
			true    padded <> a
			true    padded + 0 = a
			true    +padded = a + 0
			false   padded = a
			true    exp = 1000
			true    weight = '2500'
			false   weight = '2500.0'
			true    JMSPriority = '7'
			false   JMSPriority = 'x'
			false   JMSPriority <> 'x'
			true    bigger > big
			true    bigger = 9223372036854775808.0
			false   big = 9223372036854775808.0
			true    9223372036854775806 < big AND 9223372036854775808.0 > big
			false   long > 1`},
		{"two headers are compared as texts for equality, as numbers for order", `
			true    color = same
			false   color <> same
			true    a > b
			false   a < b
			false   color < same`},
		{"BETWEEN", `
			true    weight BETWEEN 2500 AND 3000
			true    weight BETWEEN 2000 AND 2500
			false   weight BETWEEN 2501 AND 3000
			false   weight BETWEEN 3000 AND 2000
			true    weight NOT BETWEEN 2501 AND 3000
			true    weight NOT BETWEEN 2000 AND 2499
			false   weight NOT BETWEEN 2500 AND 2500
			true    a BETWEEN b AND b * 4
			true    5 BETWEEN b AND a AND color = 'blue'
			false   weight BETWEEN 2501 AND missing
			unknown weight BETWEEN 2500 AND missing
			true    weight NOT BETWEEN 2501 AND missing
			unknown weight NOT BETWEEN 2500 AND missing`},
		{"IN", `
			true    color IN ('red', 'blue')
			false   color IN ('red', 'green')
			true    color NOT IN ('red', 'green')
			false   color NOT IN ('blue')
			true    weight IN (1, 2500)
			true    weight IN (-1, +2500.0)
			true    weight IN ('a', 2500)
			true    weight IN ('2500')
			false   weight IN ('2500.0')
			false   weight IN ('2500.0', 1)
			true    JMSPriority IN (7.0)
			true    JMSPriority IN ('7.0')
			true    debt IN (-3)
			false   debt IN (3)
			true    price IN (99.5)
			true    JMSPriority IN ('7')
			false   JMSPriority IN ('8', 6)
			true    a + b IN (13)
			true    padded IN (10)
			false   color IN (0)
			false   long IN (0)
			true    big IN (9223372036854775807)
			false   big IN (9223372036854775808.0)
			true    bigger IN (9223372036854775808.0)`},
		{"LIKE", `
			true    color LIKE 'blue'
			false   color LIKE 'blu'
			false   color LIKE 'lue'
			false   color LIKE 'Blue'
			true    color LIKE 'bl__'
			false   color LIKE 'bl___'
			false   color LIKE 'bl_'
			true    color LIKE '%'
			true    color LIKE '%%'
			true    color LIKE 'b%'
			true    color LIKE '%e'
			true    color LIKE 'b%e'
			true    color LIKE 'blue%'
			true    color LIKE '%blue'
			true    color LIKE '%lu%'
			true    color LIKE '%l_e%'
			false   color LIKE '%l_u%'
			false   color LIKE 'blu%lue'
			true    color LIKE '_l%_e'
			true    empty LIKE '%'
			true    empty LIKE ''
			false   empty LIKE '_'
			false   color LIKE ''
			false   color NOT LIKE 'b%'
			true    color NOT LIKE 'r%'
			true    city LIKE 'Z_rich'
			true    city LIKE '_______' AND NOT city LIKE '______' OR city LIKE '______'
			true    city LIKE '______'
			true    city LIKE '%_rich'
			true    city LIKE '%Z_ri%'
			true    content-type LIKE 'text/%'
			true    'a_b' LIKE 'a\_b' ESCAPE '\'
			false   'axb' LIKE 'a\_b' ESCAPE '\'
			true    '100%' LIKE '100!%' ESCAPE '!'
			false   '1000' LIKE '100!%' ESCAPE '!'
			true    'a!b' LIKE 'a!!b' ESCAPE '!'
			true    'a!b' LIKE 'a!b' ESCAPE '!'
			true    'ab!' LIKE 'ab!' ESCAPE '!'
			true    'a%b' LIKE 'a%%%b' ESCAPE '%'
			false   'axb' LIKE 'a%%%b' ESCAPE '%'
			true    'a''b' LIKE 'a''b'
			true    'a_b' LIKE 'aü_b' ESCAPE 'ü'
			true    'a.b' LIKE 'a.b'
			false   'axb' LIKE 'a.b'
			true    JMSDeliveryMode LIKE 'NON%'`},
		{"IS NULL", `
			true    missing IS NULL
			false   missing IS NOT NULL
			false   color IS NULL
			true    color IS NOT NULL
			true    empty IS NOT NULL
			true    missing + 1 IS NULL
			true    color + 1 IS NULL`},
		{"arithmetic", `
			true    a + b = 13
			true    a - b = 7
			true    a * b = 30
			true    a / b = 3
			true    -a / b = -3
			true    a / 3.0 > 3.3
			true    a % b = 1
			true    -a % b = -1
			true    a % 3.0 = 1
			true    a + b * 2 = 16
			true    (a + b) * 2 = 26
			true    a - b - 2 = 5
			true    a - (b - 2) = 9
			true    a / b / 2 = 1
			true    a / (b / 2) = 10
			true    -a + b = -7
			true    -(a + b) = -13
			true    --a = 10
			true    +-+a = -10
			true    +a = 10.0
			true    price * 2 = 199
			true    0.5 - a = -9.5
			true    2--b = 5`},
		{"arithmetic beyond int64 is approximate", `
			true    big + 1 = 9223372036854775808.0
			true    0 - 9223372036854775807 - 2 = -9223372036854775808.0
			true    big * 2 = 18446744073709551614.0
			true    -9223372036854775808 * -1 = 9223372036854775808.0
			true    -1 * -9223372036854775808 = 9223372036854775808.0
			true    -9223372036854775808 / -1 = 9223372036854775808.0
			true    -9223372036854775808 % -1 = 0
			true    -(0 - big - 1) = 9223372036854775808.0
			true    -9223372036854775808 + -1 < -9223372036854775807
			true    big - -1 = 9223372036854775808.0
			true    4294967296 * 4294967296 = 18446744073709551616.0
			true    0 * big = 0
			true    big * 0 = 0
			true    big + 0 = 9223372036854775807
			true    big - 0 = 9223372036854775807
			true    big + -1 = 9223372036854775806`},
		{"arithmetic without a result is null", `
			unknown a / 0 = 1
			unknown a / zero = 1
			unknown a % 0 = 1
			unknown a / 0.0 = 1
			unknown a % 0.0 = 1
			unknown 1e308 * 10 > 0
			unknown missing + 1 = 1
			unknown 1 - missing = 1
			unknown color + 1 = 1
			unknown -color = 1
			unknown -missing = 1`},
		{"NOT, AND, OR, and comparison bind in this order", `
			true    TRUE OR TRUE AND FALSE
			false   (TRUE OR TRUE) AND FALSE
			true    FALSE AND FALSE OR TRUE
			false   NOT TRUE OR FALSE
			false   NOT FALSE AND FALSE
			true    NOT (FALSE AND FALSE)
			true    NOT color = 'red'
			false   NOT color = 'blue'
			true    NOT color IN ('red') AND NOT missing IS NOT NULL
			true    NOT NOT urgent
			true    a + b > 12 AND a * b < 31
			true    a = b + 7`},
		{"JMS names", `
			true    JMSPriority = 7
			true    JMSPriority > 4
			true    JMSMessageID = 'm-1'
			true    JMSCorrelationID = 'c:1'
			true    JMSType = 'car'
			true    JMSTimestamp = 1700000000000
			true    JMSExpiration > JMSTimestamp
			true    JMSReplyTo = '/queue/r'
			true    JMSDestination = '/queue/q'
			true    JMSDeliveryMode = 'NON_PERSISTENT'
			true    JMSRedelivered
			true    JMSRedelivered = TRUE
			true    JMSXGroupID = 'g'
			true    JMSXGroupSeq = 2
			true    JMSXDeliveryCount = 3
			true    "JMSPriority" = 7`},
		{"blanks", "\n\t\t\ttrue    (\tcolor='blue'\f)AND\rweight=2500\n\t\t\ttrue    color='blue'AND weight>2499"},
	} {
		for line := range strings.SplitSeq(strings.TrimSpace(of.conditions), "\n") {
			want, condition, _ := strings.Cut(strings.TrimSpace(line), " ")
			condition = strings.TrimLeft(condition, " ")
			if got := truthOf(t, condition, order); got != want {
				t.Errorf("%s\n\t%s is %s, want %s", of.rule, condition, got, want)
			}
		}
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"weight > 18",
		"convert_string_expressions:weight > 18",
		"hyphenated_props:content-type = 'text/plain'",
		"hyphenated_props:x-1 = 'dash'",
		"hyphenated_props:a - b = 7",
		"hyphenated_props:a-3 IS NULL",
		"hyphenated_props:a- IS NULL",
		"convert_string_expressions:hyphenated_props:x-1 = 'dash'",
		"hyphenated_props:convert_string_expressions:x-1 = 'dash'",
		" convert_string_expressions: \n weight > 18",
	} {
		if !parsed(t, text).Matches(order) {
			t.Errorf("%s does not match", text)
		}
	}
}

func TestWithoutConditionEveryMessageMatches(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " \t\r\n", "convert_string_expressions:", "hyphenated_props: "} {
		s := parsed(t, text)
		if !s.Matches(message{}) || s.String() != "" {
			t.Errorf("%q: String %q, matches %v", text, s, s.Matches(message{}))
		}
	}
	var none *selector.Selector
	if !none.Matches(message{}) || none.String() != "" {
		t.Error("a nil Selector does not match")
	}
}

// JMS 1.1, §3.8.1.2, tables 3-4 to 3-6.
func TestTruthTables(t *testing.T) {
	t.Parallel()
	spelled := map[string]string{"true": "1 = 1", "false": "1 = 2", "unknown": "missing = 1"}
	for _, row := range []struct{ left, right, and, or string }{
		{"true", "true", "true", "true"},
		{"true", "false", "false", "true"},
		{"true", "unknown", "unknown", "true"},
		{"false", "true", "false", "true"},
		{"false", "false", "false", "false"},
		{"false", "unknown", "false", "unknown"},
		{"unknown", "true", "unknown", "true"},
		{"unknown", "false", "false", "unknown"},
		{"unknown", "unknown", "unknown", "unknown"},
	} {
		left, right := spelled[row.left], spelled[row.right]
		if got := truthOf(t, left+" AND "+right, nil); got != row.and {
			t.Errorf("%s AND %s is %s, want %s", row.left, row.right, got, row.and)
		}
		if got := truthOf(t, left+" OR "+right, nil); got != row.or {
			t.Errorf("%s OR %s is %s, want %s", row.left, row.right, got, row.or)
		}
	}
	for is, want := range map[string]string{"true": "false", "false": "true", "unknown": "unknown"} {
		if got := truthOf(t, "NOT ("+spelled[is]+")", nil); got != want {
			t.Errorf("NOT %s is %s, want %s", is, got, want)
		}
	}
}

func TestJMSNamesOfHeadersThatAreMissing(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]string{
		"JMSPriority = 4":                "true",
		"JMSExpiration = 0":              "true",
		"JMSXDeliveryCount = 1":          "true",
		"JMSRedelivered":                 "false",
		"JMSDeliveryMode = 'PERSISTENT'": "true",
		"JMSTimestamp > 0":               "unknown",
		"JMSXGroupSeq > 0":               "unknown",
		"JMSMessageID = 'a'":             "unknown",
		"JMSCorrelationID = 'a'":         "unknown",
		"JMSType = 'a'":                  "unknown",
		"JMSReplyTo = 'a'":               "unknown",
		"JMSDestination = 'a'":           "unknown",
		"JMSXGroupID = 'a'":              "unknown",
		"priority = 4":                   "unknown",
	} {
		if got := truthOf(t, condition, nil); got != want {
			t.Errorf("%s is %s, want %s", condition, got, want)
		}
	}
	broken := message{"priority", "high", "redelivered", "perhaps", "persistent", "perhaps"}
	for condition, want := range map[string]string{
		"JMSPriority = 4":                "unknown",
		"JMSRedelivered":                 "unknown",
		"JMSDeliveryMode = 'PERSISTENT'": "true",
	} {
		if got := truthOf(t, condition, broken); got != want {
			t.Errorf("%s is %s, want %s", condition, got, want)
		}
	}
}

func TestHeadersThatAreNumbers(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0", "-0", "+1", "007", "9223372036854775807", "-9223372036854775808", "-9223372036854775809", "1.5", "1.", ".5", "1e5",
		"1E+5", "1.5e-5", "-.5e1", "1e-999", strings.Repeat("1", 32),
	} {
		if got := truthOf(t, "n = n + 0 OR n <> n + 0", message{"n", text}); got != "true" {
			t.Errorf("%q is not a number: %s", text, got)
		}
	}
	for _, text := range []string{
		"", "-", "+", ".", "-.", "e5", ".e5", "1e", "1e+", "1e5.", "1.5.5", "--1", " 1", "1 ", "0x10", "1L", "1d", "1_000",
		"NaN", "Infinity", "-Inf", "1e999", "-1e999", "١", strings.Repeat("1", 33),
	} {
		if got := truthOf(t, "n + 0 IS NULL AND NOT n > 0 AND NOT n < 0", message{"n", text}); got != "true" {
			t.Errorf("%q is a number: %s", text, got)
		}
	}
	for n, condition := range map[string]string{
		"-9223372036854775808": "n = -9223372036854775808 AND n + 1 = -9223372036854775807 AND n = -9223372036854775808.0 AND " +
			"n IN (-9223372036854775808.0) AND n NOT IN (9223372036854775808.0)",
		"-9223372036854775809": "n < 0",
		"9223372036854775809":  "n > 0",
	} {
		if got := truthOf(t, condition, message{"n", n}); got != "true" {
			t.Errorf("%s at %s is %s", condition, n, got)
		}
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	t.Parallel()
	for _, of := range []struct{ text, want string }{
		{"=", "character 1: expected a value, found ="},
		{"a =", "character 4: expected a value, found the end"},
		{"a = 'b", "character 5: the string that begins here does not end"},
		{`"a = 1`, "character 1: the quoted identifier that begins here does not end"},
		{`"" = 1`, "character 1: a quoted identifier is empty"},
		{"größe = 'ü' AND ?", "character 17: nothing begins with ?"},
		{"a = b c", "character 7: expected an operator or the end, found the identifier c"},
		{"a = b = c", "character 7: expected an operator or the end, found ="},
		{"(a = b", "character 7: expected ), found the end"},
		{"a = b)", "character 6: expected an operator or the end, found )"},
		{"a", ""},
		{"5", "character 1: expected a condition, found a number"},
		{"'a'", "character 1: expected a condition, found a string"},
		{"a + 1", "character 1: expected a condition, found a number"},
		{"a = 1 AND b + 1", "character 11: expected a condition, found a number"},
		{"5 OR a = 1", "character 1: expected a condition, found a number"},
		{"NOT 5", "character 5: expected a condition, found a number"},
		{"JMSPriority", "character 1: expected a condition, found a number"},
		{"a > 'b'", "character 5: expected a number, found a string"},
		{"'b' <= a", "character 1: expected a number, found a string"},
		{"a < TRUE", "character 5: expected a number, found a condition"},
		{"a < b < c", "character 7: expected an operator or the end, found <"},
		{"JMSDeliveryMode > 1", "character 1: expected a number, found a string"},
		{"TRUE = 5", "character 8: expected a condition, found a number"},
		{"5 <> (a = b)", "character 6: expected a number, found a condition"},
		{"a = NULL", "character 5: expected a value (a header is compared with NULL by IS NULL), found NULL"},
		{"NULL = a", "character 1: expected a value, found NULL"},
		{"a IS 5", "character 6: expected NULL, found 5"},
		{"a IS NOT 5", "character 10: expected NULL, found 5"},
		{"a NOT 5", "character 7: expected BETWEEN, IN or LIKE, found 5"},
		{"a NOT = 5", "character 7: expected BETWEEN, IN or LIKE, found ="},
		{"a BETWEEN 1", "character 12: expected AND, found the end"},
		{"a BETWEEN 'x' AND 'y'", "character 11: expected a number, found a string"},
		{"a BETWEEN 1 AND 'y'", "character 17: expected a number, found a string"},
		{"'a' BETWEEN 1 AND 2", "character 1: expected a number, found a string"},
		{"a IN ()", "character 7: expected a string or a number, found )"},
		{"a IN 'b'", "character 6: expected (, found the string 'b'"},
		{"a IN ('b' 'c')", "character 11: expected ), found the string 'c'"},
		{"a IN ('b',)", "character 11: expected a string or a number, found )"},
		{"a IN (-'b')", "character 8: expected a string or a number, found the string 'b'"},
		{"a IN (TRUE)", "character 7: expected a string or a number, found TRUE"},
		{"(a = 1) IN ('b')", "character 1: expected a header, found a condition"},
		{"a LIKE b", "character 8: expected a string, found the identifier b"},
		{"a LIKE 5", "character 8: expected a string, found 5"},
		{"JMSPriority LIKE '5'", "character 1: expected a string, found a number"},
		{"a LIKE 'b' ESCAPE 5", "character 19: expected a string, found 5"},
		{"a LIKE 'b' ESCAPE ''", "character 19: expected a string of one character after ESCAPE"},
		{"a LIKE 'b' ESCAPE 'xy'", "character 19: expected a string of one character after ESCAPE"},
		{"a LIKE '%_" + strings.Repeat("x", 64) + "%'",
			"character 8: a pattern with 65 characters between two % and a _ among them, at most 64 are allowed"},
		{"'a' + 1 = 2", "character 1: expected a number, found a string"},
		{"1 + 'a' = 2", "character 5: expected a number, found a string"},
		{"1 + 2 * TRUE = 2", "character 9: expected a number, found a condition"},
		{"-'a' = 2", "character 2: expected a number, found a string"},
		{"a = 5x", "character 5: the number 5x is followed by x"},
		{"a-1st = 5", "character 3: the number 1st is followed by st"},
		{"a = 08", "character 5: 08 begins with 0 but is not octal"},
		{"a = 0x", "character 5: 0x is not a number"},
		{"a = 5e", "character 5: 5e is not a number"},
		{"a = 5.0L", "character 5: 5.0L is not a number"},
		{"a = 9223372036854775808", "character 5: 9223372036854775808 is beyond the numbers of a long"},
		{"a = -9223372036854775809", "character 6: -9223372036854775809 is beyond the numbers of a long"},
		{"a = 1e999", "character 5: 1e999 is beyond the numbers of a double"},
		{"a = 5 -- no comments", "character 13: expected an operator or the end, found the identifier comments"},
		{"a = 'b\xff'", "character 7: not UTF-8"},
		{"XPATH '//x'", "character 7: expected an operator or the end, found the string '//x'"},
		{"a = " + strings.Repeat("x", 100) + " y", "found the identifier y"},
		{"a = b " + strings.Repeat("x", 100), "found the identifier " + strings.Repeat("x", 32) + "…"},
		{"no_convert_string_expressions:a = 1", "character 30: nothing begins with :"},
	} {
		_, err := selector.Parse(of.text)
		var syntax *selector.Error
		switch {
		case of.want == "" && err != nil, of.want != "" && err == nil:
			t.Errorf("%s: error %v, want %q", of.text, err, of.want)
		case err == nil:
		case !errors.As(err, &syntax), !strings.Contains(err.Error(), of.want):
			t.Errorf("%s: error %q, want %q", of.text, err, of.want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	repeat := strings.Repeat
	for _, of := range []struct {
		name, fits, more, want string
	}{
		{"length", "a = '" + repeat("x", selector.MaxLength-6) + "'", "a = '" + repeat("x", selector.MaxLength-5) + "'",
			"selector: 8193 octets long, at most 8192 are allowed"},
		{"length with blanks", "a = 1" + repeat(" ", selector.MaxLength-5), "a = 1" + repeat(" ", selector.MaxLength-4),
			"selector: 8193 octets long, at most 8192 are allowed"},
		{"length of the canonical text", "a='" + repeat("x", selector.MaxLength-6) + "'", "a='" + repeat("x", selector.MaxLength-5) + "'",
			"selector: 8193 octets long, at most 8192 are allowed"},
		{"parentheses", repeat("(", 64) + "a" + repeat(")", 64), repeat("(", 65) + "a" + repeat(")", 65),
			"character 66: more than 64 parentheses, NOTs and signs within one another"},
		{"NOT", repeat("NOT ", 64) + "a", repeat("NOT ", 65) + "a", "more than 64 parentheses, NOTs and signs"},
		{"signs", repeat("-", 64) + "a = 1", repeat("-", 65) + "a = 1", "more than 64 parentheses, NOTs and signs"},
		{"all of these", repeat("NOT (", 31) + "NOT -a = 1" + repeat(")", 31), repeat("NOT (", 31) + "NOT --a = 1" + repeat(")", 31),
			"more than 64 parentheses, NOTs and signs within one another"},
		{"nodes of a chain of conditions", "NOT a" + repeat(" OR a", 499), "NOT NOT a" + repeat(" OR a", 499), "more than 1000 literals, identifiers, operators and %"},
		{"nodes of a pattern", "a LIKE '" + repeat("%", 998) + "'", "a LIKE '" + repeat("%", 999) + "'", "more than 1000 literals, identifiers, operators and %"},
		{"nodes of a sum", "-a = 1" + repeat("+a", 498), "--a = 1" + repeat("+a", 498), "more than 1000 literals, identifiers, operators and %"},
	} {
		if _, err := selector.Parse(of.fits); err != nil {
			t.Errorf("%s at the limit: %v", of.name, err)
		}
		if _, err := selector.Parse(of.more); err == nil || !strings.Contains(err.Error(), of.want) {
			t.Errorf("%s beyond the limit: error %v, want %q", of.name, err, of.want)
		}
	}
}

func TestInTakesWhatFitsTheText(t *testing.T) {
	t.Parallel()
	var members []string
	for i := range 1100 {
		members = append(members, fmt.Sprintf("'%d'", i))
	}
	s := parsed(t, "a IN ("+strings.Join(members, ",")+")")
	if !s.Matches(message{"a", "1099"}) || s.Matches(message{"a", "1100"}) {
		t.Error("a member is not found, or one that is none")
	}
}

func TestString(t *testing.T) {
	t.Parallel()
	for _, of := range []struct{ text, want string }{
		{"a='b'and  c<>5 or d>=.5", "a = 'b' AND c <> 5 OR d >= 0.5"},
		{"((a)) = (1)", "a = 1"},
		{"(a = 1 AND b = 2) OR c", "a = 1 AND b = 2 OR c"},
		{"(a = 1 AND b = 2) AND c", "(a = 1 AND b = 2) AND c"},
		{"a AND (b OR c)", "a AND (b OR c)"},
		{"not (not (a = 1))", "NOT NOT a = 1"},
		{"not (a or b)", "NOT (a OR b)"},
		{"(a = 1) = (b = 2)", "(a = 1) = (b = 2)"},
		{"(a + b) * (c - d) - (e - f) = 0", "(a + b) * (c - d) - (e - f) = 0"},
		{"(a * b) % c / (d / e) = 0", "a * b % c / (d / e) = 0"},
		{"- - a = +b", "--a = +b"},
		{"-(a + b) = -(-5)", "-(a + b) = 5"},
		{"-(5) = +5.0", "-5 = 5.0"},
		{"a - -5 = 0x1F + 017 + 5L + 5d + 1e20 + 1E-7", "a - -5 = 31 + 15 + 5 + 5.0 + 1e+20 + 1e-07"},
		{"a = -9223372036854775808", "a = -9223372036854775808"},
		{"a = -(-9223372036854775808)", "a = 9.223372036854776e+18"},
		{"content-type like 'it''s' escape '!'", "\"content-type\" LIKE 'it''s' ESCAPE '!'"},
		{"hyphenated_props:x-1 is not null", "\"x-1\" IS NOT NULL"},
		{`"plain" = "and" and "a""b" is null`, `plain = "and" AND "a""b" IS NULL`},
		{"a not in ('x', -5, +2.50)", "a NOT IN ('x', -5, 2.5)"},
		{"a not between 1 and b+c", "a NOT BETWEEN 1 AND b + c"},
		{"a not like '%'", "a NOT LIKE '%'"},
		{"(a = 1) is null", "(a = 1) IS NULL"},
		{"true or FALSE", "TRUE OR FALSE"},
	} {
		s := parsed(t, of.text)
		if s.String() != of.want {
			t.Errorf("%s\n\tgot  %s\n\twant %s", of.text, s, of.want)
		}
		if again := parsed(t, s.String()); again.String() != of.want {
			t.Errorf("%s: parsed again it is %s", s, again)
		}
	}
}

func TestManyGoroutinesUseOneSelector(t *testing.T) {
	t.Parallel()
	s := parsed(t, "color LIKE 'b%' AND weight IN (1, 2500) AND a + b * 2 BETWEEN 1 AND 20 AND city LIKE '%_ric%'")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100 {
				if !s.Matches(order) {
					t.Error("no match")
				}
			}
		})
	}
	group.Wait()
}
