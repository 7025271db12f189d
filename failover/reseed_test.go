package failover

import (
	"context"
	"testing"
	"time"
)

// The register has lost everything, and begins with revision 1 again (R9): an operator has the master write it anew, and the
// pair is as good as before.
func TestRegisterWrittenAnew(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	for range 3 { // so that revisions and epochs are well above those of a new register
		p.awaitRole(master, Duplex)
		p.awaitRole(1-master, Standby)
		if err := p.nodes[master].Switchover(t.Context()); err != nil {
			t.Fatal(err)
		}
		master = p.awaitMaster()
	}
	p.awaitRole(master, Duplex)
	p.register.empty()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = p.nodes[master].Promote(ctx, true) // it begins a new term meanwhile
	p.awaitMaster()
	p.awaitRole(master, Duplex)
	p.awaitRole(1-master, Standby)
	for i, n := range p.nodes {
		if s := n.Status(); len(s.Alarms) > 0 {
			t.Errorf("node %d has the alarms %v", i, s.Alarms)
		}
	}
	close(p.hold[master])
	if err := p.stop[master](); err != nil {
		t.Fatal(err)
	}
	if got := p.awaitMaster(); got != 1-master {
		t.Fatalf("node %d serves, and is gone", got)
	}
}

// empty is what an arbiter has after its disk is lost.
func (r *plainRegister) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = Reading{}
	close(r.changed)
	r.changed = make(chan struct{})
}
