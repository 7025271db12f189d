package destinations

import (
	"errors"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
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
		// The dead letters of each of them can be fetched.
		{in: "/queue/DLQ." + strings.Repeat("x", maxNameBytes), want: Queue("DLQ." + strings.Repeat("x", maxNameBytes))},
		{in: "/queue/DLQ." + parts(16), want: Queue("DLQ." + parts(16))},
		{in: "/queue/DLQ.", want: Queue("DLQ.")},
		// An empty part is a part.
		{in: "/queue/a..b", want: Queue("a..b")},
		{in: "/queue/.a", want: Queue(".a")},
		{in: "/topic/a.", want: Topic("a.")},
		{in: "/topic/.", want: Topic(".")},

		{in: "", err: "the destination is empty"},
		{in: "orders", err: `"orders": it must begin with /queue/ or /topic/`},
		{in: "/Queue/orders", err: "must begin with"},
		{in: "/queue", err: "must begin with"},
		{in: " /queue/a", err: "must begin with"},
		{in: "/queue/", err: "no name after its prefix"},
		{in: "/topic/", err: "no name after its prefix"},
		{in: "/queue/" + strings.Repeat("x", maxNameBytes+1), err: "41 octets; at most 40"},
		{in: "/queue/" + parts(17), err: "more than 16 parts"},
		{in: "/queue/DLQ." + parts(17), err: "more than 16 parts"},
		{in: "/queue/DLQ." + strings.Repeat("x", maxNameBytes+1), err: "41 octets; at most 40"},
		{in: "/topic/DLQ." + parts(16), err: "more than 16 parts"},
		{in: "/queue/DLQ.*", err: "'*'"},
		{in: "/queue/\xff", err: "not valid UTF-8"},
		{in: "/queue/$sys", err: "broker's own"},
		{in: "/queue/a\nb", err: "control character"},
		{in: "/queue/a\x00", err: "control character"},
		{in: "/queue/a\x7f", err: "control character"},
		{in: "/queue/a.*", err: "'*'"},
		{in: "/topic/a.>", err: "'>'"},
		{in: "/topic/a.#", err: "'#'"},
		{in: "/queue/a,/queue/b", err: "holds a comma"},
		{in: "/temp-queue/a", err: "temporary"},
		{in: "/remote-temp-topic/a", err: "temporary"},
		{in: "/reply-queue/a", err: "temporary"},
	}
	for _, test := range tests {
		got, err := Names{MaxBytes: maxNameBytes, DeadLetterPrefixes: []string{"DLQ."}}.Parse(test.in)
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
func TestNamesEchoLittle(t *testing.T) {
	t.Parallel()
	_, err := Names{MaxBytes: 255}.Parse(strings.Repeat("\n", 1<<20))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("the error has %d octets", len(err.Error()))
	}
}
