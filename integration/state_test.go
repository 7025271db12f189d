package integration

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"baton/integration/client"
	"baton/integration/process"
)

const (
	stateKeys = 5  // last-value-keys
	stateKept = 50 // messages that the topic keeps
)

// kill -9 under load, again and again: of each key the newest value that was receipted is there, or a newer one, and only
// one; and a topic has kept its newest messages, without a gap.
func TestKill9KeepsLastValuesAndKeptMessages(t *testing.T) {
	t.Parallel()
	t.Logf("-seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 1))
	o := options(t, "BATON_JOURNAL_SEGMENT=64KiB", "BATON_JOURNAL_CHECKPOINT_EVERY=50ms", fmt.Sprintf(
		"BATON_DESTINATIONS=[{match: /queue/state, last_value: true}, {match: /topic/kept, keep: {messages: %d}}]", stateKept))
	s := state{t: t}
	for range 10 {
		b := start(t, o)
		s.check(b)
		s.update(b, 1+rng.IntN(3000))
		b.Kill()
	}
	b := start(t, o)
	s.check(b)
	terminate(t, b)
}

// state is what was sent so far: number n goes to the topic, and to the queue as the value of key n modulo stateKeys.
type state struct {
	t         *testing.T
	sent      int // 1 to sent were sent
	receipted int // all up to here are safe
}

// update sends until so many more are receipted.
func (s *state) update(b *process.Broker, more int) {
	s.t.Helper()
	c := dial(s.t, b, client.Options{})
	until := s.receipted + more
	for s.receipted < until {
		for s.sent-s.receipted < 200 {
			s.sent++
			number := strconv.Itoa(s.sent)
			write(s.t, c, "SEND", "destination", "/queue/state", "last-value-key", strconv.Itoa(s.sent%stateKeys), "number", number)
			write(s.t, c, "SEND", "destination", "/topic/kept", "number", number, "receipt", number)
		}
		if err := c.Flush(); err != nil {
			s.t.Fatal(err)
		}
		s.receipted = s.number(next(s.t, c), "receipt-id")
	}
}

// check looks at both without changing them, and goes on behind what it has found.
func (s *state) check(b *process.Broker) {
	s.t.Helper()
	values := s.values(b)
	kept := s.kept(b)
	last := 0
	if len(kept) > 0 {
		last = kept[len(kept)-1]
	}
	want := min(last, stateKept) // and the end that kept has published took the place of one
	if last < s.receipted || last > s.sent || len(kept) > want || len(kept) < want-1 {
		s.t.Fatalf("%d messages are kept, up to %d; %d were receipted and %d sent\n%s", len(kept), last, s.receipted, s.sent, b.Log())
	}
	for i, number := range kept {
		if number != last-len(kept)+1+i {
			s.t.Fatalf("kept are %v", kept)
		}
	}
	for key := range stateKeys {
		newest := s.receipted - (s.receipted-key+stateKeys)%stateKeys // the last receipted one of the key
		if value, there := values[key]; newest > 0 && (!there || value < newest) || value > s.sent {
			s.t.Fatalf("key %d has %d; %d was receipted, and %d sent\n%s", key, value, newest, s.sent, b.Log())
		}
	}
	s.sent, s.receipted = last, last // the next one continues what is kept
}

// values browses the queue.
func (s *state) values(b *process.Broker) map[int]int {
	s.t.Helper()
	c := dial(s.t, b, client.Options{})
	defer c.Close()
	write(s.t, c, "SUBSCRIBE", "destination", "/queue/state", "id", "1", "browser", "true", "ack", "auto")
	values := map[int]int{}
	for {
		f := next(s.t, c)
		if f.Header("browser") == "end" {
			return values
		}
		key, number := s.number(f, "last-value-key"), s.number(f, "number")
		if was, twice := values[key]; twice {
			s.t.Fatalf("key %d has the values %d and %d", key, was, number)
		}
		values[key] = number
	}
}

// kept subscribes to the topic, and then publishes an end, which is not stored.
func (s *state) kept(b *process.Broker) (numbers []int) {
	s.t.Helper()
	c := dial(s.t, b, client.Options{})
	defer c.Close()
	write(s.t, c, "SUBSCRIBE", "destination", "/topic/kept", "id", "1", "ack", "auto", "retroactive", "true", "receipt", "there")
	for {
		f := next(s.t, c)
		if f.Command == "RECEIPT" {
			write(s.t, c, "SEND", "destination", "/topic/kept", "persistent", "false", "end", "true")
			continue
		}
		if f.Has("end") {
			return numbers
		}
		numbers = append(numbers, s.number(f, "number"))
	}
}

func (s *state) number(f *client.Frame, header string) int {
	s.t.Helper()
	n, err := strconv.Atoi(f.Header(header))
	if err != nil {
		s.t.Fatalf("%s: %v", f, err)
	}
	return n
}
