package failover

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// A life is a random life of a pair.
type life struct {
	t        *testing.T
	rand     *rand.Rand
	master   *node
	standby  *node
	epoch    uint32
	link     *connection // nil: none
	required bool
	safe     journal.Position // committed: it must stay on whoever leads
	kept     uint64           // no Trim went beyond
}

func TestPairsStayEqual(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			p := &life{t: t, rand: rand.New(rand.NewPCG(seed, 7)), master: newNode(t, "a"), standby: newNode(t, "b"), kept: 1}
			if chance(p.rand, 30) {
				p.master.retain, p.standby.retain = 60<<10, 60<<10 // a snapshot is needed now and then
			}
			p.takeOver(p.master, p.standby)
			for range 120 {
				p.act()
			}
			p.hangUp()
			join(t, p.master, p.standby, p.epoch)
			checkEqual(t, p.master, p.standby, p.kept)
			p.checkSafe()
		})
	}
}

func (p *life) act() {
	switch n := p.rand.IntN(100); {
	case n < 40:
		p.write()
	case n < 70:
		p.pump(p.rand.IntN(8))
	case n < 78:
		p.hangUp()
	case n < 82:
		p.trim()
	case n < 85:
		p.master.log.Clean(everyThird{p.master.log.Last()})
	case n < 88:
		p.hangUp()
		p.standby.crash(memfs.Random(p.rand.Uint64()))
	case n < 91:
		p.hangUp()
		p.master.crash(memfs.Random(p.rand.Uint64()))
		p.takeOver(p.master, p.standby)
	case n < 94 && p.standby.log.End().Seq >= p.safe.Seq && p.standby.log.Pair().Member():
		p.hangUp()
		p.takeOver(p.standby, p.master)
	case n < 97:
		p.require(!p.required)
	default:
		p.master.log.Sync()
	}
}

// write appends; what a required standby cannot take is not waited for here.
func (p *life) write() {
	size := p.rand.IntN(2000)
	if chance(p.rand, 5) {
		size = 20 << 10
	}
	count := 1 + p.rand.IntN(4)
	if p.required && p.buffered()+count*(size+100) > 64<<10 {
		return
	}
	p.master.append(p.epoch, count, size)
	if chance(p.rand, 60) {
		p.master.log.Sync()
	}
}

