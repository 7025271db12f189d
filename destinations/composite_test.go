package destinations

import (
	"slices"
	"strings"
	"testing"
)

// Several destinations have commas between them, perhaps with spaces, in SEND and
// in SUBSCRIBE.
func TestSeveralNames(t *testing.T) {
	t.Parallel()
	names := Names{MaxBytes: 40}
	for _, test := range []struct {
		in   string
		want []Destination
		err  string // part of the error
	}{
		{in: "/queue/a,/topic/b", want: []Destination{Queue("a"), Topic("b")}},
		{in: "/queue/a, /topic/b ", want: []Destination{Queue("a"), Topic("b")}},
		{in: "/queue/a,", err: `of the destinations "/queue/a,", one between commas is empty`},
		{in: "/queue/a, ,/queue/b", err: "one between commas is empty"},
		{in: "/queue/a,b", err: "must begin with"},
		{in: "/queue/a,/temp-queue/b", err: `"/temp-queue/b" is temporary`},
		{in: "/queue/a" + strings.Repeat(",/queue/a", 16), err: "17 parts"},
	} {
		sends, err := names.ParseAll(test.in)
		_, sources, sourcesErr := names.ParseSources(test.in)
		if test.err != "" {
			for _, err := range []error{err, sourcesErr} {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%q gives the error %v, want one with %q", test.in, err, test.err)
				}
			}
			continue
		}
		var taken []Destination
		for _, p := range sources {
			taken = append(taken, p.named)
		}
		if err != nil || sourcesErr != nil || !slices.Equal(sends, test.want) || !slices.Equal(taken, test.want) {
			t.Errorf("%q is %v (%v) and %v (%v), want %v", test.in, sends, err, taken, sourcesErr, test.want)
		}
	}
}
