package failover

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"baton/journal"
)

const (
	// catchUpBytes is about how much of the journal is read back for one frame. The standby syncs each: where both nodes share a
	// disk, a few large syncs would have the master's wait for milliseconds, and many small ones do not.
	catchUpBytes = 64 << 10
	// keptBytes is how large a buffer may have grown to be used again: a batch is sent whole, and may be longer than catchUpBytes.
	// Were it made anew for each frame, the garbage would have the collector run often, and clients wait for that.
	keptBytes = 16 << 20
	// frameRoom is what is before the records in an APPEND.
	frameRoom = frameHeaderBytes + appendFixedBytes
)

// ErrGap is wrapped when a standby needs records that the master does not have any more: the next connection begins with a
// snapshot.
var ErrGap = errors.New("the standby needs records that are not there any more")

// nearBytes is from when on a standby is near.
const nearBytes = 1 << 20

// SenderOptions say what a Sender tells its node. No lock is held meanwhile.
type SenderOptions struct {
	// OnSignal is called with each signal of the peer, FLUSHED among them, from whoever calls Accept. The Log knows of it by
	// then.
	OnSignal func(Signal)
	// OnNear is called once, from Accept, when the peer lacks less than 1 MiB. nil: nobody is told.
	OnNear func()
	// OnSnapshot is called once, from Next, when the peer needs a snapshot: then not even the plan is sent before SendSnapshot
	// is called. nil: it is sent at once.
	OnSnapshot func()
}

// A Sender is the master's end of the stream to one standby. It is passive: Next gives frame after frame, Accept takes what
// the standby says. The first frame is the plan; then, perhaps, a snapshot; then the records after it, from the journal
// until the buffer of the Log goes on. Next and Accept may be called from one goroutine each.
type Sender struct {
	log    *Log
	epoch  uint32
	opt    SenderOptions
	seeds  seeds
	detach func()
	near   atomic.Bool // OnNear was called; whoever reads the peer writes it, and Next reads it
	free   atomic.Bool // a snapshot may be sent

	peer     Hello
	shared   uint64 // what both have ends here at the latest
	plan     *Plan  // nil: it is not known yet
	told     bool   // OnSnapshot was called
	planned  bool   // the plan was sent
	refused  bool
	at       journal.Position // the standby has, or will have, everything up to here
	synced   uint64           // up to here it was asked to sync
	snapshot *journal.Snapshot
	placed   uint64 // records of the snapshot that were sent
	seen     uint64 // the last of them
	hand     *chunk // it is being sent
	pace     pace   // of what comes from the disk
	buf      []byte
}

// NewSender plans how the peer comes to follow the log, of which this node is the master in an epoch.
func NewSender(log *Log, epoch uint32, peer Hello, opt SenderOptions) *Sender {
	if opt.OnNear == nil {
		opt.OnNear = func() {}
	}
	s := &Sender{log: log, epoch: epoch, peer: peer, opt: opt, pace: pace{rate: log.opt.SyncRate}}
	if !peer.Resync {
		s.shared = min(peer.End.Seq, log.Last())
	}
	if log.Durable() < s.shared {
		log.j().Sync()
	}
	s.free.Store(opt.OnSnapshot == nil)
	log.sends(s)
	log.want(func(b *buffer) { b.streams++ })
	s.mayTell()
	return s
}

// mayTell says that there is a plan, and makes it as soon as it can be made: when the epoch has begun, and the log can tell what is
// in it of what the peer has. After a short interruption that may be durable there, and not here yet.
func (s *Sender) mayTell() bool {
	switch {
	case s.plan != nil:
		return true
	case s.log.Pair().Lineage.Last().Epoch < s.epoch, s.log.Durable() < s.shared:
		return false
	}
	s.plan = new(planFor(s.log.history(), &s.peer))
	s.at, s.refused = s.plan.From, s.plan.Refused != ""
	if !s.plan.Snapshot && !s.refused {
		s.log.joined(s, s.at.Seq)
	}
	return true
}

// SendSnapshot lets the snapshot go that OnSnapshot has spoken of.
func (s *Sender) SendSnapshot() {
	s.free.Store(true)
	s.log.awake()
}

// mayPlan says that nothing keeps the plan back.
func (s *Sender) mayPlan() bool {
	if !s.mayTell() {
		return false
	}
	if s.plan.Snapshot && !s.told && s.opt.OnSnapshot != nil {
		s.told = true
		s.opt.OnSnapshot()
	}
	return !s.plan.Snapshot || s.free.Load()
}

