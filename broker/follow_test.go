package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal"
	"baton/journal/memfs"
)

// A replica is a log in memory that is filled from a history. It gives back what it
// may at once, and holds that nothing is asked of it that could not be committed.
type replica struct {
	t  *testing.T
	id byte

	mu        sync.Mutex
	records   []journal.Record // those that are there
	last      uint64
	committed uint64
	floor     uint64 // records before it were trimmed
	from      uint64 // of the checkpoint
	upto      uint64
	parts     [][]byte
	written   int           // checkpoints
	pause     time.Duration // after each part of one
	reads     []uint64      // where readings began
	durable   func(uint64)  // told by Sync, if not nil
}

func (l *replica) ID() [16]byte { return [16]byte{l.id} }

func (l *replica) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *replica) Read(from uint64, fn func(journal.Record) error) error {
	l.mu.Lock()
	l.reads = append(l.reads, from)
	records := slices.Clone(l.records)
	if from != 0 && from < l.floor {
		l.t.Errorf("the log is read from %d on, and was trimmed up to %d", from, l.floor)
	}
	l.mu.Unlock()
	for _, r := range records {
		if r.Seq < from {
			continue
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

func (l *replica) Append(records []journal.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		r.Body, r.Head = slices.Concat(r.Head, r.Body), nil
		l.records, l.last = append(l.records, r), r.Seq
	}
	return nil
}

func (l *replica) Sync() {
	if l.durable != nil {
		l.durable(l.Last())
	}
}

// safe holds that what is known up to seq is committed.
func (l *replica) safe(what string, seq uint64) {
	if seq > l.committed && l.durable == nil {
		l.t.Errorf("%s goes by entry %d, and %d is committed", what, seq, l.committed)
	}
}

// limit is the newest entry that may be given back.
func (l *replica) limit() uint64 {
	if l.parts == nil {
		return l.last
	}
	return l.from
}

func (l *replica) Trim(before uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.safe("Trim", before-1)
	l.floor = max(l.floor, min(before, l.limit()+1))
	l.records = slices.DeleteFunc(l.records, func(r journal.Record) bool { return r.Seq < l.floor })
}

func (l *replica) Clean(c journal.Census) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.safe("Clean", c.AsOf())
	l.clean(c)
}

func (l *replica) clean(c journal.Census) {
	there := map[uint64]bool{}
	for _, r := range l.records {
		there[r.Seq] = true
	}
	l.records = slices.DeleteFunc(l.records, func(r journal.Record) bool {
		there[r.Seq] = r.Seq > min(c.AsOf(), l.limit()) || c.Keep(r, func(seq uint64) bool { return !there[seq] })
		return !there[r.Seq]
	})
}

func (l *replica) Checkpoint() (from, upto uint64, parts [][]byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from, l.upto, l.parts, l.parts != nil
}

func (l *replica) WriteCheckpoint(from, upto uint64, parts func(func([]byte) error) error) error {
	var all [][]byte
	err := parts(func(part []byte) error {
		all = append(all, slices.Clone(part))
		time.Sleep(l.pause)
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	l.safe("WriteCheckpoint", upto)
	l.from, l.upto, l.parts = from, upto, all
	l.written++
	return nil
}

func (l *replica) Get(uint64) (journal.Record, error) { return journal.Record{}, errDisk }
func (l *replica) Room() int64                        { return 1 << 40 }
func (l *replica) Stats() journal.Stats               { return journal.Stats{} }
func (l *replica) Close() error                       { return nil }

func (l *replica) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

// cut takes away what is not committed.
func (l *replica) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = slices.DeleteFunc(l.records, func(r journal.Record) bool { return r.Seq > l.committed })
	l.last = l.committed
}

// A master makes a history of all kinds of destinations.
type master struct {
	t       *testing.T
	random  *rand.Rand
	options destinations.Options
	m       *destinations.Machine
	out     destinations.Effects
	held    []destinations.DeliveryID
	n       int
	history [][]journal.Record // batches
}

func pairOptions(t *testing.T) Options {
	rule := func(pattern string, set func(*destinations.Policy)) destinations.Rule {
		p, err := destinations.Names{MaxBytes: 255}.ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return destinations.Rule{Match: p, Set: set}
	}
	return Options{CheckpointEvery: 200 * time.Millisecond, Machine: destinations.Options{Policies: destinations.NewPolicies([]destinations.Rule{
		rule("/queue/values", func(p *destinations.Policy) { p.LastValue = true }),
		rule("/queue/once", func(p *destinations.Policy) { p.DedupCount, p.DedupWindow = 20, 30*time.Second }),
		rule("/topic/kept", func(p *destinations.Policy) { p.Keep.Messages = 5 }),
	})}}
}

func newMaster(t *testing.T, random *rand.Rand) *master {
	o := New(pairOptions(t)).opts.Machine
	a := &master{t: t, random: random, options: o, m: destinations.New(o)}
	a.begin()
	return a
}

// begin starts the machine and its consumer.
func (a *master) begin() {
	a.held = nil
	a.do(destinations.Command{Op: destinations.Start})
	for i, name := range []string{"plain", "values", "groups", "once", "later", "Consumer.a.VirtualTopic.v", "DLQ.plain"} {
		a.do(destinations.Command{Op: destinations.Subscribe, Session: 1, Subscription: fmt.Sprint(i), Destination: destinations.Queue(name),
			Consumer: &destinations.Consumer{Ack: destinations.AckIndividual, Prefetch: 50}})
	}
	for _, name := range []string{"x", "y"} {
		a.do(destinations.Command{Op: destinations.Subscribe, Session: 1, Subscription: name, Destination: destinations.Topic("t"),
			Consumer: &destinations.Consumer{Ack: destinations.AckIndividual, Prefetch: 50, Durable: destinations.DurableID{Client: "c", Name: name}}})
	}
}

// do carries out a command and keeps its entries as a batch.
func (a *master) do(c destinations.Command) {
	a.t.Helper()
	a.out.Reset()
	if err := a.m.Step(time.Now(), &c, &a.out); err != nil {
		a.t.Fatalf("%+v: %v", c, err)
	}
	var batch []journal.Record
	for i := range a.out.Entries {
		r := recordOf(&a.out.Entries[i], 1)
		r.Body, r.Head = slices.Concat(r.Head, r.Body), nil
		batch = append(batch, r)
	}
	if len(batch) > 0 {
		a.history = append(a.history, batch)
	}
	for _, o := range a.out.Outputs {
		if o.Kind == destinations.Deliver {
			a.held = append(a.held, destinations.DeliveryID{Sub: o.Delivery.Sub, Tag: o.Delivery.Tag})
		}
	}
}

// turn does something.
func (a *master) turn() {
	if next, ok := a.m.NextTick(); ok && !next.After(time.Now()) {
		a.do(destinations.Command{Op: destinations.Tick})
	}
	switch n := a.random.IntN(20); {
	case n < 8:
		o := a.outgoing()
		a.do(destinations.Command{Op: destinations.Send, Session: 2, Destination: o.Destination, Message: o.Message,
			More: &destinations.More{Also: o.Also, Client: "p"}})
	case n < 16:
		a.settle(destinations.Ack, &destinations.More{})
	case n < 18:
		a.settle(destinations.Nack, &destinations.More{Refusal: destinations.Refusal{Reject: n == 17}})
	default:
		tx := fmt.Sprint("tx", a.n)
		a.settle(destinations.Ack, &destinations.More{Tx: tx})
		a.settle(destinations.Ack, &destinations.More{Tx: tx})
		a.do(destinations.Command{Op: destinations.Commit, Session: 1, More: &destinations.More{Tx: tx, Sends: []destinations.Outgoing{a.outgoing(), a.outgoing()}}})
	}
}

func (a *master) settle(op destinations.Op, more *destinations.More) {
	if len(a.held) == 0 {
		return
	}
	i := a.random.IntN(len(a.held))
	d := a.held[i]
	a.held = slices.Delete(a.held, i, i+1)
	a.do(destinations.Command{Op: op, Session: 1, Delivery: d, More: more})
}

func (a *master) outgoing() destinations.Outgoing {
	a.n++
	p := &destinations.Props{Priority: uint8(a.random.IntN(10))}
	o := destinations.Outgoing{Message: &destinations.Message{
		Content: []byte(fmt.Sprint("\n", a.n, strings.Repeat("x", a.random.IntN(300)))), Persistent: true, Props: p,
	}}
	switch a.random.IntN(9) {
	case 0:
		o.Destination, o.Message.Props = destinations.Queue("plain"), nil
	case 1:
		o.Destination, p.Key = destinations.Queue("values"), fmt.Sprint(a.random.IntN(3))
	case 2:
		o.Destination, p.Group = destinations.Queue("groups"), fmt.Sprint(a.random.IntN(3))
	case 3:
		o.Destination, p.DedupID = destinations.Queue("once"), fmt.Sprint(a.random.IntN(100))
	case 4:
		o.Destination, p.Delay, p.Period, p.Repeat = destinations.Queue("later"), 700, 300, 1
	case 5:
		o.Destination, p.TTL = destinations.Queue("expiring"), 900 // nobody takes it
	case 6:
		o.Destination = destinations.Topic("t")
	case 7:
		o.Destination = destinations.Topic("VirtualTopic.v")
	case 8:
		o.Destination = destinations.Topic("kept")
	}
	if a.random.IntN(5) == 0 && o.Message.Props != nil && p.Delay == 0 {
		o.Also = []destinations.Destination{destinations.Topic("t"), destinations.Queue("also")}
		if a.random.IntN(2) == 0 {
			o.Also = o.Also[:1]
		}
	}
	return o
}

// newest is the Seq of the newest entry of the history.
func (a *master) newest() uint64 {
	batch := a.history[len(a.history)-1]
	return batch[len(batch)-1].Seq
}

// fork goes on with another master that knows the history up to a Seq only.
func (a *master) fork(last uint64) {
	a.forget(last)
	a.m = a.replay()
	a.begin()
}

// forget cuts the history off behind a Seq.
func (a *master) forget(after uint64) {
	for a.newest() > after {
		a.history = a.history[:len(a.history)-1]
	}
}

// replay is a machine of the history.
func (a *master) replay() *destinations.Machine {
	m := destinations.New(a.options)
	for _, batch := range a.history {
		for _, r := range batch {
			if err := m.Replay(EntryOf(r)); err != nil {
				a.t.Fatal(err)
			}
		}
	}
	if err := m.Resume(a.newest()); err != nil {
		a.t.Fatal(err)
	}
	return m
}

// A follower is a server that follows a replica of what a master makes.
type follower struct {
	*Server
	t    *testing.T
	log  *replica
	stop func() // ends Follow and waits for it
}

func (f *follower) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	log := f.log
	go func(s *Server) { ended <- s.Follow(ctx, log) }(f.Server)
	f.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("Follow: %v", err)
		}
		f.stop = func() {}
	}
}

