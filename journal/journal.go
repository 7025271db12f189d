package journal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Options of a journal. Only Dir is needed.
type Options struct {
	Dir          string        // made if missing; nothing else may write there
	SegmentBytes int64         // size of a segment file; 0: 64 MiB
	BufferBytes  int           // appended and not yet durable; Append waits while it is full; 0: 16 MiB
	LazySync     time.Duration // longest time that records wait for a sync that nobody asked for; 0: 100 ms

	// OnDurable is called after each sync that made records durable, with the last of them. It runs on the writer
	// goroutine: it must not block and must not call Close.
	OnDurable func(seq uint64)
	// OnFatal is called once, after the first write or sync that failed; nothing more becomes durable. It runs on the
	// writer goroutine and must not call Close.
	OnFatal func(error)
	// OnSpace is called when less than LowWater bytes of the file system are free, or a new segment file finds no room,
	// and again when there is more than LowWater and a tenth. It runs on a goroutine of its own: the disk is looked at
	// each second, at once after a file found no room, and the first time when Open returns. It must not call Close. The
	// journal logs nothing of it: only who is told knows what that means.
	OnSpace func(low bool, free int64) // free: bytes, -1 where that is not known
	// OnFull is called when what is appended waits for room, or nearly all is used that there is without another file, and again
	// when there is room. It is called as OnSpace is.
	OnFull   func(full bool)
	LowWater int64         // bytes; 0: only when no room is found
	Stall    time.Duration // a write or sync that takes longer is reported while it lasts; 0: 5 s
	// Shared has the lock of the directory looked at again before anything is changed in it, for directories that other
	// machines reach too: one that lost it stops, as after a write that failed. FS implementations whose locks have no method
	// Held are trusted.
	Shared bool
	// Progress is called now and then while Open reads the journal, with the bytes read and to be read.
	Progress func(done, total int64)

	CacheBytes int64 // of what Get read; 0: 32 MiB

	CleanRate     int64         // bytes a second that cleaning and scrubbing read and write together; 0: 64 MiB
	Amplification float64       // bytes on disk for each byte that is needed, above which segments are cleaned; at least 1.1; 0: 2
	ScrubEvery    time.Duration // every byte in sealed segments is checked once in so much; 0: 24 h; negative: never

	Logger *zap.Logger // nil: none
	FS     FS          // nil: OS

	random      io.Reader     // of identities and salts; nil: crypto/rand
	batchBytes  int64         // from which size on a batch takes no further Append; 0: 64 KiB
	keepTrimmed time.Duration // how long the file of a trimmed segment waits to be recycled; 0: 5 s
}

func (o *Options) setDefaults() {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = 16 << 20
	}
	if o.batchBytes <= 0 {
		o.batchBytes = batchBytes
	}
	if o.LazySync <= 0 {
		o.LazySync = 100 * time.Millisecond
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 32 << 20
	}
	if o.CleanRate <= 0 {
		o.CleanRate = 64 << 20
	}
	if o.Amplification == 0 {
		o.Amplification = 2
	}
	o.Amplification = max(o.Amplification, 1.1)
	if o.ScrubEvery == 0 {
		o.ScrubEvery = 24 * time.Hour
	}
	if o.OnDurable == nil {
		o.OnDurable = func(uint64) {}
	}
	if o.OnFatal == nil {
		o.OnFatal = func(error) {}
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Stall <= 0 {
		o.Stall = 5 * time.Second
	}
	if o.keepTrimmed == 0 {
		o.keepTrimmed = 5 * time.Second
	}
	if o.random == nil {
		o.random = rand.Reader
	}
}

// Journal is an open log. Its methods are safe for concurrent use, except that calls of Append must be made in the
// order of their Seqs.
type Journal struct {
	opt      Options
	log      *zap.Logger
	lock     io.Closer
	id       [16]byte
	recovery Report
	files    files
	cache    cache

	durable atomic.Uint64
	wake    chan struct{}              // to the writer: something may be due
	chores  chan struct{}              // to the housekeeper
	tidy    chan struct{}              // to the cleaner
	shelf   atomic.Pointer[[]*segment] // what segments was last, for readers; nil once the journal is closed
	quit    chan struct{}              // closed when the journal is closed or has stopped
	quitted sync.Once
	scarce  chan struct{} // to the watcher of space: a file found no room, or room again
	calls   *watchdog
	done    sync.WaitGroup

	active *segment // the one being written; owned by the writer

	checkpointing sync.Mutex // held while a checkpoint is written

	mu          sync.Mutex  // a leaf: nothing is called and no I/O is done under it
	changed     *sync.Cond  // something below changed that Append, roll or Close may wait for
	segments    []*segment  // in order, the active one last; changed by setSegments, never in place
	tail        tail        // where the next record goes
	pending     *group      // appended and not taken by the writer
	encoding    bool        // an Append has pending and tail to itself, without mu
	idle        *group      // the other buffer, nil while the writer has it
	unsynced    int         // bytes appended and not yet durable
	waiting     int         // callers of Append that wait for room
	wanted      bool        // Sync was called for what is pending
	floor       uint64      // no record with a lower Seq is needed
	trimTo      uint64      // what floor would be without a limit
	limit       uint64      // no record after it may be trimmed or cleaned, because of the checkpoint on disk
	retained    uint64      // nor one after this, because of Retain
	checkpoint  *checkpoint // found by Open, nil when there is none or it has been replaced
	cleanedUpto uint64      // no record after it has been cleaned
	census      Census      // the newest, nil when there was none
	censusAsOf  uint64      // what it knows of
	censusDue   bool        // it has not been tried, or is worth trying again
	cleaning    bool        // the cleaner is at work
	reserved    *segment    // must not be trimmed just now: a cleaned one takes its place, and that of those up to
	replacing   uint64      // this Seq
	stats       cleaningStats
	trimDue     bool // segments can go once floor is noted
	unpromised  bool // records are durable that no mark promises
	promiseDue  bool // a mark is to promise them
	spare       spare
	space       space
	doomed      []*segment // trimmed and still in the directory, in the order in which they were trimmed
	doubt       error      // why the writer must stop
	err         error      // why the journal stopped, for ever
	closing     bool
}