// beginSnapshot takes a picture of the journal.
func (s *Sender) beginSnapshot() error {
	snapshot, err := s.log.j().Snapshot()
	if err != nil {
		return fmt.Errorf("begin a snapshot: %w", err)
	}
	s.snapshot, s.plan.From, s.at = snapshot, snapshot.Begin(), snapshot.End()
	s.seen = s.plan.From.Seq
	s.log.copying(s, s.at.Seq)
	return nil
}

// history is what the log knows of itself, for a plan.
func (l *Log) history() *history {
	j, pair := l.j(), l.Pair()
	return &history{
		cluster: pair.Cluster, lineage: pair.Lineage, overruled: pair.Overruled, end: j.End(), from: j.Unbroken(), at: j.PositionAt,
	}
}

// Plan is what the peer is told to do; where a snapshot begins is known when it is sent. Before Next has told it, it may be nil.
func (s *Sender) Plan() *Plan { return s.plan }

func (s *Sender) rest(asked time.Time) time.Duration {
	if !s.pace.due() {
		return 0
	}
	return s.pace.rest(asked, s.log.grown())
}

// Next returns the next frame, nil when there is none for now. It is valid until Next is called again.
func (s *Sender) Next() ([]byte, error) {
	s.letGo()
	switch {
	case !s.planned && !s.mayPlan():
		return nil, nil
	case !s.planned:
		return s.nextPlan()
	case s.refused:
		return nil, errors.New(s.plan.Refused)
	case s.snapshot != nil:
		return s.nextOfSnapshot()
	}
	return s.nextRecords()
}

func (s *Sender) letGo() {
	if s.hand != nil {
		s.log.buffer.release(s.hand)
		s.hand = nil
	}
}

func (s *Sender) nextPlan() ([]byte, error) {
	if s.plan.Snapshot {
		if err := s.beginSnapshot(); err != nil {
			return nil, err
		}
	}
	s.planned = true
	payload, err := s.plan.encode()
	if err != nil {
		return nil, err
	}
	s.begin(frameHeaderBytes)
	s.buf = append(s.buf, payload...)
	return s.seal(kindPlan, 0), nil
}

// begin empties buf but for room.
func (s *Sender) begin(room int) {
	if cap(s.buf) > keptBytes || cap(s.buf) < room {
		s.buf = make([]byte, catchUpBytes+catchUpBytes/4)
	}
	s.buf = s.buf[:room]
}

func (s *Sender) seal(k kind, flags uint8) []byte {
	seal(s.buf, k, flags, s.epoch, s.seeds.out)
	return s.buf
}

// errFull ends a Read that has filled a frame.
var errFull = errors.New("the frame is full")

func (s *Sender) nextOfSnapshot() ([]byte, error) {
	s.begin(frameHeaderBytes)
	err := s.snapshot.Read(s.seen+1, func(r journal.Record) error {
		if len(s.buf) > frameHeaderBytes && len(s.buf)+len(r.Body) > catchUpBytes {
			return errFull
		}
		s.buf = appendPlaced(s.buf, &r)
		s.seen = r.Seq
		s.placed++
		return nil
	})
	switch {
	case err != nil && err != errFull:
		return nil, fmt.Errorf("read the snapshot: %w", err)
	case len(s.buf) > frameHeaderBytes:
		s.pace.sent(len(s.buf))
		return s.seal(kindSnapshot, 0), nil
	}
	end := snapshotEnd{end: s.at, records: s.placed}
	s.begin(frameHeaderBytes + signalBytes)
	end.put(s.buf[frameHeaderBytes:])
	s.snapshot.Close()
	s.snapshot = nil
	s.log.copied(s)
	return s.seal(kindSnapshotEnd, 0), nil
}

// nextRecords goes on in the log.
func (s *Sender) nextRecords() ([]byte, error) {
	c, sync, upto := s.log.buffer.take(s.at, s.log.Durable())
	if c != nil {
		if s.hand = c; cap(s.buf) > 4*catchUpBytes { // what comes from the disk has come to its end
			s.buf = nil
		}
		return s.sealRecords(c.frame, c.end, c.count, sync), nil
	}
	if upto > s.at.Seq {
		frame, err := s.catchUp(upto)
		if frame != nil || err != nil {
			return frame, err
		}
	}
	if to := s.log.buffer.syncedTo(); to > s.synced && to <= s.at.Seq { // everything was sent before it was to be synced
		s.begin(frameRoom)
		return s.sealRecords(s.buf, s.at, 0, true), nil
	}
	return nil, nil
}