// feed appends batches of the history until the log ends with upto.
func (f *follower) feed(a *master, upto uint64) {
	for _, batch := range a.history {
		if seq := batch[len(batch)-1].Seq; seq > f.log.Last() && seq <= upto {
			_ = f.log.Append(batch)
		}
	}
}

func (f *follower) commit(seq uint64) {
	f.log.mu.Lock()
	f.log.committed = max(f.log.committed, seq)
	f.log.mu.Unlock()
	f.Durable(f.log.committed)
}

// ends is the end of some batch between two Seqs.
func (a *master) ends(after, upto uint64) uint64 {
	all := []uint64{after}
	for _, batch := range a.history {
		if seq := batch[len(batch)-1].Seq; seq > after && seq <= upto {
			all = append(all, seq)
		}
	}
	return all[a.random.IntN(len(all))]
}

// A standby that follows portions of a log, that is restarted, loses its uncommitted
// tail or gets a copy of the log in between, has in the end what a broker has that
// reads all of the log at once.
func TestFollowerIsARecovery(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { followAndRecover(t, seed) })
		})
	}
}

func followAndRecover(t *testing.T, seed uint64) {
	a := newMaster(t, rand.New(rand.NewPCG(seed, 7)))
	f := &follower{Server: New(pairOptions(t)), t: t, log: &replica{t: t, id: 1}}
	f.follow()
	defer func() { f.stop() }()
	for range 25 {
		for range a.random.IntN(120) {
			a.turn()
			time.Sleep(time.Duration(a.random.IntN(30)) * time.Millisecond)
		}
		f.feed(a, a.ends(f.log.Last(), a.newest()))
		f.commit(a.ends(f.log.committed, f.log.Last()))
		time.Sleep(time.Duration(a.random.IntN(2500)) * time.Millisecond)
		switch a.random.IntN(8) {
		case 0: // the node ends and begins
			f.stop()
			f.Server = New(pairOptions(t))
			f.follow()
			time.Sleep(time.Second)
			f.Durable(f.log.committed)
		case 1: // another master, who has no more than what was committed
			f.stop()
			f.log.cut()
			a.fork(f.log.committed)
			f.follow()
		case 2: // a copy of the master's log, from which it has cleaned what is not needed
			f.stop()
			log := &replica{t: t, id: f.log.id + 1, committed: a.newest()}
			for _, batch := range a.history {
				_ = log.Append(batch)
			}
			log.clean(census{a.m.Live()})
			f.log = log
			f.follow()
			f.Durable(log.committed)
		}
	}
	f.stop()
	if f.log.written == 0 && seed == 0 {
		t.Error("no checkpoint was written: the test has too few")
	}
	a.forget(f.log.Last())
	sameAsRecovery(t, f, a)
}

