package failover

import (
	"context"
	"slices"
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

// A lateRegister tells its watcher what a test wants it to have seen.
type lateRegister struct {
	*plainRegister
	watcher chan func(Reading, error)
}

func (r *lateRegister) Watch(ctx context.Context, fn func(Reading, error)) {
	select {
	case r.watcher <- fn:
	default: // of a later term
	}
	r.plainRegister.Watch(ctx, fn)
}

// What a watch or a read tells may have been on its way when the answer to a CAS overtook it: no alarm is due to that. One that is
// read once more, and is as old, tells of a register that was put back.
func TestLateReadingIsNotSuspicious(t *testing.T) {
	t.Parallel()
	var registers []*lateRegister
	p := newTwosome(t, func(o *NodeOptions) {
		r := &lateRegister{o.Register.(*plainRegister), make(chan func(Reading, error), 1)}
		registers, o.Register = append(registers, r), r
	})
	master := p.awaitMaster()
	p.awaitDuplex(master)
	p.awaitRole(1-master, Standby)
	tell := <-registers[master].watcher
	now, _ := p.register.look()
	old := now
	old.Revision--
	for _, put := range []bool{false, true} {
		if put {
			p.register.put(old)
		}
		tell(old, nil)
		if got := slices.Contains(p.nodes[master].Status().Alarms, AlarmArbiterSuspect.String()); got != put {
			t.Errorf("put back: %t; ARBITER_SUSPECT: %t", put, got)
		}
	}
}

// put writes what no node has asked for, and tells nobody.
func (r *plainRegister) put(reading Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = reading
}

// empty is what an arbiter has after its disk is lost.
func (r *plainRegister) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = Reading{}
	close(r.changed)
	r.changed = make(chan struct{})
}
