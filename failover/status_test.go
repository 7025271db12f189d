package failover

import (
	"strings"
	"testing"
	"time"

	"baton/journal/memfs"
)

// printed is what a line of the status says; empty: there is none.
func printed(t *testing.T, s Status, name string) string {
	t.Helper()
	var b strings.Builder
	if err := s.Print(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if says, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(says)
		}
	}
	return ""
}

// Who is in sync the register alone says: a node that has not heard it since it was started does not call that nobody.
func TestStatusOfWhoIsInSync(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		register Register
		known    bool
		want     string
	}{
		{"the register is away", muteRegister{}, false, "not known, for the register has not said it"},
		{"it was never written", &plainRegister{changed: make(chan struct{})}, true, "none"},
		{"it says who", &plainRegister{changed: make(chan struct{}), now: Reading{Revision: 7, Found: true, Record: Record{
			Cluster: ID{1}, Epoch: 3, Master: "b", InSync: []Member{{"b", ID{1}}, {"a", ID{2}}},
		}}}, true, "b, a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLone(t, c.register, func(o *NodeOptions) { o.Terms.Bootstrap = time.Hour })
			s := l.Status()
			for late := time.Now().Add(30 * time.Second); s.InSyncKnown != c.known && time.Now().Before(late); s = l.Status() {
				time.Sleep(time.Millisecond) // nothing tells of it
			}
			if got := printed(t, s, "in sync"); got != c.want || s.InSyncKnown != c.known {
				t.Errorf("in sync: %q, known: %t", got, s.InSyncKnown)
			}
			if err := l.Promote(t.Context(), false); err == nil || !strings.Contains(err.Error(), "in sync: "+c.want) {
				t.Errorf("who asks what a promotion would lose is told %v", err)
			}
		})
	}
}

// What a standby lacks of before its master was started is not known to the octet, and not said so.
func TestStatusOfAnEstimate(t *testing.T) {
	t.Parallel()
	before := newNode(t, "a")
	before.append(1, 50, 300)
	if lag := before.log.Lag(); lag.Records != 50 || lag.About {
		t.Errorf("the lag is %+v, all of this process", lag)
	}
	before.flush()
	l := newLone(t, &plainRegister{changed: make(chan struct{})}, func(o *NodeOptions) { o.Journal.FS = before.disk.CrashClone(memfs.All) })
	<-l.broker.serves
	s := l.Status()
	if s.Peer.LagMessages != 51 || !s.Peer.LagAbout {
		t.Errorf("a standby lacks %+v, most of it of the process before", s.Peer)
	}
	s.Peer.Node, s.Peer.Linked, s.Peer.LagBytes = "b", true, 15000
	for about, want := range map[bool]string{false: ", lacks 51 records, 15000 octets", true: ", lacks 51 records, about 15000 octets"} {
		if s.Peer.LagAbout = about; !strings.HasSuffix(printed(t, s, "peer"), want) {
			t.Errorf("it says %q, want %q", printed(t, s, "peer"), want)
		}
	}
}