// sameAsRecovery recovers the follower, and a broker that has all of the history.
func sameAsRecovery(t *testing.T, f *follower, a *master) {
	t.Helper()
	whole := &replica{t: t, id: 99}
	for _, batch := range a.history {
		_ = whole.Append(batch)
	}
	other := New(pairOptions(t))
	whole.durable, f.log.durable = other.Durable, f.Durable
	ctx := context.Background()
	if err := errors.Join(f.Recover(ctx, f.log, "b", 9), other.Recover(ctx, whole, "b", 9)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	got, want := description(f.Server, a), description(other, a)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("the follower has too much: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("the follower lacks: %s", line)
		}
	}
}

// description is what is stored, and which entries of the history are needed for it.
func description(s *Server, a *master) (lines []string) {
	m := s.engine.machine
	m.Forget(time.Now())
	m.EachStored(func(s destinations.Stored) {
		dead := ""
		if s.Dead != nil {
			dead = fmt.Sprint(*s.Dead)
		}
		lines = append(lines, fmt.Sprintf("%s %v %d %d %s", s.Queue, s.ID, s.Content, s.Size, dead))
	})
	live := m.Live()
	for _, batch := range a.history {
		for _, r := range batch {
			if keep, _ := live.Keep(EntryOf(r), func(uint64) bool { return true }); keep {
				lines = append(lines, fmt.Sprint("needs ", EntryOf(r).Seq))
			}
		}
	}
	stats := m.Stats()
	stats.Bytes = 0
	return append(lines, fmt.Sprintf("%+v", stats), fmt.Sprintf("last %d, oldest %d, %d octets", m.Last(), live.Oldest(), live.Bytes(0, m.Last())))
}

