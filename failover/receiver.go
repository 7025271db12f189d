package failover

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"baton/journal"
)

var (
	// ErrRefused is wrapped when the master does not take this node's journal; the text says why.
	ErrRefused = errors.New("the master refuses this node")
	// ErrReplaced is wrapped when a snapshot has taken the place of the journal, which ends the connection.
	ErrReplaced = errors.New("the journal was replaced by a snapshot of the master's")
	// errCopying is wrapped when the snapshot that comes cannot be stored.
	errCopying = errors.New("store a copy of the master's journal")
	// ErrStale is wrapped when a frame came of an epoch below the one promised (R7).
	ErrStale = errors.New("the peer is of an epoch that is over")
)

// ReceiverOptions say what a Receiver tells its node.
type ReceiverOptions struct {
	// OnSignal is called with each signal of the master, from whoever calls Accept.
	OnSignal func(Signal)
	// OnCut is called before the journal is cut after a Seq. An error leaves it as it is, and ends the connection. nil: nobody
	// is asked.
	OnCut func(after uint64) error
	// OnPlanned is called when the journal has become a beginning of the master's: the plan is done, but neither the lineage
	// nor the cluster are remembered yet, and no record was taken. An error ends the connection. It must not wait for the
	// Receiver's Close. nil: nobody is told.
	OnPlanned func(end journal.Position, cluster ID, epoch uint32) error
	// OnStored is called when the journal has records up to a Seq, of the master's epoch, which may not be durable yet. nil:
	// nobody is told.
	OnStored func(seq uint64, epoch uint32)
	// OnReplace is called when a snapshot is whole, before it takes the place of the journal. An error keeps the journal, and
	// ends the connection. nil: nobody is asked.
	OnReplace func() error
	// OnReplaced is called when it has taken the place of the journal: the node begins anew with that, whatever the connection
	// ends by. It must not wait for the Receiver's Close. nil: nobody is told.
	OnReplaced func()
	// OnCommit is called with the Seq up to which everything is committed, as far as it is durable here. It grows. Calls do
	// not overlap; it must not call the Receiver.
	OnCommit func(seq uint64)
}

// A Receiver is the standby's end of the stream from the master. It is passive: Accept takes frame after frame and does
// what it says, Next gives FLUSHED. Next and Accept may be called from one goroutine each; Close from any.
//
// What goes wrong ends the connection. Whether the next one begins with a snapshot, the Log knows.
type Receiver struct {
	log    *Log
	opt    ReceiverOptions
	seeds  seeds
	detach func()

	mu       sync.Mutex // held while a frame is accepted
	closed   bool
	err      error  // why no further frame is accepted
	epoch    uint32 // of the master, from its plan on
	plan     Plan
	importer *journal.Import // of the snapshot that is being received
	placed   uint64
	recs     []journal.Record

	telling sync.Mutex // held while OnCommit is called
	stream  uint32     // epoch, once the plan is done
	stale   bool       // a frame came of an epoch that is over
	fenced  bool       // and the peer was told
	ends    []journal.Position
	flushed journal.Position // newest of ends that is durable
	news    bool             // it was not told
	commit  uint64           // as the master says
	out     []byte
}

// NewReceiver returns the end of a connection to a master. The caller has said Hello with what Log.Hello fills in, all of the
// log being durable.
func NewReceiver(log *Log, opt ReceiverOptions) *Receiver {
	if opt.OnCut == nil {
		opt.OnCut = func(uint64) error { return nil }
	}
	if opt.OnPlanned == nil {
		opt.OnPlanned = func(journal.Position, ID, uint32) error { return nil }
	}
	if opt.OnStored == nil {
		opt.OnStored = func(uint64, uint32) {}
	}
	if opt.OnReplace == nil {
		opt.OnReplace = func() error { return nil }
	}
	if opt.OnReplaced == nil {
		opt.OnReplaced = func() {}
	}
	return &Receiver{log: log, opt: opt}
}

// Accept takes a whole frame of the master. Records may lie in it until they are durable: b must not change before.
func (r *Receiver) Accept(b []byte) error {
	f, err := parseFrame(b, r.seeds.in)
	if err != nil {
		return err
	}
	if f.epoch < r.log.promised.Load() {
		r.refuse()
		return nil
	}
	if f.kind.isSignal() {
		return r.acceptSignal(f)
	}
	commit, err := r.take(f)
	if err == nil {
		r.advance(commit)
	}
	return err
}

// take accepts a frame that is no signal. After one that failed no other is accepted.
func (r *Receiver) take(f frame) (commit uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		commit, r.err = r.acceptFrame(f)
	}
	return commit, r.err
}

// refuse has Next tell the peer that its epoch is over (R7).
func (r *Receiver) refuse() {
	r.telling.Lock()
	r.stale = true
	r.telling.Unlock()
	r.log.awake()
}