// sealRecords makes an APPEND of a frame with room and the records that lead from at to end.
func (s *Sender) sealRecords(frame []byte, end journal.Position, count uint32, sync bool) []byte {
	a := appendFixed{
		prevSeq: s.at.Seq, prevChain: s.at.Chain, endChain: end.Chain, count: count, commit: s.log.Committed(),
	}
	a.put(frame[frameHeaderBytes:])
	flags := uint8(0)
	if sync {
		flags, s.synced = flagSync, end.Seq
	}
	s.at = end
	seal(frame, kindAppend, flags, s.epoch, s.seeds.out)
	return frame
}

// catchUp reads whole batches back from the journal, up to Seq upto, where some batch ends; nil when they are not durable
// yet.
func (s *Sender) catchUp(upto uint64) ([]byte, error) {
	j := s.log.j()
	s.begin(frameRoom)
	last, whole, size := s.at.Seq, s.at.Seq, frameRoom // of the last whole batch: its Seq, and the octets up to there
	err := j.Read(s.at.Seq+1, func(r journal.Record) error {
		switch {
		case r.Seq > upto:
			return errFull
		case r.Seq != last+1:
			return fmt.Errorf("%w: seq %d to %d", ErrGap, last+1, r.Seq-1)
		case len(s.buf)+len(r.Body) > catchUpBytes && whole > s.at.Seq:
			return errFull
		}
		s.buf = appendRecord(s.buf, &r)
		last = r.Seq
		if r.Ends || last == upto {
			whole, size = last, len(s.buf)
		}
		return nil
	})
	if errors.Is(err, journal.ErrTrimmed) {
		err = fmt.Errorf("%w: %w", ErrGap, err)
	}
	if err != nil && err != errFull || whole == s.at.Seq {
		return nil, notFull(err)
	}
	end, err := j.PositionAt(whole)
	if err != nil {
		return nil, err
	}
	s.buf = s.buf[:size]
	if !s.near.Load() { // then writes wait for it
		s.pace.sent(size)
	}
	return s.sealRecords(s.buf, end, uint32(whole-s.at.Seq), true), nil
}

func notFull(err error) error {
	if err == errFull {
		return nil
	}
	return err
}

// Accept takes a whole frame of the standby.
func (s *Sender) Accept(b []byte) error {
	f, err := parseFrame(b, s.seeds.in)
	if err != nil {
		return err
	}
	if !f.kind.isSignal() {
		return fmt.Errorf("a standby sent %s", f.kind)
	}
	signal, err := parseSignal(f)
	if err != nil {
		return err
	}
	if signal.Kind == Flushed && signal.Epoch == s.epoch {
		if err := s.log.flushed(signal.Seq, signal.Chain); err != nil {
			return err
		}
	}
	s.opt.OnSignal(signal)
	if signal.Kind == Flushed && !s.near.Load() && s.log.Lag().Bytes < nearBytes {
		s.near.Store(true)
		s.opt.OnNear()
	}
	return nil
}

// flushed notes how far the standby is.
func (l *Log) flushed(seq uint64, chain uint32) error {
	if end := l.End(); seq > end.Seq {
		return fmt.Errorf("the standby has flushed seq %d, the log ends with %d", seq, end.Seq)
	}
	if !l.buffer.flushed(seq, chain) {
		return fmt.Errorf("%w: at seq %d the standby has another chain", ErrDiverged, seq)
	}
	l.passed(seq)
	return nil
}

// Close gives back what the Sender holds. Nothing else is called afterwards.
func (s *Sender) Close() {
	s.letGo()
	if s.snapshot != nil {
		s.snapshot.Close()
		s.snapshot = nil
		s.log.copiedNot(s)
	}
	s.log.sendsNot(s)
	if s.detach != nil {
		s.detach()
	}
	s.log.want(func(b *buffer) { b.streams-- })
}

func (s *Sender) bind(seeds seeds, wake func()) {
	s.seeds = seeds
	s.detach = s.log.attach(wake)
}

func (s *Sender) coming() {}

func (s *Sender) mark() uint64 { return 0 }

func (s *Sender) settled(uint64) bool { return true }