// A standby of a master through which much passes holds little, in memory and in its
// log, and in the end nothing, though nothing further comes: the deduplication ids go
// by time.
func TestFollowerHoldsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newMaster(t, rand.New(rand.NewPCG(1, 1)))
		f := &follower{Server: New(pairOptions(t)), t: t, log: &replica{t: t, id: 1}}
		f.follow()
		defer func() { f.stop() }()
		send := func(id string) {
			msg := &destinations.Message{Content: []byte("\nbody"), Persistent: true, Props: &destinations.Props{Priority: 4, DedupID: id}}
			a.do(destinations.Command{Op: destinations.Send, Session: 2, Destination: destinations.Queue("once"), Message: msg})
			a.settle(destinations.Ack, nil)
		}
		most := 0
		for i := range 10_000 {
			send(fmt.Sprint(i))
			if i%50 == 0 {
				f.feed(a, a.newest())
				f.commit(a.newest())
				time.Sleep(time.Second)
				most = max(most, f.log.held())
			}
		}
		if most > 500 {
			t.Errorf("the log held %d entries at a time", most)
		}
		f.feed(a, a.newest())
		f.commit(a.newest())
		time.Sleep(time.Second)
		f.stop()
		m := f.engine.machine
		if live := m.Live().Count(); live == 0 || live > 30 {
			t.Errorf("%d entries are needed, want some deduplication ids", live)
		}
		f.follow()
		time.Sleep(time.Minute)
		f.stop()
		if m != f.engine.machine {
			t.Error("the machine started over")
		}
		if live := m.Live().Count(); live > 3 { // durable subscriptions, and a queue of a virtual topic
			t.Errorf("%d entries are needed when the ids are too old", live)
		}
	})
}