func (p *life) buffered() int {
	b := p.master.log.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

func (p *life) require(required bool) {
	p.required = required
	p.master.log.Require(required)
}

func (p *life) pump(frames int) {
	if p.link == nil {
		p.link = connect(p.master, p.standby, p.epoch)
	}
	for range frames {
		if _, err := p.link.step(); err != nil {
			if !errors.Is(err, ErrGap) && !errors.Is(err, ErrReplaced) {
				p.t.Fatal(err)
			}
			p.hangUp()
			return
		}
	}
	p.commit()
}

// commit notes what both have made durable.
func (p *life) commit() {
	seq := min(p.link.flushed, p.master.log.Durable())
	if at, err := p.master.log.j().PositionAt(seq); err == nil && seq > p.safe.Seq {
		p.safe = at
	}
}

func (p *life) hangUp() {
	if p.link != nil {
		p.link.close()
		p.link = nil
	}
}

// trim asks for more than may go yet: some of what it was decided on is not committed.
func (p *life) trim() {
	before := p.master.log.Last() * uint64(p.rand.IntN(100)) / 100
	p.master.log.Trim(before)
	p.kept = max(p.kept, before)
}

func (p *life) takeOver(next, other *node) {
	p.checkSafeOn(next)
	if p.master != nil {
		p.require(false)
	}
	p.epoch++
	p.master, p.standby = next, other
	p.master.lead(p.epoch)
}

func (p *life) checkSafe() {
	p.checkSafeOn(p.master)
	p.checkSafeOn(p.standby)
}

// checkSafeOn checks that what was committed is a part of a node's history.
func (p *life) checkSafeOn(n *node) {
	p.t.Helper()
	n.flush()
	at, err := n.log.j().PositionAt(p.safe.Seq)
	if errors.Is(err, journal.ErrNotFound) && p.safe.Seq < max(p.kept, n.log.j().Unbroken()+1) {
		return
	}
	if err != nil || at != p.safe {
		p.t.Fatalf("node %s: %+v was committed; there it has %+v (%v)", n.name, p.safe, at, err)
	}
}

// everyThird needs a third of the records.
type everyThird struct{ asOf uint64 }

func (c everyThird) AsOf() uint64                   { return c.asOf }
func (c everyThird) Bytes(first, last uint64) int64 { return int64(last-first+1) * 300 }
func (c everyThird) Keep(r journal.Record, _ func(uint64) bool) bool {
	return r.Seq%3 == 0 || r.Seq > c.asOf
}

// filled is a master whose log needs a snapshot for who begins from nothing: its beginning was trimmed.
func filled(t *testing.T) *node {
	t.Helper()
	n := newNode(t, "a")
	n.retain = 1
	n.crash(memfs.All)
	n.lead(1)
	n.fill()
	return n
}

// fill gives a master more than it retains for a standby.
func (n *node) fill() {
	n.t.Helper()
	for range 200 {
		n.append(1, 2, 900)
	}
	n.flush()
	n.log.Commit(n.log.Last())
	n.log.Trim(150)
	n.append(1, 1, 10)
	n.flush()
	n.log.Commit(n.log.Last())
	if n.log.j().First() == 1 {
		n.t.Fatal("nothing was trimmed")
	}
}

// After a short interruption a standby may have more on its disk than its master, which has appended it: it goes on there, when the
// master can tell.
func TestStandbyIsAheadOnItsDisk(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	release := sync.OnceFunc(hold(master.disk))
	defer release()
	master.append(3, 1, 10)
	had := master.log.Last()
	for standby.log.Last() < had {
		master.log.Sync()
		if _, err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	c.close()
	master.append(3, 1, 10)
	c = reconnect(master, standby, 3)
	defer c.close()
	if frame, err := c.sender.Next(); frame != nil || err != nil {
		t.Fatalf("it plans what it cannot know: %+v, %v", c.sender.Plan(), err)
	}
	release()
	master.flush()
	if err := c.settle(); err != nil {
		t.Fatal(err)
	}
	if p := c.sender.Plan(); p.Snapshot || p.Cut || p.From.Seq != had {
		t.Errorf("planned %+v, want that it goes on from seq %d", p, had)
	}
	checkEqual(t, master, standby, master.log.Last())
}

func TestSnapshotCutAnywhere(t *testing.T) {
	t.Parallel()
	master := filled(t)
	for frames := 0; ; frames++ {
		standby := newNode(t, "b")
		c := connect(master, standby, 1)
		if !c.sender.Plan().Snapshot {
			t.Fatalf("planned %+v", c.sender.Plan())
		}
		for range frames {
			if _, err := c.step(); err != nil && !errors.Is(err, ErrReplaced) {
				t.Fatal(err)
			}
		}
		whole := standby.log.Pair().Member()
		c.close()
		standby.crash(memfs.Random(uint64(frames)))
		if got := standby.log.End().Seq; !whole && got != 0 {
			t.Fatalf("after %d frames, the snapshot not being whole, the log ends with seq %d", frames, got)
		}
		join(t, master, standby, 1)
		checkEqual(t, master, standby, 200)
		if whole {
			return
		}
	}
}

// What a standby has that was away for too long is all in the snapshot: nothing is kept aside.
func TestSnapshotOfAStandbyThatIsBehind(t *testing.T) {
	t.Parallel()
	master, standby := newNode(t, "a"), newNode(t, "b")
	master.retain = 1
	master.crash(memfs.All)
	master.lead(1)
	join(t, master, standby, 1)
	standby.flush()
	master.fill()
	c := connect(master, standby, 1)
	snapshot := c.sender.Plan().Snapshot
	c.close()
	if !snapshot {
		t.Fatalf("planned %+v", c.sender.Plan())
	}
	join(t, master, standby, 1)
	checkEqual(t, master, standby, 200)
	if names := strings.Join(standby.disk.Names(), "\n"); strings.Contains(names, divergentPrefix) {
		t.Errorf("kept aside is what the master has: %s", names)
	}
}

// A standby that asks for a copy keeps its own journal only where that has what the master lacks.
func TestResyncKeepsWhatTheMasterLacks(t *testing.T) {
	t.Parallel()
	for _, more := range []bool{false, true} {
		master, standby := newNode(t, "a"), newNode(t, "b")
		master.lead(1)
		master.append(1, 3, 100)
		join(t, master, standby, 1)
		if more {
			standby.append(1, 1, 100)
		} else {
			master.append(1, 1, 100)
		}
		master.flush()
		standby.flush()
		before := standby.log.ID()
		standby.log.Resync()
		join(t, master, standby, 1)
		checkEqual(t, master, standby, 1)
		if standby.log.ID() == before {
			t.Error("it has no copy")
		}
		if kept := strings.Contains(strings.Join(standby.disk.Names(), "\n"), divergentPrefix); kept != more {
			t.Errorf("has it what the master lacks: %t; kept aside: %t", more, kept)
		}
	}
}

// What the master has not made durable yet is in no snapshot of it: the standby, which has, keeps it.
func TestResyncKeepsWhatIsNotInTheSnapshot(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	release := hold(master.disk)
	master.append(3, 1, 100)
	if err := c.receiver.Accept(c.next(t)); err != nil {
		t.Fatal(err)
	}
	standby.flush()
	c.close()
	standby.log.Resync()
	again := reconnect(master, standby, 3)
	err := again.settle()
	again.close()
	release()
	if plan := again.sender.Plan(); !errors.Is(err, ErrReplaced) || !plan.Covered || plan.End.Seq <= standby.log.Last() {
		t.Fatalf("%v after %+v; the log ends with seq %d", err, plan, standby.log.Last())
	}
	if !strings.Contains(strings.Join(standby.disk.Names(), "\n"), divergentPrefix) {
		t.Errorf("what the standby alone has is gone: %v", standby.disk.Names())
	}
}

// A crash between any two calls of the file system, while a snapshot takes the place of a journal that has what the pair
// does not.
func TestReplaceCrashAnywhere(t *testing.T) {
	t.Parallel()
	master := filled(t)
	for calls := 1; ; calls++ {
		standby := newNode(t, "b")
		standby.append(1, 3, 100)
		standby.flush()
		standby.log.Resync()
		c := connect(master, standby, 1)
		left := calls
		var crashed *memfs.FS
		var one sync.Mutex // the journal's goroutines call at the same time
		standby.disk.OnCall(func(call memfs.Call) error {
			one.Lock()
			defer one.Unlock()
			if left--; left == 0 && call.Writes() {
				crashed = standby.disk.CrashClone(memfs.Random(uint64(calls)))
			} else if left == 0 {
				left++
			}
			return nil
		})
		if err := c.settle(); !errors.Is(err, ErrReplaced) {
			t.Fatal(err)
		}
		standby.disk.OnCall(nil)
		c.close()
		if crashed == nil {
			return
		}
		_ = standby.log.Close()
		standby.disk = crashed
		standby.open()
		switch pair, last := standby.log.Pair(), standby.log.Last(); {
		case last == 0:
			t.Fatalf("crash before call %d: the journal is empty", calls)
		case !pair.Member() && last != 3:
			t.Fatalf("crash before call %d: no member, and the log ends with seq %d", calls, last)
		case pair.Member() && !standby.log.Ours():
			t.Fatalf("crash before call %d: the pair file speaks of another journal", calls)
		}
		standby.log.Resync()
		join(t, master, standby, 1)
		checkEqual(t, master, standby, 200)
		if !strings.Contains(strings.Join(standby.disk.Names(), "\n"), "data/divergent-1-3/") {
			t.Fatalf("crash before call %d: what the standby had is gone: %v", calls, standby.disk.Names())
		}
	}
}

// What the master writes while it sends a snapshot is kept, whatever else would be: or the next connection would bring another
// snapshot, and so on.
func TestSnapshotIsNotInVain(t *testing.T) {
	t.Parallel()
	master, standby := filled(t), newNode(t, "b")
	write := func(batches int) {
		t.Helper()
		for range batches {
			master.append(1, 2, 900)
		}
		master.flush()
		master.log.Commit(master.log.Last())
		master.log.Trim(master.log.Last())
		firstAfter(master)
	}
	c := connect(master, standby, 1)
	if !c.sender.Plan().Snapshot {
		t.Fatalf("planned %+v", c.sender.Plan())
	}
	for range 2 {
		if _, err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	write(60)
	if err := c.settle(); !errors.Is(err, ErrReplaced) {
		t.Fatal(err)
	}
	c.close()
	write(40)
	c = connect(master, standby, 1)
	defer c.close()
	if plan := c.sender.Plan(); plan.Snapshot || plan.Cut {
		t.Fatalf("planned %+v after a snapshot", plan)
	}
	if err := c.settle(); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, master, standby, master.log.j().First())
	master.flush()
	master.log.Commit(master.log.Last())
	master.log.Trim(master.log.Last())
	if first := firstAfter(master); first+200 < master.log.Last() {
		t.Errorf("seq %d of %d is kept for a standby that has everything", first, master.log.Last())
	}
}
