package destinations

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// fill sends messages until there is no memory for what must be known of them,
// and returns how many were taken and the octets of the texts that are kept.
func fill(t *testing.T, s *stepper, p Props) (taken int, texts int64) {
	t.Helper()
	for taken < 10_000 {
		own, msg := p, newMessage("x", true)
		msg.Props = &own
		err := s.m.Step(scriptTime, &Command{Op: Send, Session: 2, Destination: Queue("q"), Message: msg}, &s.out)
		var refused *Error
		if errors.As(err, &refused) && refused.Code == CodeMemoryFull {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		taken++
	}
	s.m.find("q").each(func(at ref) bool {
		texts += at.props().textBytes()
		return true
	})
	return taken, texts
}

// What clients have a message carry into memory, wherever its content is, is
// counted and refused when there is too much of it; an eighth of the memory is for
// it, though contents fill the rest.
func TestPropsMeetTheMemory(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 500)
	for _, p := range []Props{
		{Group: long, Priority: 4}, {Key: long, Expires: math.MaxInt64}, {Cron: "0 0 1 1" + strings.Repeat(" ", 400) + "*"},
		{Delay: 1 << 30}, {Delay: 1 << 30, Group: "g"},
	} {
		const memory = 40_000
		s := newStepper(t, Options{MemoryBytes: memory})
		taken, texts := fill(t, s, p)
		least := int(memory / 8 / p.waitingBytes())
		if texts > memory || s.m.Bytes() > memory || taken < least || taken == 10_000 {
			t.Errorf("%s: %d messages were taken, at least %d have place; their texts take %d octets, %d of %d are counted", &p, taken, least, texts, s.m.Bytes(), memory)
		}
	}
}

// What nobody needs while a message waits is not kept.
func TestPropsThatAreKept(t *testing.T) {
	t.Parallel()
	full := Props{Priority: 4, Expires: 5, Deliver: 3, Group: "g", Key: "k", DedupID: "d", Cron: "* * * * *", Period: 2, Repeat: 1, Client: "c"}
	waiting, come := full, full
	waiting.DedupID = ""
	come.Deliver = 0
	for _, test := range []struct{ of, want *Props }{
		{nil, nil},
		{&Props{Priority: 9}, nil},
		{&Props{DedupID: "d"}, nil},
		{&full, &waiting},
		{&come, &Props{Priority: 4, Expires: 5, Group: "g", Key: "k", Period: 2, Repeat: 1}},
		{&Props{Group: "g"}, &Props{Group: "g"}},
	} {
		if got := test.of.waits(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("of %+v is kept %+v, want %+v", test.of, got, test.want)
		}
	}
	if full.DedupID == "" || come.Cron == "" {
		t.Error("the message itself has lost something")
	}
}