func (r *Receiver) acceptSignal(f frame) error {
	s, err := parseSignal(f)
	if err != nil {
		return err
	}
	if s.Kind == Beacon {
		r.advance(s.Seq)
	}
	r.opt.OnSignal(s)
	return nil
}

// serves says that the master tells, with a BEACON, that the beginning of its epoch is committed: it serves clients from then on. It is
// for OnSignal alone.
func (r *Receiver) serves(s *Signal) bool {
	began := r.plan.Lineage.Last() // none before the plan
	return s.Kind == Beacon && r.epoch != 0 && s.Epoch == began.Epoch && s.Seq >= began.First
}

func (r *Receiver) acceptFrame(f frame) (commit uint64, err error) {
	switch {
	case f.epoch < r.log.promised.Load(): // promised just now
		r.refuse()
		return 0, nil
	case f.kind == kindPlan && r.epoch == 0:
		return 0, r.acceptPlan(f)
	case r.epoch == 0 || f.epoch != r.epoch:
		return 0, fmt.Errorf("%s of epoch %d came in a stream of epoch %d", f.kind, f.epoch, r.epoch)
	case f.kind == kindSnapshot && r.importer != nil:
		return 0, r.acceptPlaced(f)
	case f.kind == kindSnapshotEnd && r.importer != nil:
		return 0, r.acceptSnapshotEnd(f)
	case f.kind == kindAppend && r.importer == nil:
		return r.acceptRecords(f)
	}
	return 0, fmt.Errorf("%s is not due", f.kind)
}

// acceptPlan does what the plan says. Then the journal is a beginning of the master's, and its lineage that of the master.
func (r *Receiver) acceptPlan(f frame) (err error) {
	p, err := parsePlan(f.payload)
	pair := r.log.Pair()
	switch {
	case err != nil:
		return err
	case p.Refused != "":
		return fmt.Errorf("%w: %s", ErrRefused, p.Refused)
	case pair.Member() && pair.Cluster != p.Cluster:
		return fmt.Errorf("%w: it belongs to the pair %s, this node to %s", ErrStranger, p.Cluster, pair.Cluster)
	}
	empty := p.From.Seq == 0 && !p.Snapshot && !p.Cut                               // the journal that it is for, though not told that
	if end := r.log.End(); end != p.End && (empty || p.End != journal.Position{}) { // what an earlier connection still brought may be acknowledged by now
		return fmt.Errorf("the plan is for a journal that ends with seq %d; it has come to seq %d since the HELLO", p.End.Seq, end.Seq)
	}
	r.plan, r.epoch = p, f.epoch
	if p.Snapshot {
		r.importer, err = r.log.receive(p.From)
		return notCopied(err)
	}
	if p.Cut {
		err = r.log.cut(p.From, p.Surplus, func() error { return r.opt.OnCut(p.From.Seq) })
	}
	end := r.log.End()
	if err == nil && end != p.From {
		err = fmt.Errorf("%w: the plan goes on from seq %d, chain %08x; the journal ends with %d, %08x",
			ErrDiverged, p.From.Seq, p.From.Chain, end.Seq, end.Chain)
	}
	if err == nil {
		err = r.opt.OnPlanned(end, p.Cluster, f.epoch)
	}
	if err == nil {
		err = r.log.Remember(func(pair *Pair) {
			pair.Cluster, pair.Lineage, pair.Journal = p.Cluster, p.Lineage, r.log.ID()
		})
	}
	if err == nil {
		r.begin()
	}
	return err
}

// begin says where the journal stands before the first record.
func (r *Receiver) begin() {
	end := r.log.End()
	r.telling.Lock()
	r.stream, r.ends, r.flushed = r.epoch, append(r.ends[:0], end), journal.Position{}
	r.telling.Unlock()
	r.log.passed(end.Seq)
	r.log.retain()
	if r.log.Durable() < end.Seq {
		r.log.j().Sync()
	}
	r.log.awake()
}

func notCopied(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", errCopying, err)
	}
	return err
}

func (r *Receiver) acceptPlaced(f frame) error {
	return eachPlaced(f.payload, func(rec journal.Record) error {
		if rec.Epoch > r.epoch {
			return fmt.Errorf("its epoch is %d, that of the master %d", rec.Epoch, r.epoch)
		}
		r.placed++
		return notCopied(r.importer.Add(rec))
	})
}

func (r *Receiver) acceptSnapshotEnd(f frame) error {
	e, err := parseSnapshotEnd(f.payload)
	if err == nil && e.records != r.placed {
		err = fmt.Errorf("the snapshot has %d records, %d came", e.records, r.placed)
	}
	if err == nil {
		err = notCopied(r.importer.Finish(e.end))
		r.importer = nil
	}
	if err == nil {
		err = r.opt.OnReplace()
	}
	if err == nil {
		end := r.log.End()
		covered := r.plan.Covered && end == r.plan.End && end.Seq <= e.end.Seq
		err = notCopied(r.log.replace(r.plan.Cluster, r.plan.Lineage, end.Seq > 0 && !covered))
	}
	if err == nil {
		r.opt.OnReplaced()
		err = fmt.Errorf("%w, up to seq %d", ErrReplaced, e.end.Seq)
	}
	return err
}