// tail is where the next record goes.
type tail struct {
	segment segmentHeader
	seed    uint32
	offset  int64 // in segment
	indexed int64 // offset of the last index entry
	digest  uint32
	seq     uint64
	epoch   uint32
	chain   uint32
}

// fits tells whether n bytes of records and their mark have room, and after them the segment's index and seal. Records leave
// room for one mark more, so that there is always one that promises the last of them.
func (t *tail) fits(n int) bool {
	end := t.offset + int64(n) + markBytes
	if n > 0 {
		end += markBytes
	}
	return end+indexRoom(end)+markBytes <= t.segment.size
}

// Open recovers the journal in opt.Dir, or makes a new one, and locks it. A torn tail, which a crash leaves where
// nothing was promised yet, is copied to a file *.torn and cut; see Recovery. Any other damage is a *CorruptError and
// changes nothing. Errors wrap ErrLocked, ErrNewer or those of the file system.
func Open(opt Options) (*Journal, error) {
	j := newJournal(opt)
	if err := j.open(j.adoptSpare, j.loadCheckpoint); err != nil {
		j.calls.stop()
		return nil, err
	}
	j.log.Info("journal open", zap.String("dir", opt.Dir), zap.String("id", hex.EncodeToString(j.id[:])),
		zap.Int("segments", len(j.segments)), zap.Uint64("first", j.First()), zap.Uint64("last", j.Last()),
		zap.Int64("low_water", opt.LowWater))
	j.done.Go(j.write)
	j.done.Go(j.keepHouse)
	j.done.Go(j.tidyUp)
	j.done.Go(j.watchSpace)
	return j, nil
}

// newJournal returns one that is to be opened.
func newJournal(opt Options) *Journal {
	opt.setDefaults()
	j := &Journal{
		opt:    opt,
		log:    opt.Logger.Named("journal"),
		wake:   make(chan struct{}, 1),
		chores: make(chan struct{}, 1),
		tidy:   make(chan struct{}, 1),
		scarce: make(chan struct{}, 1),
		quit:   make(chan struct{}),
	}
	j.changed = sync.NewCond(&j.mu)
	j.limit, j.retained = noLimit, noLimit
	j.pending, j.idle = new(group), new(group)
	j.space.free = -1
	j.calls = newWatchdog(j.log, opt.Stall)
	if opt.Shared {
		opt.FS = guard(opt.FS)
	}
	j.opt.FS = steadily(opt.FS, j.calls)
	j.files = files{fs: j.opt.FS, dir: opt.Dir}
	j.cache.init(opt.CacheBytes)
	return j
}

// open locks the directory, recovers what is in it, and takes the steps that follow.
func (j *Journal) open(steps ...func() error) error {
	if err := j.opt.FS.MkdirAll(j.opt.Dir); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	lock, err := j.opt.FS.Lock(filepath.Join(j.opt.Dir, lockName))
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	j.lock = lock
	for _, step := range append([]func() error{j.finishCut, j.recover}, steps...) {
		if err := step(); err != nil {
			_ = j.leave() // it says less than err
			return fmt.Errorf("open journal %s: %w", j.opt.Dir, err)
		}
	}
	return nil
}

// leave gives the directory back.
func (j *Journal) leave() error {
	j.leaveSpare()
	j.closeFiles()
	return j.lock.Close()
}

// ID identifies the journal: 16 random bytes made with the directory.
func (j *Journal) ID() [16]byte { return j.id }

// Recovery tells what Open found.
func (j *Journal) Recovery() Report { return j.recovery }