// What is not committed is not replayed, and neither is a checkpoint used that knows of it.
func TestFollowerWaitsForTheCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newMaster(t, rand.New(rand.NewPCG(2, 1)))
		for range 100 {
			a.turn()
		}
		f := &follower{Server: New(pairOptions(t)), t: t, log: &replica{t: t, id: 1}}
		f.feed(a, a.newest())
		f.follow()
		time.Sleep(time.Minute)
		synctest.Wait()
		if f.engine.machine.Last() != 0 {
			t.Errorf("before anything was committed entry %d was replayed", f.engine.machine.Last())
		}
		f.commit(a.newest())
		time.Sleep(time.Minute)
		f.stop()
		if f.log.written == 0 || f.engine.machine.Last() != a.newest() {
			t.Fatalf("%d checkpoints were written, and %d of %d entries replayed", f.log.written, f.engine.machine.Last(), a.newest())
		}

		f.Server = New(pairOptions(t))
		f.log.reads = nil
		f.follow()
		f.Durable(a.newest() - 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(f.log.reads) != 0 {
			t.Error("the checkpoint was used before what it knows was committed")
		}
		f.Durable(a.newest())
		time.Sleep(time.Minute)
		f.stop()
		if len(f.log.reads) == 0 || f.log.reads[0] != f.log.from+1 {
			t.Errorf("the log was read from %v on, the checkpoint is of %d", f.log.reads, f.log.from)
		}
	})
}

// Very much that is committed at once is replayed in pieces, all of it, and so is a single
// entry. As long as something comes now and then, no checkpoint is written.
func TestFollowerOfALot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &follower{Server: New(Options{}), t: t, log: &replica{t: t, id: 1}}
		f.follow()
		synctest.Wait()
		const lot = 2*followRecords + 5
		for seq := range uint64(lot) {
			_ = f.log.Append([]journal.Record{{Seq: seq + 1, Type: uint8(destinations.KindStart)}})
		}
		f.commit(lot)
		for range 100 {
			_ = f.log.Append([]journal.Record{{Seq: f.log.Last() + 1, Type: uint8(destinations.KindStart)}})
			f.commit(f.log.Last())
			time.Sleep(time.Second)
		}
		f.stop()
		if last := f.engine.machine.Last(); last != f.log.last {
			t.Errorf("%d of %d entries were replayed", last, f.log.last)
		}
		if f.log.written > 1 {
			t.Errorf("%d checkpoints were written", f.log.written)
		}
	})
}

// When Follow ends while a checkpoint is written, that is given up, and Recover goes on
// with what there is: a Recover that failed before does not count.
func TestFollowEndsInACheckpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newMaster(t, rand.New(rand.NewPCG(4, 1)))
		for range 100 {
			a.turn()
		}
		f := &follower{Server: New(pairOptions(t)), t: t, log: &replica{t: t, id: 1, pause: time.Hour}}
		f.feed(a, a.newest())
		f.follow()
		f.commit(a.newest())
		time.Sleep(time.Minute)
		synctest.Wait()
		begin := time.Now()
		f.stop()
		if passed := time.Since(begin); passed > time.Hour || f.log.written != 0 {
			t.Errorf("it took %v until it ended, with %d checkpoints", passed, f.log.written)
		}
		f.log.pause = 0
		ctx, cancel := context.WithCancel(context.Background())
		f.log.durable = func(uint64) { cancel() }
		if err := f.Recover(ctx, f.log, "b", 8); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		f.log.durable = nil
		f.log.cut()
		sameAsRecovery(t, f, a)
	})
}