func (r *Receiver) acceptRecords(f frame) (commit uint64, err error) {
	a, body, err := parseAppend(f.payload)
	if err != nil {
		return 0, err
	}
	j := r.log.j()
	end := j.End()
	if a.prevSeq != end.Seq || a.prevChain != end.Chain {
		return 0, fmt.Errorf("%w: an APPEND follows seq %d, chain %08x; the journal ends with %d, %08x",
			ErrDiverged, a.prevSeq, a.prevChain, end.Seq, end.Chain)
	}
	if r.recs, err = parseRecords(r.recs[:0], body, &a, end, f.epoch); err != nil {
		return 0, err
	}
	err = j.Append(r.recs)
	clear(r.recs)
	if err != nil {
		return 0, err
	}
	if end = j.End(); end.Chain != a.endChain {
		r.log.Resync()
		return 0, fmt.Errorf("%w: chain %08x after seq %d, the master has %08x", ErrDiverged, end.Chain, end.Seq, a.endChain)
	}
	r.appended(end)
	r.opt.OnStored(end.Seq, f.epoch)
	r.log.followed(end.Seq, len(body))
	if f.flags&flagSync != 0 && j.Durable() < end.Seq {
		j.Sync()
	}
	return a.commit, nil
}

// followed notes that the log of a standby has grown. The master has all of it: nothing is retained for that.
func (l *Log) followed(seq uint64, octets int) {
	l.mu.Lock()
	l.peer = seq
	grown := l.growth.add(seq, octets)
	l.mu.Unlock()
	if grown {
		l.retain()
	}
}

// appended notes where a frame has ended.
func (r *Receiver) appended(end journal.Position) {
	r.telling.Lock()
	if n := len(r.ends); n == 0 || r.ends[n-1] != end {
		r.ends = append(r.ends, end)
	}
	r.telling.Unlock()
}

// advance notes how far the master has committed.
func (r *Receiver) advance(commit uint64) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.commit = max(r.commit, commit)
	r.look()
}

// look sees what has become durable, and what is committed by that; the caller holds telling.
func (r *Receiver) look() {
	durable, n := r.log.Durable(), 0
	for n < len(r.ends) && r.ends[n].Seq <= durable {
		r.flushed = r.ends[n]
		n++
	}
	if n > 0 {
		r.ends = append(r.ends[:0], r.ends[n:]...)
		r.news = true
	}
	if seq := min(r.commit, r.flushed.Seq); seq > r.log.Committed() {
		r.log.Commit(seq)
		r.opt.OnCommit(seq)
	}
}

// Next returns the next frame, nil when there is none for now: what has been flushed, the newest alone. It is valid until
// Next is called again.
func (r *Receiver) Next() ([]byte, error) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.look()
	s := Signal{Kind: Flushed, Epoch: r.stream, Seq: r.flushed.Seq, Chain: r.flushed.Chain}
	switch {
	case r.fenced:
		return nil, fmt.Errorf("%w: epoch %d is promised", ErrStale, r.log.promised.Load())
	case r.stale:
		r.fenced = true
		s = Signal{Kind: Fence, Epoch: r.log.promised.Load()}
		r.log.awake()
	case !r.news:
		return nil, nil
	}
	r.news = false
	r.out = s.appendTo(r.out[:0], r.seeds.out)
	return r.out, nil
}

// Close waits for the frame that is being accepted; no other is. What was received of a snapshot that is not whole is given
// up.
func (r *Receiver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.err = errors.New("the stream has ended")
	if r.detach != nil {
		r.detach()
	}
	if r.importer != nil {
		_ = r.importer.Abandon() // or the next start does
		r.importer = nil
	}
}

func (r *Receiver) bind(s seeds, wake func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seeds = s
	if !r.closed {
		r.detach = r.log.attach(wake)
	}
}

// coming has Next say FLUSHED once more, if all that came before the frame is durable: so the master knows that what it waits for
// is still on its way. While anything waits for the disk that is not said: then the master waits for the disk.
func (r *Receiver) coming() {
	r.telling.Lock()
	r.look()
	again := r.stream != 0 && len(r.ends) == 0
	r.news = r.news || again
	r.telling.Unlock()
	if again {
		r.log.awake()
	}
}

func (r *Receiver) rest(time.Time) time.Duration { return 0 }

func (r *Receiver) mark() uint64 { return r.log.End().Seq }

func (r *Receiver) settled(mark uint64) bool { return r.log.Durable() >= mark }
