package integration

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"baton/network"
)

// statusText is what baton network status prints of a member.
func (f *fleet) statusText(t *testing.T, i int, flags ...string) string {
	t.Helper()
	out, err := exec.CommandContext(within(t), binary, append([]string{"network", "status", "--data", f.members[i].options.Data}, flags...)...).Output()
	must(t, "baton network status", err)
	return string(out)
}

// baton network status says of a peer what has passed, since when it is there, and when it is not there any more, since when and why.
func TestNetworkStatus(t *testing.T) {
	t.Parallel()
	const queue = "/queue/counted"
	f := newFleet(t, 2, "BATON_NETWORK_SILENCE=1s")
	c := f.consumer(t, 1, queue)
	sent := numbered("n", 0, 100)
	send(t, f.connect(t, 0), queue, sent)
	once(t, bodies(takeAll(t, c, 100)), sent)
	f.awaitRest(t, queue, nil, nil)

	status := func(i int) (s network.Status) {
		must(t, "JSON", json.Unmarshal([]byte(f.statusText(t, i, "--json")), &s))
		return s
	}
	a, b := status(0).Peers[0], status(1).Peers[0]
	if got, want := a.Counts.Forwarded, int64(100); got != want || a.Counts.ForwardedOctets < 100*7 || a.Counts.Received != 0 {
		t.Errorf("a has counted %+v", a.Counts)
	}
	if got, want := b.Counts.Received, int64(100); got != want || b.Counts.ReceivedOctets < 100*7 || b.Counts.Forwarded != 0 {
		t.Errorf("b has counted %+v", b.Counts)
	}
	if !a.Known || time.Since(a.Since) > time.Minute || time.Since(a.Learned) > time.Minute || len(a.Links) != 1 || a.Links[0].State != network.LinkOpen {
		t.Errorf("a says of b %+v", a)
	}
	text := f.statusText(t, 0)
	for _, want := range []string{"b, there since", "demand known since", "100 messages (", "/queue/counted (open): 1 consumers, room for"} {
		if !strings.Contains(text, want) {
			t.Errorf("a does not say %q:\n%s", want, text)
		}
	}

	f.kill(1)
	f.await(0, "without b", func(s memberStatus) bool { return len(s.Peers) == 0 })
	lost := status(0).Lost
	if len(lost) != 1 || lost[0].Member != "b" || lost[0].Why != "nothing was heard of it for 1s" || lost[0].Counts.Forwarded != 100 {
		t.Errorf("a has lost %+v", lost)
	}
	f.restart(1)
	f.awaitPeers()
	if again := status(0); len(again.Lost) != 0 || again.Peers[0].Counts.Forwarded != 100 || !again.Peers[0].Since.After(a.Since) {
		t.Errorf("with b again, the status is %+v", again)
	}
}