// A checkpoint that was given up is not the last one: when there is time again, one is written.
func TestFollowerWritesACheckpointLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newMaster(t, rand.New(rand.NewPCG(4, 2)))
		for range 100 {
			a.turn()
		}
		f := &follower{Server: New(pairOptions(t)), t: t, log: &replica{t: t, id: 1, pause: time.Hour}}
		f.feed(a, a.newest())
		f.follow()
		f.commit(a.newest())
		time.Sleep(time.Minute)
		f.stop()
		if f.log.written != 0 {
			t.Fatal("the checkpoint was not given up: the test wants one that is")
		}
		f.log.pause = 0
		f.follow()
		time.Sleep(time.Minute)
		f.stop()
		if f.log.written == 0 {
			t.Error("no checkpoint is written any more")
		}
	})
}

// A log that has lost what the destinations know is refused, and the reading of a
// damaged one ends Follow.
func TestFollowerOfADamagedLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newMaster(t, rand.New(rand.NewPCG(3, 1)))
		f := &follower{Server: New(pairOptions(t)), t: t, log: &replica{t: t, id: 1}}
		f.feed(a, a.newest())
		f.follow()
		f.commit(a.newest())
		time.Sleep(time.Minute)
		f.stop()
		f.log.last--
		for _, err := range []error{f.Follow(context.Background(), f.log), f.Recover(context.Background(), f.log, "b", 2)} {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the journal ends with entry %d and entry %d", f.log.last, f.log.last+1)) {
				t.Errorf("got %v", err)
			}
		}
		f.log.last++
		_ = f.log.Append([]journal.Record{{Seq: f.log.last + 1, Type: 99, Body: []byte("nonsense")}})
		f.commit(f.log.last)
		if err := f.Follow(context.Background(), f.log); err == nil || !strings.Contains(err.Error(), "follow the journal") {
			t.Errorf("got %v", err)
		}
		f.Fail(errDisk)
		if err := f.Follow(context.Background(), &replica{t: t, id: 5, parts: [][]byte{{1}}, upto: 1 << 40}); !errors.Is(err, errDisk) {
			t.Errorf("got %v", err)
		}
	})
}

// A broker that has followed the journal of another serves what was there, and only
// that, at once, from a journal that it has tended all the time.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := servePipes(t, Options{})
		second := New(Options{CheckpointEvery: time.Second})
		disk := memfs.New()
		open := func() *journal.Journal {
			j, err := journal.Open(journal.Options{Dir: "journal", FS: disk, SegmentBytes: 256 << 10, OnDurable: second.Durable})
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		copied := open()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- second.Follow(ctx, copied) }()
		ship := func() {
			err := first.journal.Read(copied.Last()+1, func(r journal.Record) error {
				return copied.Append([]journal.Record{{Seq: r.Seq, Epoch: r.Epoch, Type: r.Type, Body: slices.Clone(r.Body)}})
			})
			if err != nil {
				t.Fatal(err)
			}
			copied.Sync()
		}
		c := first.connect("1.2")
		c.subscribe("s", "/queue/q", "client-individual", "prefetch-count:1")
		body := strings.Repeat("x", 1000)
		for i := range 2000 {
			c.do("SEND\ndestination:/queue/q", fmt.Sprint(i, body))
			c.ack("ACK", "1.2", c.message(fmt.Sprint(i, body)))
			if i%100 == 0 {
				ship()
				time.Sleep(time.Second)
			}
		}
		c.do("SEND\ndestination:/queue/q", "kept")
		c.message("kept")
		ship()
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if octets := copied.Stats().Bytes; octets > 3*256<<10 {
			t.Errorf("the journal of the second has %d octets", octets)
		}
		if err := second.Recover(context.Background(), copied, "b1", copied.LastEpoch()+1); err != nil {
			t.Fatal(err)
		}
		h := &host{Server: second, t: t, pipes: newPipes(), journal: copied, gate: &gate{to: second.Durable}}
		h.serveOn(h.pipes)
		h.wantLeft("/queue/q", "kept")
	})
}
