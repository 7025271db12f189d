package failover

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"baton/journal"
)

// What a full disk means: who has no room to write does not become the master where another node may, and is not made it.

// Space is how much room the disk of a node's journal has. The numbers go over the wire.
type Space uint8

// The spaces.
const (
	SpaceEnough Space = iota
	SpaceLow          // producers are refused, or wait; what consumers do can be written
	SpaceNone         // what is to be written waits for room, or soon will: nobody can be served
)

// spaceIs is about the disk of this node.
func (t *turn) spaceIs(space Space) {
	t.alarm(AlarmDiskFull, t.space, space)
	t.space = space
	t.giveWay()
	if !t.role.IsMaster() {
		t.seek()
	}
}

// peerSpaceIs is about that of a standby.
func (t *turn) peerSpaceIs(space Space) {
	t.alarm(AlarmPeerDiskFull, t.peerSpace, space)
	t.peerSpace = space
	if space == SpaceNone {
		t.cancelSwitchover()
	}
	t.giveWay()
}

func (t *turn) alarm(a Alarm, before, now Space) {
	switch {
	case before == SpaceEnough && now != SpaceEnough:
		t.do(Action{Kind: DoRaise, Alarm: a})
	case before != SpaceEnough && now == SpaceEnough:
		t.do(Action{Kind: DoClear, Alarm: a})
	}
}

// mayLead says that the peer can be made the master: it is in step, and its disk has room.
func (t *turn) mayLead() bool { return t.inStep() && t.peerSpace != SpaceNone }

// giveWay is for a master that does not serve yet, and whose disk has no room for the beginning of its epoch. Who else is in sync may
// be master at once; where nobody else can, this node goes on as soon as there is room.
func (t *turn) giveWay() {
	able := t.shared() && t.counts() && t.peer.promised && !t.peer.unread && t.peerSpace != SpaceNone
	if t.role == Activating && t.space == SpaceNone && able {
		t.send(Signal{Kind: Release, Epoch: t.epoch})
		t.standDown(NoRoom)
	}
}

// A spaceWatch keeps what the journal says of its disk until the member can be told.
type spaceWatch struct {
	mu        sync.Mutex
	low, full bool
	changed   chan struct{}
}

func newSpaceWatch() spaceWatch { return spaceWatch{changed: make(chan struct{}, 1)} }

// watch has a journal tell of its disk, whoever else is told.
func (w *spaceWatch) watch(o *journal.Options) {
	low, full := o.OnSpace, o.OnFull
	o.OnSpace = func(is bool, free int64) {
		w.set(&w.low, is)
		if low != nil {
			low(is, free)
		}
	}
	o.OnFull = func(is bool) {
		w.set(&w.full, is)
		if full != nil {
			full(is)
		}
	}
}

func (w *spaceWatch) set(what *bool, is bool) {
	w.mu.Lock()
	*what = is
	w.mu.Unlock()
	signal(w.changed)
}

func (w *spaceWatch) space() Space {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.full:
		return SpaceNone
	case w.low:
		return SpaceLow
	}
	return SpaceEnough
}

// watchSpace tells the member of the disk.
func (t *Term) watchSpace() {
	for {
		select {
		case <-t.space.changed:
			t.handle(Event{Kind: OnSpace, Space: t.space.space()})
		case <-t.ctx.Done():
			return
		}
	}
}

// isFull says that there was no room on the disk.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// noRoomForCopy is what a node waits for whose disk does not take what the master sends.
const noRoomForCopy = "its disk has no room for a copy of the master's journal: make room. It is tried again by itself, within a minute"

// roomRetry is how often a file is tried to be written for which there is no room.
const roomRetry = 250 * time.Millisecond

// writable returns when this node can write down what it is, before the register is asked to name it as master: nobody else could
// serve then. On a full disk it waits for room.
func (t *Term) writable() error {
	for told := false; ; told = true {
		err := t.log.Remember(func(*Pair) {})
		if !isFull(err) {
			return err
		}
		if !told {
			t.logger.Error("the disk is full: this node waits for room before it asks to be the master", zap.Error(err))
		}
		sleep(t.ctx, roomRetry)
		if t.ctx.Err() != nil {
			return t.ctx.Err()
		}
	}
}
