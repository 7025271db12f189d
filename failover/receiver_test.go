package failover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// following is a standby that has done its plan and told so.
func following(t *testing.T) (master, standby *node, c *connection) {
	t.Helper()
	master, standby = newNode(t, "a"), newNode(t, "b")
	master.lead(3)
	c = connect(master, standby, 3)
	t.Cleanup(c.close)
	if err := c.settle(); err != nil {
		t.Fatal(err)
	}
	return master, standby, c
}

// next is a frame of the master, kept.
func (c *connection) next(t *testing.T) []byte {
	t.Helper()
	c.master.log.Sync()
	frame, err := c.sender.Next()
	if err != nil || frame == nil {
		t.Fatal("no frame", err)
	}
	return slices.Clone(frame)
}

// answer is the next signal of the standby; its kind is 0 when there is none.
func (c *connection) answer(t *testing.T) (s Signal) {
	t.Helper()
	frame, err := c.receiver.Next()
	if err != nil {
		t.Fatal(err)
	}
	if frame != nil {
		f, err := parseFrame(frame, 2)
		if err == nil {
			s, err = parseSignal(f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// hold has the syncs of a disk wait.
func hold(disk *memfs.FS) (release func()) {
	held := make(chan struct{})
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Datasync" {
			<-held
		}
		return nil
	})
	return func() {
		disk.OnCall(nil)
		close(held)
	}
}

func TestFlushedIsDurable(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	release := hold(standby.disk)
	master.append(3, 1, 10)
	if err := c.receiver.Accept(c.next(t)); err != nil {
		t.Fatal(err)
	}
	if s := c.answer(t); s.Kind != 0 {
		t.Errorf("told %+v, and nothing is durable yet", s)
	}
	release()
	standby.flush()
	if s, end := c.answer(t), master.log.End(); s != (Signal{Kind: Flushed, Epoch: 3, Seq: end.Seq, Chain: end.Chain}) {
		t.Errorf("told %+v, the end is %+v", s, end)
	}
	if s := c.answer(t); s.Kind != 0 {
		t.Errorf("told %+v again", s)
	}
}

// While a long frame comes the standby says after each part what is durable: that it is still there. It does not while something
// waits for its disk.
func TestFlushedWithinALongFrame(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	at := master.log.End()
	want := Signal{Kind: Flushed, Epoch: 3, Seq: at.Seq, Chain: at.Chain}
	part := func() {
		t.Helper()
		in := intake{stream: c.receiver}
		wire := parted(sealed(kindAppend, 0, 3, 1, make([]byte, 2*partBytes)), 0)[:partBytes+1]
		for len(wire) > 0 {
			n := copy(in.room(), wire)
			if wire = wire[n:]; len(wire) == 0 {
				if s := c.answer(t); s.Kind != 0 {
					t.Errorf("told %+v before a part has come", s)
				}
			}
			if err := in.took(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		part()
		if s := c.answer(t); s != want {
			t.Errorf("told %+v after a part, want %+v", s, want)
		}
	}
	release := hold(standby.disk)
	master.append(3, 1, 10)
	if err := c.receiver.Accept(c.next(t)); err != nil {
		t.Fatal(err)
	}
	part()
	if s := c.answer(t); s.Kind != 0 {
		t.Errorf("told %+v after a part, and the disk hangs", s)
	}
	release()
}

// A standby says at once where it stands, also when it has nothing to do.
func TestFlushedFollowsThePlan(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	c.close()
	c = connect(master, standby, 3)
	defer c.close()
	if s := c.answer(t); s.Kind != 0 {
		t.Errorf("told %+v before the plan", s)
	}
	if err := c.receiver.Accept(c.next(t)); err != nil {
		t.Fatal(err)
	}
	if s := c.answer(t); s.Kind != Flushed || s.Seq != master.log.Last() {
		t.Errorf("told %+v after the plan", s)
	}
}

// What is committed is told as far as it is durable here.
func TestCommitsAreDurableHere(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	var commits []uint64
	c.receiver.opt.OnCommit = func(seq uint64) { commits = append(commits, seq) }
	release := hold(standby.disk)
	before := standby.log.Last()
	master.append(3, 1, 10)
	if err := c.receiver.Accept(c.next(t)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		master.append(3, 1, 10)
		master.log.Commit(master.log.Last())
		if err := c.receiver.Accept(c.next(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(commits); n > 0 && commits[n-1] > before {
		t.Errorf("told %d, durable is seq %d", commits, before)
	}
	release()
	standby.flush()
	c.answer(t)
	master.append(3, 1, 10) // not committed
	if err := c.receiver.Accept(c.next(t)); err != nil {
		t.Fatal(err)
	}
	standby.flush()
	c.answer(t)
	if n := len(commits); n == 0 || commits[n-1] != master.log.Last()-1 || !slices.IsSorted(commits) {
		t.Errorf("told %d, committed is seq %d", commits, master.log.Last()-1)
	}
	beacon := Signal{Kind: Beacon, Epoch: 3, Seq: master.log.Last() + 100}
	if err := c.receiver.Accept(beacon.appendTo(nil, 1)); err != nil {
		t.Fatal(err)
	}
	if last := commits[len(commits)-1]; last != master.log.Last() {
		t.Errorf("told %d of seq %d after a beacon", last, master.log.Last())
	}
}

// R7: what comes of an epoch below the one promised is not stored, and its sender is told.
func TestStaleEpoch(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	last := standby.log.Last()
	if err := standby.log.Remember(func(p *Pair) { p.Promised = 4 }); err != nil {
		t.Fatal(err)
	}
	master.append(3, 1, 10)
	if err := c.receiver.Accept(c.next(t)); err != nil {
		t.Fatal(err)
	}
	if standby.log.Last() != last {
		t.Error("a record of epoch 3 was stored, epoch 4 is promised")
	}
	c.receiver.opt.OnSignal = func(s Signal) { t.Errorf("the node heard %+v", s) }
	if err := c.receiver.Accept((&Signal{Kind: Beacon, Epoch: 3}).appendTo(nil, 1)); err != nil {
		t.Fatal(err)
	}
	if s := c.answer(t); s != (Signal{Kind: Fence, Epoch: 4}) {
		t.Errorf("told %+v", s)
	}
	if _, err := c.receiver.Next(); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
}

// Frames that are lost, come twice or are of another log are not stored.
func TestFramesOutOfPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		frames func(first, second []byte) [][]byte
		want   string
	}{
		"lost":        {func(_, second []byte) [][]byte { return [][]byte{second} }, "an APPEND follows seq 2"},
		"twice":       {func(first, _ []byte) [][]byte { return [][]byte{first, first} }, "an APPEND follows seq 1"},
		"other chain": {func(first, _ []byte) [][]byte { return [][]byte{forge(first, 16)} }, "an APPEND follows seq 1"},
		"other end":   {func(first, _ []byte) [][]byte { return [][]byte{forge(first, 20)} }, "the master has"},
		"a plan":      {func(_, _ []byte) [][]byte { return [][]byte{sealed(kindPlan, 0, 3, 1, []byte("{}"))} }, "PLAN is not due"},
		"a snapshot":  {func(_, _ []byte) [][]byte { return [][]byte{sealed(kindSnapshot, 0, 3, 1, nil)} }, "SNAPSHOT is not due"},
		"its end":     {func(_, _ []byte) [][]byte { return [][]byte{sealed(kindSnapshotEnd, 0, 3, 1, make([]byte, 32))} }, "SNAPSHOT_END is not due"},
		"a newcomer":  {func(_, _ []byte) [][]byte { return [][]byte{sealed(kindAppend, 0, 4, 1, nil)} }, "epoch 4 came in a stream of epoch 3"},
	} {
		master, standby, link := following(t)
		master.append(3, 1, 10)
		first := link.next(t)
		master.append(3, 1, 10)
		var err error
		frames := c.frames(first, link.next(t))
		for _, frame := range frames {
			err = link.receiver.Accept(frame)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if again := link.receiver.Accept(first); again == nil {
			t.Errorf("%s: the stream went on", name)
		}
		if name == "other end" && !standby.log.Hello(Hello{}).Resync {
			t.Error("a standby that holds other records than the master does not ask for a snapshot")
		}
	}
}

// forge changes an octet of an APPEND, and makes the checksum fit.
func forge(frame []byte, at int) []byte {
	b := bytes.Clone(frame)
	b[frameHeaderBytes+at]++
	seal(b, kindAppend, b[5], 3, 1)
	return b
}

// A node with records that have nothing to do with the pair is refused on both sides, and keeps what it has.
func TestStrangerIsRefused(t *testing.T) {
	t.Parallel()
	master, stranger := newNode(t, "a"), newNode(t, "b")
	master.lead(3)
	stranger.append(1, 5, 10)
	c := connect(master, stranger, 3)
	defer c.close()
	_, err := c.step()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "shares no epoch with this pair") {
		t.Error(err)
	}
	if _, err := c.sender.Next(); err == nil || !strings.Contains(err.Error(), "shares no epoch") {
		t.Error(err)
	}
	if stranger.log.Last() != 5 || stranger.log.Pair().Member() {
		t.Errorf("the stranger has %d records, and is a member: %t", stranger.log.Last(), stranger.log.Pair().Member())
	}
}

// The tail that a new master does not have goes aside, whole: to where it stays, if any of it may have been acknowledged.
func TestTailGoesAside(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		overruled uint32 // the newest epoch that an operator had begin
		knows     func(n *node, common uint64) error
		aside     string
	}{
		"never acknowledged":        {0, nil, "surplus-3-5"},
		"an operator's word before": {3, nil, "surplus-3-5"},
		"an operator's word since":  {4, nil, "divergent-3-5"},
		"some of it is committed": {0, func(n *node, common uint64) error {
			n.log.Commit(common + 1)
			return nil
		}, "divergent-3-5"},
		"its node was alone": {0, func(n *node, _ uint64) error {
			return n.log.Remember(func(p *Pair) { p.Alone = true })
		}, "divergent-3-5"},
		"a checkpoint has some of it": {0, func(n *node, common uint64) error {
			err := n.log.j().WriteCheckpoint(0, common+1, func(yield func([]byte) error) error { return yield([]byte("x")) })
			err = errors.Join(err, n.log.Close())
			n.open() // the next process has found it
			return err
		}, "divergent-3-5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, standby, link := following(t)
			common := master.log.End()
			link.close()
			master.append(3, 4, 100) // nobody else has it
			master.flush()
			if c.knows != nil {
				if err := c.knows(master, common.Seq); err != nil {
					t.Fatal(err)
				}
			}
			tail := master.records()[common.Seq:]
			if err := standby.log.Remember(func(p *Pair) { p.Overruled = c.overruled }); err != nil {
				t.Fatal(err)
			}
			standby.lead(4)
			join(t, standby, master, 4)
			checkEqual(t, standby, master, 1)
			aside := readJournal(t, master.disk, "data/"+c.aside)
			if len(aside) != len(tail) {
				t.Fatalf("%d records are aside, %d were cut", len(aside), len(tail))
			}
			for i := range tail {
				if aside[i].Seq != tail[i].Seq || !bytes.Equal(aside[i].Body, tail[i].Body) {
					t.Errorf("aside is %+v, cut was %+v", aside[i], tail[i])
				}
			}
		})
	}
}

// What a crash has left of a tail that was being moved aside is none, and gives way to the tail.
func TestTailTakesThePlaceOfAnUnfinishedOne(t *testing.T) {
	t.Parallel()
	master, standby, link := following(t)
	link.close()
	for _, name := range []string{"LOCK", "import.tmp"} {
		file, err := master.disk.Create("data/surplus-3-5/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	master.append(3, 4, 100)
	master.flush()
	standby.lead(4)
	join(t, standby, master, 4)
	if aside := readJournal(t, master.disk, "data/surplus-3-5"); len(aside) != 4 {
		t.Errorf("%d records are aside, 4 were cut", len(aside))
	}
}

// The status tells of what is kept aside, and not of what a crash has left of an attempt.
func TestDivergentNames(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for _, name := range []string{
		"divergent-1-1/LOCK", "divergent-1-2/import.tmp", "divergent-1-2/1.seg", "divergent-1-3/1.seg", "divergent-1-3/LOCK", "surplus-1-4/1.seg",
	} {
		name = filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := divergent(data); !slices.Equal(got, []string{"divergent-1-3"}) {
		t.Errorf("got %v, want divergent-1-3 alone", got)
	}
}

// What was never acknowledged is kept for a while: the newest three tails. What may have been stays.
func TestSurplusIsBounded(t *testing.T) {
	t.Parallel()
	a, b, link := following(t)
	link.close()
	if err := b.log.Remember(func(p *Pair) { p.Overruled = 4 }); err != nil {
		t.Fatal(err)
	}
	var names []string
	for epoch := uint32(3); epoch < 9; epoch++ {
		a.append(epoch, 2, 10)
		a.flush()
		names = append(names, fmt.Sprintf("surplus-%d-%d", epoch, a.log.Last()))
		b.lead(epoch + 1)
		join(t, b, a, epoch+1)
		checkEqual(t, b, a, 1)
	}
	if got := a.log.surplus(); !slices.Equal(got, names[3:]) {
		t.Errorf("kept are %v of %v, want the last three", got, names)
	}
	var kept []string
	for _, name := range a.disk.Names() {
		if dir := filepath.Base(filepath.Dir(name)); strings.HasPrefix(dir, surplusPrefix) || strings.HasPrefix(dir, divergentPrefix) {
			kept = append(kept, dir)
		}
	}
	want := append([]string{"divergent-3-3"}, names[3:]...)
	if kept = slices.Compact(kept); !slices.Equal(kept, want) {
		t.Errorf("on the disk are %v, want %v", kept, want)
	}
	for range 3 {
		before := a.log.End()
		a.append(9, 2, 10)
		a.flush()
		if err := a.log.cut(before, true, func() error { return errors.New("no") }); err == nil {
			t.Fatal("the journal was cut against its owner's will")
		}
	}
	if got := a.log.surplus(); !slices.Equal(got, names[3:]) {
		t.Errorf("kept are %v of %v when nothing was cut, want the last three", got, names)
	}
	if n := len(a.log.Pair().Surplus); n > keptSurplus+1 {
		t.Errorf("%d names are remembered", n)
	}
}

func readJournal(t *testing.T, disk *memfs.FS, dir string) (recs []journal.Record) {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: dir, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	err = j.Read(0, func(r journal.Record) error {
		r.Body = slices.Clone(r.Body)
		recs = append(recs, r)
		return nil
	})
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	return recs
}

// The order of what a plan does: the journal is cut, then the node agrees, and only then it takes the lineage.
func TestPlannedBeforeLineage(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	c.close()
	master.append(3, 2, 10)
	master.flush()
	standby.lead(4)
	c = connect(standby, master, 4)
	defer c.close()
	refusal := errors.New("the node does not agree")
	c.receiver.opt.OnPlanned = func(end journal.Position, cluster ID, epoch uint32) error {
		if epoch != 4 || cluster != (ID{1}) || end != master.log.End() || end.Seq != 1 {
			t.Errorf("planned epoch %d of pair %s after %+v", epoch, cluster, end)
		}
		return refusal
	}
	if err := c.receiver.Accept(c.next(t)); !errors.Is(err, refusal) {
		t.Error(err)
	}
	if got := master.log.Pair().Lineage.Last().Epoch; got != 3 {
		t.Errorf("the lineage ends with epoch %d", got)
	}
}

// An intake gives every frame as it was sent, however it arrives, and leaves it alone until it is settled.
func TestIntake(t *testing.T) {
	t.Parallel()
	s := &hoarder{}
	in := intake{stream: s}
	var wire []byte
	for i := range 3000 {
		size := (i * 7919) % 3000
		if i%500 == 499 {
			size = 2 * intakeBytes
		}
		wire = append(wire, parted(sealed(kindAppend, 0, uint32(i), 0, bytes.Repeat([]byte{byte(i)}, size)), i%7)...)
	}
	for portion := 1; len(wire) > 0; portion = portion*31%70001 + 1 {
		room := in.room()
		n := copy(room[:min(len(room), portion)], wire)
		wire = wire[n:]
		if err := in.took(n); err != nil {
			t.Fatal(err)
		}
		if len(s.held) > 1200 { // more than lies in one buffer
			s.check(t, 100)
		}
	}
	s.check(t, len(s.held))
	if s.checked != 3000 {
		t.Errorf("%d frames came", s.checked)
	}
	if want := 4 * (499%7 + 999%7 + 1499%7 + 1999%7 + 2499%7 + 2999%7); s.signals != want {
		t.Errorf("%d signals came, want %d", s.signals, want)
	}
}

// parted is a frame as it goes over the wire, with so many signals within it wherever some may come.
func parted(frame []byte, signals int) (wire []byte) {
	for len(frame) > partBytes {
		wire = append(append(wire, frame[:partBytes]...), byte(signals))
		for range signals {
			wire = (&Signal{Kind: Beacon, Seq: 7}).appendTo(wire, 0)
		}
		frame = frame[partBytes:]
	}
	return append(wire, frame...)
}

// What comes within a frame is signals, and not more than may wait.
func TestNoSignalsWithinAFrame(t *testing.T) {
	t.Parallel()
	frame := sealed(kindAppend, 0, 1, 0, make([]byte, partBytes))
	at := partBytes // of the octet that says how many
	for name, spoil := range map[string]func(wire []byte){
		"too many":      func(wire []byte) { wire[at] = maxSignals + 1 },
		"another frame": func(wire []byte) { wire[at+1+4] = byte(kindAppend) },
		"damaged":       func(wire []byte) { wire[at+1+frameHeaderBytes]++ },
	} {
		wire := parted(frame, 1)
		spoil(wire)
		in, s := intake{}, &hoarder{}
		in.stream = s
		var err error
		for len(wire) > 0 && err == nil {
			n := copy(in.room(), wire)
			wire, err = wire[n:], in.took(n)
		}
		if err == nil || s.signals > 0 || len(s.held) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A hoarder is a Stream that keeps what it accepts for a while.
type hoarder struct {
	listeningStream
	held    [][]byte
	checked uint64
	signals int
}

func (h *hoarder) Accept(b []byte) error {
	f, err := parseFrame(b, 0)
	switch {
	case err != nil:
		return err
	case f.kind.isSignal():
		h.signals++
	default:
		h.held = append(h.held, b)
	}
	return nil
}

func (h *hoarder) rest(time.Time) time.Duration { return 0 }
func (h *hoarder) mark() uint64                 { return h.checked + uint64(len(h.held)) }
func (h *hoarder) settled(m uint64) bool        { return m <= h.checked }

// check checks the n oldest and gives them back.
func (h *hoarder) check(t *testing.T, n int) {
	t.Helper()
	for _, b := range h.held[:n] {
		if f, err := parseFrame(b, 0); err != nil || f.epoch != uint32(h.checked) {
			t.Fatalf("frame %d is frame %d: %v", h.checked, f.epoch, err)
		}
		clear(b) // it may be overwritten now
		h.checked++
	}
	h.held = h.held[n:]
}

// A plan that does not fit the journal changes nothing, and the next connection begins with a snapshot.
func TestPlanOfAnotherHistory(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		`{"cluster":"01000000000000000000000000000000","end":END,"cut":true,"from":{"Seq":1,"Epoch":3,"Chain":7}}`: "cut the journal after seq 1",
		`{"cluster":"01000000000000000000000000000000","end":END,"from":{"Seq":1,"Epoch":3,"Chain":7}}`:            "the plan goes on from seq 1",
		`{"cluster":"02000000000000000000000000000000","end":END}`:                                                 "it belongs to the pair 02",
	} {
		_, standby, c := following(t)
		c.close()
		standby.append(3, 2, 10)
		standby.flush()
		before := standby.log.Pair()
		r := NewReceiver(standby.log, ReceiverOptions{OnSignal: func(Signal) {}, OnCommit: func(uint64) {}})
		end, err := json.Marshal(standby.log.End())
		if err != nil {
			t.Fatal(err)
		}
		err = r.Accept(sealed(kindPlan, 0, 3, 0, []byte(strings.Replace(name, "END", string(end), 1))))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
		if standby.log.Last() != 3 || !slices.Equal(standby.log.Pair().Lineage, before.Lineage) {
			t.Errorf("%s: the journal ends with seq %d, the lineage is %v", name, standby.log.Last(), standby.log.Pair().Lineage)
		}
		if cut := strings.Contains(want, "cut"); standby.log.Hello(Hello{}).Resync != cut {
			t.Errorf("%s: asks for a snapshot: %t", name, !cut)
		}
	}
}

// A plan is for the journal of a HELLO. What an earlier connection has brought since, and the master may have acknowledged, is
// neither cut away nor replaced.
func TestPlanOfAnOldHello(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	old := standby.log.Hello(Hello{})
	master.append(3, 2, 10)
	master.flush()
	if err := c.settle(); err != nil {
		t.Fatal(err)
	}
	c.close()
	last := standby.log.Last()
	if last == old.End.Seq {
		t.Fatal("nothing came over the first connection")
	}
	for _, plan := range []Plan{
		{Cluster: ID{1}, End: old.End, From: journal.Position{}, Cut: true},
		{Cluster: ID{1}, End: old.End, Snapshot: true},
		{Cluster: ID{1}, End: old.End, From: old.End},
		{Cluster: ID{1}}, // of a HELLO from before the first record
	} {
		text, err := plan.encode()
		if err != nil {
			t.Fatal(err)
		}
		r := NewReceiver(standby.log, ReceiverOptions{OnSignal: func(Signal) {}, OnCommit: func(uint64) {}})
		err = r.Accept(sealed(kindPlan, 0, 3, 0, text))
		if err == nil || !strings.Contains(err.Error(), "since the HELLO") || standby.log.Last() != last || standby.log.Hello(Hello{}).Resync {
			t.Errorf("%s: got %v, the journal ends with seq %d", text, err, standby.log.Last())
		}
	}
}

// What the master syncs, or has synced unasked, the standby syncs as well.
func TestSyncGoesToTheStandby(t *testing.T) {
	t.Parallel()
	master, standby := newNode(t, "a"), newNode(t, "b")
	master.lead(3)
	master.flush()
	master.lazy, standby.lazy = time.Hour, time.Hour // they sync nothing unasked
	master.crash(memfs.All)
	standby.crash(memfs.All)
	c := connect(master, standby, 3)
	defer c.close()
	flushed := func(what string) {
		t.Helper()
		for frame, err := c.sender.Next(); frame != nil || err != nil; frame, err = c.sender.Next() {
			if err == nil {
				err = c.receiver.Accept(slices.Clone(frame))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if standby.log.End() != master.log.End() {
			t.Fatalf("%s was not sent", what)
		}
		if err := standby.log.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flushed("what was there")
	master.append(3, 1, 10)
	master.log.Sync()
	flushed("what was to be synced")
	master.append(3, 1, 10)
	master.log.j().Sync() // the journal alone, as when it is late
	if err := master.log.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	flushed("what the master has synced unasked")
	master.append(3, 1, 100<<10) // is sent for its size, not to be synced yet
	frame, err := c.sender.Next()
	if err == nil {
		err = c.receiver.Accept(slices.Clone(frame))
	}
	if err != nil || standby.log.End() != master.log.End() {
		t.Fatal("it was not sent", err)
	}
	master.log.Sync()
	flushed("what was sent before it was to be synced")
}
