package fabric_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/network/fabric"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const (
	secret   = "swordfish-swordfish"
	patience = 30 * time.Second // only what is broken takes so long
)

// member is a fabric at work, with its log.
type member struct {
	*fabric.Fabric
	logs *observer.ObservedLogs
}

func open(t *testing.T, o fabric.Options) *member {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	o.Logger = zap.New(core)
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	f, err := fabric.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &member{f, logs}
}

func (m *member) at() string { return m.Addr().String() }

// named are the routes that are connected, by the names of their members.
func (m *member) named() []string {
	var names []string
	for _, r := range m.Routes() {
		if r.Connected {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// until waits for what a user can see from outside.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// listen subscribes and makes sure that the server of m knows.
func (m *member) listen(t *testing.T, subject string) *nats.Subscription {
	t.Helper()
	s, err := m.Conn().SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

// answers says whether a request at m is answered by who listens elsewhere.
func (m *member) answers(subject string) bool {
	_, err := m.Conn().Request(subject, nil, 100*time.Millisecond)
	return err == nil
}

func (m *member) echo(t *testing.T, subject string) {
	t.Helper()
	if _, err := m.Conn().Subscribe(subject, func(msg *nats.Msg) { msg.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
}

func (m *member) logged(text string) bool {
	return slices.ContainsFunc(m.logs.All(), func(e observer.LoggedEntry) bool {
		return e.Level >= zap.InfoLevel && strings.Contains(line(e), text)
	})
}

func line(e observer.LoggedEntry) string {
	var out strings.Builder
	out.WriteString(e.Message)
	for key, value := range e.ContextMap() {
		out.WriteString(" " + key + "=")
		fmt.Fprint(&out, value)
	}
	return out.String()
}

// A route to one broker is enough: those of a line find one another, and a message gets from one end to the other.
func TestLineBecomesAMesh(t *testing.T) {
	t.Parallel()
	a := open(t, fabric.Options{Name: "a", Secret: secret})
	b := open(t, fabric.Options{Name: "b", Secret: secret, Routes: []string{a.at()}})
	c := open(t, fabric.Options{Name: "c", Secret: secret, Routes: []string{b.at()}})
	until(t, "a mesh", func() bool {
		return slices.Equal(a.named(), []string{"b", "c"}) && slices.Equal(b.named(), []string{"a", "c"}) && slices.Equal(c.named(), []string{"a", "b"})
	})
	if at := a.ClientAddr(); at != nil {
		t.Errorf("clients of NATS can connect at %s", at)
	}
	c.echo(t, "to.c")
	until(t, "an answer of c to a", func() bool { return a.answers("to.c") })
	until(t, "the news", func() bool { return a.logged("connected to another broker of the network") && a.logged("member=c") })
	got := c.Routes()[0]
	if !got.Configured || got.Address != b.at() || got.Name != "b" || time.Since(got.Since) > patience {
		t.Errorf("c says of its route %+v", got)
	}
	if s := b.listen(t, "large"); true {
		body := make([]byte, 8<<20)
		until(t, "the largest message", func() bool {
			if err := a.Conn().Publish("large", body); err != nil {
				t.Fatal(err)
			}
			m, err := s.NextMsg(time.Second)
			return err == nil && len(m.Data) == len(body)
		})
	}
}

// Both nodes of a pair are one member, and each has its own server.
func TestTwoNodesOfOneMember(t *testing.T) {
	t.Parallel()
	a := open(t, fabric.Options{Name: "pair", Secret: secret})
	b := open(t, fabric.Options{Name: "pair", Secret: secret, Routes: []string{a.at()}})
	until(t, "a route", func() bool {
		return slices.Equal(a.named(), []string{"pair"}) && slices.Equal(b.named(), []string{"pair"})
	})
}

// Two that have routes to each other show both as connected, whichever of the two connections stays.
func TestRoutesInBothDirections(t *testing.T) {
	t.Parallel()
	places := []string{freeAddress(t), freeAddress(t)}
	a := open(t, fabric.Options{Name: "a", Secret: secret, Listen: places[0], Routes: []string{places[1]}})
	b := open(t, fabric.Options{Name: "b", Secret: secret, Listen: places[1], Routes: []string{places[0]}})
	until(t, "one route each", func() bool {
		ra, rb := a.Routes(), b.Routes()
		return len(ra) == 1 && len(rb) == 1 && ra[0].Connected && rb[0].Connected && ra[0].Name == "b" && rb[0].Name == "a"
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestWrongSecretIsRefused(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]string{"another": "another-secret-of-theirs", "none": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := open(t, fabric.Options{Name: "a", Secret: secret})
			b := open(t, fabric.Options{Name: "b", Secret: other, Routes: []string{a.at()}})
			until(t, "a log at both", func() bool { return a.logged("authentication error") && b.logged("Authorization Violation") })
			until(t, "the reason at the route", func() bool { return strings.Contains(b.Routes()[0].Error, "Authorization Violation") })
			if a.answers("to.b") || len(a.named()) > 0 || len(b.named()) > 0 {
				t.Error("they are connected")
			}
			for _, e := range append(a.logs.All(), b.logs.All()...) {
				if text := line(e); strings.Contains(text, secret) || other != "" && strings.Contains(text, other) {
					t.Errorf("a secret shows: %s", text)
				}
			}
		})
	}
}

// Who dials in vain says so once, and not each second.
func TestFailuresAreNotRepeated(t *testing.T) {
	t.Parallel()
	a := open(t, fabric.Options{Name: "a", Secret: secret})
	b := open(t, fabric.Options{Name: "b", Secret: "another-secret-of-theirs", Routes: []string{a.at()}})
	attempts := func(m *member, level func(observer.LoggedEntry) bool) int {
		return m.logs.Filter(level).Len()
	}
	until(t, "three attempts", func() bool {
		return attempts(b, func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, "Route connection created") }) >= 3
	})
	for _, m := range []*member{a, b} {
		seen := map[string]int{}
		for _, e := range m.logs.All() {
			if e.Level >= zap.WarnLevel {
				seen[withoutNumbers(e.Message)]++
			}
		}
		for text, n := range seen {
			if n > 1 {
				t.Errorf("said %d times: %s", n, text)
			}
		}
	}
}

func withoutNumbers(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// A member that is away costs nothing, and is there soon after it starts.
func TestPeerComesBack(t *testing.T) {
	t.Parallel()
	place := freeAddress(t)
	started := time.Now()
	a := open(t, fabric.Options{Name: "a", Secret: secret, Routes: []string{place}})
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("to open took %s", took)
	}
	until(t, "the reason", func() bool { return strings.Contains(a.Routes()[0].Error, "refused") })
	if r := a.Routes()[0]; r.Connected || !r.Configured || r.Address != place {
		t.Errorf("nobody is there, and the route is %+v", r)
	}
	for range 2 {
		b := open(t, fabric.Options{Name: "b", Secret: secret, Listen: place})
		b.echo(t, "to.b")
		started := time.Now()
		until(t, "an answer", func() bool { return a.answers("to.b") })
		if took := time.Since(started); took > 2500*time.Millisecond {
			t.Errorf("the route took %s, want 2s", took)
		}
		until(t, "the route", func() bool { r := a.Routes()[0]; return r.Connected && r.Name == "b" && r.Error == "" })
		b.Close()
		until(t, "the loss", func() bool { return !a.Routes()[0].Connected })
	}
	until(t, "the news", func() bool { return a.logged("lost another broker of the network") })
}

// A peer that takes nothing any more and closes nothing is left.
func TestSilentPeerIsLeft(t *testing.T) {
	t.Parallel()
	a := open(t, fabric.Options{Name: "a", Secret: secret})
	way := newWay(t, a.at())
	b := open(t, fabric.Options{Name: "b", Secret: secret, Routes: []string{way.address()}})
	until(t, "a route", func() bool { return len(a.named()) == 1 && len(b.named()) == 1 })
	b.listen(t, "flood")
	way.silence()
	silent := time.Now()
	until(t, "both to see it", func() bool { return len(a.named()) == 0 && len(b.named()) == 0 })
	if took := time.Since(silent); took > 4*time.Second {
		t.Errorf("took %s, want 2s", took)
	}
}

func TestOptionsThatAreWrong(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, o := range map[string]fabric.Options{
		"no name":            {Listen: "127.0.0.1:0"},
		"missing port":       {Name: "a", Listen: "127.0.0.1"},
		"address already in": {Name: "a", Listen: taken.Addr().String()},
		"no such file":       {Name: "a", Listen: "127.0.0.1:0", TLS: fabric.TLS{CA: "missing.pem"}},
	} {
		if f, err := fabric.Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
			if f != nil {
				f.Close()
			}
		}
	}
}
