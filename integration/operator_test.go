package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"

	"baton/failover/client"
)

// wantTool runs a command of baton failover, and wants its exit code and what it says.
func (p *pair) wantTool(command string, node int, code int, says string, flags ...string) {
	p.t.Helper()
	out, err := p.tool(command, node, flags...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else if err != nil {
		p.t.Fatal(err)
	}
	if got != code || !strings.Contains(out, says) {
		p.t.Errorf("baton failover %s at node %d: exit code %d, want %d; it says %q, want %q", command, node, got, code, out, says)
	}
}

// What an operator asks of a pair that is well, and what he is told when it cannot be done.
func TestPairOperator(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	master := p.awaitDuplex()
	standby := 1 - master
	p.awaitRole(standby, "standby")
	name := func(node int) string { return p.nodes[node].options.Data[len(p.nodes[node].options.Data)-1:] }

	p.wantTool("status", master, 0, "in sync")
	p.wantTool("status", standby, 0, "master    "+name(master)+" at "+p.nodes[master].Addr)
	p.wantTool("status", standby, 2, "takes no argument", "please")
	p.wantTool("status", standby, 1, "no node of a pair answers", "--data", t.TempDir())
	p.wantTool("switchover", standby, 1, "this node is standby: a switchover begins at a master whose standby is in sync")
	p.wantTool("promote", standby, 1, "nothing was done")
	p.wantTool("resync", master, 1, "this node is the master: its journal is the one that counts")
	p.wantHealth(master, "", "duplex", http.StatusOK)
	p.wantHealth(standby, "", "standby", http.StatusServiceUnavailable)
	p.wantHealth(standby, "?role=any", "standby", http.StatusOK)

	c := dialFailover(t, p.url(), client.Options{})
	must(t, "send", c.Send(within(t), "/queue/a", "", []byte("one")))
	before, _ := p.status(standby)
	p.wantTool("resync", standby, 0, "this node gets a copy of that journal in the place of its own")
	p.await("is in sync with another journal", func(s pairStatus) bool { return s.Role == "standby" && s.Journal != before.Journal })
	if aside := p.aside(standby); len(aside) > 0 {
		t.Errorf("kept is what the master has: %v", aside)
	}
	p.wantTool("status", p.awaitDuplex(), 0, "peer      "+name(standby)+", connected")
	p.wantTool("switchover", master, 0, "the standby is the master now")
	if now := p.awaitDuplex(); now != standby {
		t.Errorf("node %d serves after a switchover to node %d", now, standby)
	}
	wantMessage(t, c, "/queue/a", "one")

	p.nodes[master].Kill()
	p.wantTool("status", master, 1, "no node of a pair answers")
	p.wantTool("switchover", master, 1, "no node of a pair answers")
	p.await("is alone", func(s pairStatus) bool { return s.Role == "solo" && s.Serving })
	p.wantTool("status", standby, 0, "SOLO")
	p.wantTool("switchover", standby, 1, "this node is solo")
	p.wantHealth(standby, "", "solo", http.StatusOK)
}

// awaitRole waits until a node says that it has a role.
func (p *pair) awaitRole(node int, role string) {
	p.t.Helper()
	for ctx := within(p.t); ctx.Err() == nil; {
		if got, _ := p.role(node, ""); got == role {
			return
		}
		time.Sleep(askEvery)
	}
	p.t.Fatalf("node %d has not become %s", node, role)
}

func (p *pair) wantHealth(node int, query, role string, status int) {
	p.t.Helper()
	if got, code := p.role(node, query); got != role || code != status {
		p.t.Errorf("health of node %d%s: %s, %d; want %s, %d", node, query, got, code, role, status)
	}
}

// awaitAside waits until a node has put its journal, or a part of it, aside, and says where.
func (p *pair) awaitAside(node int) (dir string) {
	p.t.Helper()
	for ctx := within(p.t); ctx.Err() == nil; {
		if found := p.aside(node); len(found) > 0 {
			return found[0]
		}
		time.Sleep(askEvery)
	}
	p.t.Fatalf("node %d has put nothing aside", node)
	return ""
}

// aside are the directories of what a node has put aside.
func (p *pair) aside(node int) []string {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(p.nodes[node].options.Data, "divergent-*"))
	must(p.t, "look", err)
	return found
}

func wantMessage(t *testing.T, c *client.Client, queue, body string) {
	t.Helper()
	s, err := c.Subscribe(within(t), queue, stomp.AckAuto)
	must(t, "subscribe", err)
	m, err := s.Receive(within(t))
	must(t, "receive", err)
	if string(m.Body) != body {
		t.Errorf("received %q, want %q", m.Body, body)
	}
	must(t, "unsubscribe", s.Unsubscribe(within(t)))
}

// A master that was alone is gone for good, and an operator accepts the loss: the other node serves and says that it was forced.
// When the master comes back after all, it follows, and what only it had is kept aside and can be read.
func TestPairPromote(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	master := p.awaitDuplex()
	behind := 1 - master
	c := dialFailover(t, p.url(), client.Options{})
	must(t, "send", c.Send(within(t), "/queue/a", "", []byte("on both")))
	p.nodes[behind].Kill()
	p.await("is alone", func(s pairStatus) bool { return s.Role == "solo" && s.Serving })
	for _, body := range []string{"alone 1", "alone 2", "alone 3"} {
		must(t, "send", c.Send(within(t), "/queue/a", "", []byte(body)))
	}
	must(t, "SIGTERM", p.nodes[master].Terminate(within(t)))
	p.start(behind)
	p.await("knows the register", func(s pairStatus) bool { return len(s.InSync) == 1 })
	p.wantHealth(behind, "?role=any", "idle", http.StatusServiceUnavailable)
	p.wantTool("promote", behind, 1, "nothing was done")
	p.wantHealth(behind, "", "idle", http.StatusServiceUnavailable)

	p.wantTool("promote", behind, 0, "this node is the master now", "--accept-loss")
	p.wantTool("status", behind, 0, "forced")
	wantMessage(t, c, "/queue/a", "on both")
	must(t, "send", c.Send(within(t), "/queue/a", "", []byte("anew")))
	p.start(master)
	aside := p.awaitAside(master)
	if now := p.awaitDuplex(); now != behind {
		t.Errorf("node %d serves", now)
	}
	wantMessage(t, c, "/queue/a", "anew")

	var status struct{ Alarms, Divergent []string }
	out, err := p.tool("status", master, "--json")
	must(t, "status", err)
	must(t, "read the status", json.Unmarshal([]byte(out), &status))
	if strings.Join(status.Alarms, " ") != "DIVERGENT_KEPT" || len(status.Divergent) != 1 || status.Divergent[0] != filepath.Base(aside) {
		t.Errorf("the status says %+v, and there is %s", status, aside)
	}
	dump, err := exec.CommandContext(within(t), binary, "journal", "dump", "--data", aside).CombinedOutput()
	must(t, "dump", err)
	if stored := strings.Count(string(dump), "/queue/a"); stored < 3 {
		t.Errorf("%d messages are kept aside, want 3:\n%s", stored, dump)
	}
	must(t, "remove", os.RemoveAll(aside))
	p.wantTool("status", master, 0, "alarms    none")
}