// First is the Seq of the oldest record that Read can still give; Last()+1 when there is none.
func (j *Journal) First() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segments[0].firstSeq
}

// Last is the Seq of the last record appended, durable or not; 0 when there never was one.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tail.seq
}

// LastEpoch is the epoch of the last record appended; 0 when there never was one.
func (j *Journal) LastEpoch() uint32 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tail.epoch
}

// Durable is the Seq up to which all records survive a crash.
func (j *Journal) Durable() uint64 { return j.durable.Load() }

// Sync asks that everything appended so far be written and synced as soon as possible. It does not wait: Durable and
// Options.OnDurable tell when. Where all is durable already, it asks that this be noted in the log: until then, damage to
// the last group passes for a torn write.
func (j *Journal) Sync() {
	j.mu.Lock()
	if j.pending.empty() {
		j.promiseDue = j.unsynced == 0
	} else {
		j.wanted = true
	}
	j.mu.Unlock()
	signal(j.wake)
}

// Trim says that no record with a Seq below before is needed any more. Sealed segments that lie wholly below are
// removed soon, after that has been noted in the log. What a start from the checkpoint on disk needs stays until there is
// a newer one.
func (j *Journal) Trim(before uint64) {
	j.mu.Lock()
	j.trimTo = max(j.trimTo, min(before, j.tail.seq+1))
	j.raiseFloor()
	j.mu.Unlock()
	signal(j.wake)
}

// Retain says that somebody still needs the records after Seq after as they are: none of them is trimmed or cleaned until
// Retain is called again; math.MaxUint64 holds nothing back. What has been trimmed or cleaned before is not brought back. It
// does not outlive Close: the next Open removes what was trimmed.
//
// after may rise and fall. Where it falls, Retain may wait until a cleaned segment has got its name.
func (j *Journal) Retain(after uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	freed := placeOf(j.segments, j.bound())
	j.retained = min(after, noLimit)
	for j.reserved != nil && j.replacing > j.retained {
		j.changed.Wait()
	}
	j.raiseFloor()
	if j.trimDue {
		signal(j.wake)
	}
	if placeOf(j.segments, j.bound()) > freed {
		j.tryCensus()
	}
}

// bound is the Seq after which nothing may be trimmed or cleaned; the caller holds mu.
func (j *Journal) bound() uint64 { return min(j.limit, j.retained) }

// raiseFloor brings the floor as near to what Trim asked for as others allow; the caller holds mu.
func (j *Journal) raiseFloor() {
	j.floor = max(j.floor, min(j.trimTo, j.bound()+1))
	j.trimDue = j.trimDue || len(j.trimmed(j.floor)) > 0
}

// trimmed returns the segments that lie wholly below floor and can go; the caller holds mu.
func (j *Journal) trimmed(floor uint64) []*segment {
	floor = min(floor, j.retained+1)
	n := 0
	for n+1 < len(j.segments) && j.segments[n+1].firstSeq <= floor && j.segments[n] != j.reserved {
		n++
	}
	return j.segments[:n]
}

// Close makes everything appended durable, unless the journal has failed, and unlocks the directory. It returns the
// error that stopped the journal, if any. A second call does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return nil
	}
	j.closing = true
	j.shelf.Store(nil)
	j.changed.Broadcast()
	j.mu.Unlock()
	signal(j.wake)
	signal(j.chores)
	j.quitted.Do(func() { close(j.quit) })
	j.done.Wait()
	j.checkpointing.Lock() // one that is being written gives up
	defer j.checkpointing.Unlock()
	j.removeDoomed(true)
	err := j.leave()
	j.calls.stop()
	return firstError(j.failure(), err)
}

// closeFiles retires all segments, the active one included.
func (j *Journal) closeFiles() {
	j.mu.Lock()
	segments := j.segments
	j.mu.Unlock()
	for _, s := range segments {
		j.files.retire(s)
	}
	if j.active != nil {
		j.files.release(j.active)
	}
}

// setSegments changes which segments there are; the caller holds mu.
func (j *Journal) setSegments(segments []*segment) {
	j.segments = segments
	if !j.closing {
		j.shelf.Store(&segments)
	}
}

// replace puts s in the place of old, adjacent sealed segments, whose files the caller holds: nobody will open one of
// their names any more and find s. They are retired.
func (j *Journal) replace(old []*segment, s *segment) {
	j.mu.Lock()
	if n := slices.Index(j.segments, old[0]); n >= 0 {
		j.setSegments(slices.Concat(j.segments[:n], []*segment{s}, j.segments[n+len(old):]))
	}
	j.mu.Unlock()
	for _, o := range old {
		j.files.retire(o)
		j.cache.drop(o)
	}
}

// failure is the error that stopped the journal, or nil.
func (j *Journal) failure() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

func (j *Journal) path(name string) string { return filepath.Join(j.opt.Dir, name) }

func (j *Journal) randomUint64() (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(j.opt.random, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// signal wakes the goroutine behind c; it never blocks.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
