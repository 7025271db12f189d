package destinations

import (
	"errors"
	"strings"
	"testing"
)

func TestParseDestination(t *testing.T) {
	t.Parallel()
	const maxNameBytes = 40
	parts := func(n int) string { return strings.Repeat("a.", n-1) + "a" }
	tests := []struct {
		in   string
		want Destination
		err  string // part of the error
	}{
		{in: "/queue/orders", want: Queue("orders")},
		{in: "/topic/orders.eu", want: Topic("orders.eu")},
		{in: "/queue/a/b c", want: Queue("a/b c")},
		{in: "/queue/é漢", want: Queue("é漢")},
		{in: "/queue/a$", want: Queue("a$")},
		{in: "/queue//topic/a", want: Queue("/topic/a")},
		{in: "/queue/DLQ.a", want: Queue("DLQ.a")},
		{in: "/queue/" + strings.Repeat("x", maxNameBytes), want: Queue(strings.Repeat("x", maxNameBytes))},
		{in: "/queue/" + parts(16), want: Queue(parts(16))},

		{in: "", err: "the destination is empty"},
		{in: "orders", err: `"orders": it must begin with /queue/ or /topic/`},
		{in: "/Queue/orders", err: "must begin with"},
		{in: "/queue", err: "must begin with"},
		{in: " /queue/a", err: "must begin with"},
		{in: "/queue/", err: "no name after its prefix"},
		{in: "/topic/", err: "no name after its prefix"},
		{in: "/queue/" + strings.Repeat("x", maxNameBytes+1), err: "41 octets; at most 40"},
		{in: "/queue/" + parts(17), err: "more than 16 parts"},
		{in: "/queue/\xff", err: "not valid UTF-8"},
		{in: "/queue/$sys", err: "broker's own"},
		{in: "/queue/a\nb", err: "control character"},
		{in: "/queue/a\x00", err: "control character"},
		{in: "/queue/a\x7f", err: "control character"},
		{in: "/queue/a.*", err: "'*'"},
		{in: "/topic/a.>", err: "'>'"},
		{in: "/topic/a.#", err: "'#'"},
		{in: "/queue/a,/queue/b", err: "','"},
	}
	for _, test := range tests {
		got, err := ParseDestination(test.in, maxNameBytes)
		if test.err == "" {
			if err != nil || got != test.want || got.String() != test.in {
				t.Errorf("%q is %+v (%s), %v; want %+v", test.in, got, got, err, test.want)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeBadDestination || !strings.Contains(e.Text, test.err) {
			t.Errorf("%q gives the error %v, want one with %q", test.in, err, test.err)
		}
	}
}

// What a client sends is echoed in bounded length.
func TestParseDestinationEchoesLittle(t *testing.T) {
	t.Parallel()
	_, err := ParseDestination(strings.Repeat("\n", 1<<20), 255)
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("the error has %d octets", len(err.Error()))
	}
}
