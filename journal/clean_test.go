package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

const (
	kindPut    = 1 // something that is needed until it is settled
	kindSettle = 2 // payload: the Seqs of what it settles
)

// owner is a user of a journal who puts things and settles them, and knows at any time what must be there.
type owner struct {
	*watch
	r    *rand.Rand
	size int // of a put, at most

	steady bool // without restarts

	cleaning atomic.Bool // clean is waiting, and nothing but the cleaner is at work

	mu      sync.Mutex
	history []journal.Record  // all records ever, by Seq-1
	live    map[uint64]uint64 // what is not settled, as of the last record: Seq to size
}

func newOwner(seed uint64) *owner {
	return &owner{watch: newWatch(), r: rand.New(rand.NewPCG(seed, 9)), size: 600, live: map[uint64]uint64{}}
}

func (o *owner) options(disk *memfs.FS) journal.Options {
	opt := o.watch.options(disk)
	opt.SegmentBytes = 16 << 10
	opt.CleanRate = 1 << 40
	opt.ScrubEvery = -1
	return opt
}

// put makes a record that is needed.
func (o *owner) put() journal.Record {
	body := make([]byte, o.r.IntN(o.size))
	for i := range body {
		body[i] = byte(o.r.Uint32())
	}
	return journal.Record{Type: kindPut, Body: body}
}

// settle makes a record that settles some of what is live, at random or the oldest, but nothing of keep.
func (o *owner) settle(n int, keep ...uint64) journal.Record {
	r := journal.Record{Type: kindSettle}
	o.mu.Lock()
	defer o.mu.Unlock()
	left := slices.DeleteFunc(slices.Sorted(maps.Keys(o.live)), func(seq uint64) bool { return slices.Contains(keep, seq) })
	if o.r.IntN(2) == 0 {
		o.r.Shuffle(len(left), func(i, k int) { left[i], left[k] = left[k], left[i] })
	}
	for _, seq := range left[:min(n, len(left))] {
		r.Body = binary.LittleEndian.AppendUint64(r.Body, seq)
	}
	return r
}

func settled(r journal.Record) (seqs []uint64) {
	for b := r.Body; len(b) > 0; b = b[8:] {
		seqs = append(seqs, binary.LittleEndian.Uint64(b))
	}
	return seqs
}

// apply brings live up to date with r.
func apply(live map[uint64]uint64, r journal.Record) {
	if r.Type == kindPut {
		live[r.Seq] = uint64(len(r.Body))
		return
	}
	for _, seq := range settled(r) {
		delete(live, seq)
	}
}

// append gives recs their Seqs and appends them.
func (o *owner) append(j *journal.Journal, recs ...journal.Record) error {
	o.mu.Lock()
	before := len(o.history)
	for i := range recs {
		recs[i].Seq = uint64(len(o.history) + 1)
		recs[i].Epoch = uint32(1 + recs[i].Seq/500)
		o.history = append(o.history, recs[i])
		apply(o.live, recs[i])
	}
	o.mu.Unlock()
	err := j.Append(recs)
	if err != nil {
		o.forget(before)
	}
	return err
}

// forget takes back all records after that Seq.
func (o *owner) forget(last int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.history = o.history[:last]
	o.live = o.asOf(uint64(last))
}

// asOf is what was live after the record with that Seq; the caller holds mu.
func (o *owner) asOf(seq uint64) map[uint64]uint64 {
	live := map[uint64]uint64{}
	for _, r := range o.history[:seq] {
		apply(live, r)
	}
	return live
}

// census is what o needs at the moment.
func (o *owner) census() census {
	o.mu.Lock()
	defer o.mu.Unlock()
	return census{asOf: uint64(len(o.history)), live: maps.Clone(o.live)}
}

// census implements journal.Census.
type census struct {
	asOf uint64
	live map[uint64]uint64
}

func (c census) AsOf() uint64 { return c.asOf }

func (c census) Bytes(first, last uint64) (n int64) {
	for seq, size := range c.live {
		if first <= seq && seq <= last {
			n += int64(size)
		}
	}
	return n
}

func (c census) Keep(r journal.Record, gone func(uint64) bool) bool {
	if r.Type == kindPut {
		return c.live[r.Seq] > 0 || slices.Contains(slices.Collect(maps.Keys(c.live)), r.Seq)
	}
	return slices.ContainsFunc(settled(r), func(seq uint64) bool { return !gone(seq) })
}

func (c census) oldest() uint64 {
	if len(c.live) == 0 {
		return c.asOf + 1
	}
	return slices.Min(slices.Collect(maps.Keys(c.live)))
}

// checkpoint writes one of what is live now; a start from it reads the log from an earlier Seq on.
func (o *owner) checkpoint(j *journal.Journal, back uint64) error {
	c := o.census()
	part := binary.LittleEndian.AppendUint64(nil, c.asOf)
	for _, seq := range slices.Sorted(maps.Keys(c.live)) {
		part = binary.LittleEndian.AppendUint64(part, seq)
		part = binary.LittleEndian.AppendUint64(part, c.live[seq])
	}
	return j.WriteCheckpoint(c.asOf-min(back, c.asOf), c.asOf, yieldAll(string(part)))
}

// restore brings back what the checkpoint and the log after it say is live.
func restore(j *journal.Journal) (live map[uint64]uint64, found bool, err error) {
	live = map[uint64]uint64{}
	from, _, parts, ok := j.Checkpoint()
	if !ok {
		return live, false, nil
	}
	b := parts[0]
	asOf := binary.LittleEndian.Uint64(b)
	for b = b[8:]; len(b) > 0; b = b[16:] {
		live[binary.LittleEndian.Uint64(b)] = binary.LittleEndian.Uint64(b[8:])
	}
	return live, true, j.Read(from+1, func(r journal.Record) error {
		if r.Seq > asOf {
			apply(live, r)
		}
		return nil
	})
}

// finds checks that reading the whole log, and reading it from the checkpoint on, give what o knows: everything live is
// there as it was, and nothing that was settled comes back.
func (o *owner) finds(j *journal.Journal) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := j.Durable()
	if last > uint64(len(o.history)) {
		return fmt.Errorf("the log ends with %d, appended was up to %d", last, len(o.history))
	}
	want := o.asOf(last)
	live, before := map[uint64]uint64{}, uint64(0)
	err := j.Read(0, func(r journal.Record) error {
		if r.Seq <= before || r.Seq > last {
			return fmt.Errorf("seq %d after %d, the last is %d", r.Seq, before, last)
		}
		is := o.history[r.Seq-1]
		if r.Type != is.Type || r.Epoch != is.Epoch || !bytes.Equal(r.Body, is.Body) {
			return fmt.Errorf("record %d is altered", r.Seq)
		}
		apply(live, r)
		before = r.Seq
		return nil
	})
	if err != nil {
		return err
	}
	if !maps.Equal(live, want) {
		return fmt.Errorf("reading all gives %d live, want %d: %s", len(live), len(want), difference(live, want))
	}
	fast, ok, err := restore(j)
	if err != nil {
		return fmt.Errorf("reading from the checkpoint: %w", err)
	}
	if ok && !maps.Equal(fast, want) {
		return fmt.Errorf("reading from the checkpoint gives %d live, want %d: %s", len(fast), len(want), difference(fast, want))
	}
	return nil
}

// findsBeside is finds beside a cleaner at work, which has to wait: else what settles a record is cleaned away after that was
// read, and before it is.
func (o *owner) findsBeside(j *journal.Journal) error {
	j.Retain(0)
	defer j.Retain(math.MaxUint64)
	return o.finds(j)
}

func difference(got, want map[uint64]uint64) string {
	for _, seq := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[seq]; !ok {
			return fmt.Sprintf("%d is too many", seq)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[seq]; !ok {
			return fmt.Sprintf("%d is missing", seq)
		}
	}
	return "sizes"
}

// commit appends recs and waits until they are durable.
func (o *owner) commit(j *journal.Journal, recs ...journal.Record) error {
	if err := o.append(j, recs...); err != nil {
		return err
	}
	j.Sync()
	if last := j.Last(); o.await(last) < last {
		return errDisk
	}
	return nil
}

// clean has the journal clean by what is live now, and waits.
func (o *owner) clean(j *journal.Journal) {
	j.Quiesce()
	o.cleaning.Store(true)
	defer o.cleaning.Store(false)
	j.Clean(o.census())
	j.Cleaned()
}

// size is what all segments take on disk.
func diskBytes(disk *memfs.FS) (n int64) {
	for _, name := range segmentNames(disk) {
		n += int64(len(disk.Content(name)))
	}
	return n
}

// TestCleaningKeepsWhatIsNeeded plays random lives: puts, settlements of one or several, cleaning, trims, checkpoints and
// restarts in any order.
func TestCleaningKeepsWhatIsNeeded(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(seed)
			j := open(t, o.options(disk))
			cleaned := false
			for range 400 {
				if err := o.act(t, &j, disk, seed%2 == 0); err != nil {
					t.Fatal(err)
				}
				cleaned = cleaned || j.Stats().Sparse > 0
			}
			if err := o.findsBeside(j); err != nil {
				t.Fatal(err)
			}
			if !cleaned {
				t.Error("nothing was ever cleaned")
			}
			mustClose(t, j)
			report, err := journal.Verify(disk, dir, nil)
			if err != nil || len(report.Damage) > 0 {
				t.Errorf("verify: %+v, %v", report, err)
			}
		})
	}
}

// act does one thing of the many that an owner may do.
func (o *owner) act(t *testing.T, j **journal.Journal, disk *memfs.FS, checkpoints bool) error {
	switch o.r.IntN(12) {
	case 0:
		(*j).Clean(o.census()) // and do not wait
	case 1:
		o.clean(*j)
		return o.findsBeside(*j)
	case 2:
		(*j).Trim(o.census().oldest())
	case 3:
		if err := o.checkpointMaybe(*j, checkpoints); err != nil {
			return err
		}
	case 4:
		if o.steady || o.r.IntN(3) > 0 {
			break
		}
		mustClose(t, *j)
		*j = open(t, o.options(disk))
		return o.findsBeside(*j)
	case 5, 6, 7:
		var recs []journal.Record
		for range 1 + o.r.IntN(20) {
			recs = append(recs, o.put())
		}
		return o.commit(*j, recs...)
	default:
		for range 1 + o.r.IntN(10) {
			if err := o.append(*j, o.settle(1+o.r.IntN(3))); err != nil {
				return err
			}
		}
		return o.commit(*j, o.put())
	}
	return nil
}

func (o *owner) checkpointMaybe(j *journal.Journal, wanted bool) error {
	if !wanted {
		return nil
	}
	err := o.checkpoint(j, uint64(o.r.IntN(30)))
	if errors.Is(err, journal.ErrTrimmed) { // or cleaned, while there was no checkpoint to forbid it
		return nil
	}
	return err
}

// TestCleaningKeepsDiskUseInBounds plays steady traffic for long while one old record is never settled, and some live on
// for a while. Disk use and the number of files keep to their bounds, for large records and for such that are smaller than their
// settlements.
func TestCleaningKeepsDiskUseInBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		size        int
		checkpoints bool
	}{{600, false}, {3, false}, {600, true}} {
		size := c.size
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(uint64(size))
			o.size = size
			j := open(t, o.options(disk))
			if err := o.commit(j, o.put()); err != nil {
				t.Fatal(err)
			}
			for round := range 400 {
				var recs []journal.Record
				for range 30 {
					recs = append(recs, o.put())
				}
				if err := o.commit(j, recs...); err != nil {
					t.Fatal(err)
				}
				for len(o.live) > 31 {
					if err := o.append(j, o.settle(1, 1)); err != nil {
						t.Fatal(err)
					}
				}
				if err := o.commit(j, o.put()); err != nil {
					t.Fatal(err)
				}
				o.clean(j)
				if c.checkpoints {
					if err := o.checkpoint(j, 20); err != nil {
						t.Fatal(err)
					}
					j.Cleaned() // by the census from before, up to where the new checkpoint allows
				}
				j.Quiesce()
				live := int64(40 * (32 + size + 50))
				if n, limit := diskBytes(disk), 2*live+5*(16<<10); n > limit {
					t.Fatalf("round %d: %d bytes on disk, want at most %d: %v", round, n, limit, segmentNames(disk))
				}
				if n := len(segmentNames(disk)); n > 10 {
					t.Fatalf("round %d: %d files", round, n)
				}
			}
			if err := o.finds(j); err != nil {
				t.Error(err)
			}
			if j.First() != 1 {
				t.Errorf("the log begins with %d", j.First())
			}
		})
	}
}

// TestCensusWaitsUntilItsRecordsAreDurable gives a census that knows of a settlement which is not. A crash would lose that,
// and find that what it settled is gone.
func TestCensusWaitsUntilItsRecordsAreDurable(t *testing.T) {
	t.Parallel()
	disk, o := memfs.New(), newOwner(7)
	j := open(t, o.options(disk))
	for range 100 {
		if err := o.commit(j, o.put()); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.append(j, o.settle(1000, 1)); err != nil {
		t.Fatal(err)
	}
	j.Clean(o.census())
	j.Cleaned()
	if n := j.Stats().CleanedBytes; n != 0 {
		t.Errorf("%d bytes were cleaned before the settlement was durable", n)
	}
	if err := o.survives(disk.CrashClone(memfs.None), o.reported()); err != nil {
		t.Error(err)
	}
	j.Sync()
	o.await(j.Last())
	j.Cleaned() // without being asked again
	if j.Stats().CleanedBytes == 0 {
		t.Error("nothing has been cleaned")
	}
	if err := o.finds(j); err != nil {
		t.Error(err)
	}
}

// hooked is a census that does something when it is first asked.
type hooked struct {
	census
	onBytes, onKeep func()
}

func (c *hooked) Bytes(first, last uint64) int64 {
	c.onBytes()
	return c.census.Bytes(first, last)
}

func (c *hooked) Keep(r journal.Record, gone func(uint64) bool) bool {
	c.onKeep()
	return c.census.Keep(r, gone)
}

// TestCheckpointsAndCleaningExcludeEachOther writes a checkpoint at each stage of a pass. Either it is there in time and
// nothing after it is cleaned, or it is refused.
func TestCheckpointsAndCleaningExcludeEachOther(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"before", "choosing", "judging", "after", "after a restart"} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(8)
			j := open(t, o.options(disk))
			for range 100 {
				if err := o.commit(j, o.put()); err != nil {
					t.Fatal(err)
				}
			}
			var result error
			write := sync.OnceFunc(func() { result = j.WriteCheckpoint(2, 2, yieldAll("live: 1 and 2")) })
			c := &hooked{onBytes: func() {}, onKeep: func() {}}
			switch stage {
			case "before":
				write()
			case "choosing":
				c.onBytes = write
			case "judging":
				c.onKeep = write
			}
			if err := o.commit(j, o.settle(1000, 1)); err != nil {
				t.Fatal(err)
			}
			c.census = o.census()
			j.Clean(c)
			j.Cleaned()
			if stage == "after a restart" {
				mustClose(t, j)
				j = open(t, o.options(disk))
			}
			write()
			if refused := errors.Is(result, journal.ErrTrimmed); refused == (stage == "before" || stage == "choosing") {
				t.Errorf("the checkpoint: %v", result)
			} else if sparse := j.Stats().Sparse; refused != (sparse > 0) {
				t.Errorf("the checkpoint: %v; %d segments have been cleaned", result, sparse)
			}
		})
	}
}

// TestCheckpointThatTheLogHasPassedIsNotUsed puts an old checkpoint back after more has been cleaned or trimmed than it allows.
func TestCheckpointThatTheLogHasPassedIsNotUsed(t *testing.T) {
	t.Parallel()
	for _, trim := range []bool{false, true} {
		disk, o := memfs.New(), newOwner(9)
		j := open(t, o.options(disk))
		for range 200 {
			if err := o.commit(j, o.put()); err != nil {
				t.Fatal(err)
			}
		}
		mustCheckpoint(t, j, 20, 190, "old")
		old := disk.Content(checkpointFile)
		if err := o.commit(j, o.settle(1000, 1, 200)); err != nil {
			t.Fatal(err)
		}
		mustCheckpoint(t, j, 150, 201, "new")
		if trim {
			j.Trim(100)
		} else {
			o.clean(j)
		}
		mustClose(t, j)
		disk.Put(checkpointFile, old)
		j = open(t, o.options(disk))
		wantCheckpoint(t, j, 0, 0)
		if trim == (j.First() == 1) || trim == (j.Stats().Sparse > 0) {
			t.Errorf("trim %t: the log begins with %d, %+v", trim, j.First(), j.Stats())
		}
	}
}

// tell plays a script in which much is cleaned, with checkpoints and a restart.
func (o *owner) tell(disk *memfs.FS, rounds int, checkpoints bool) error {
	for round := range rounds {
		j, err := journal.Open(o.options(disk))
		if err != nil {
			return err
		}
		for i := range 12 {
			err := o.chapter(j, round*12+i, checkpoints)
			if err != nil {
				return errors.Join(err, j.Close())
			}
		}
		if err := j.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (o *owner) chapter(j *journal.Journal, i int, checkpoints bool) error {
	for range 4 {
		var recs []journal.Record
		for range 8 {
			recs = append(recs, o.put())
		}
		if err := o.commit(j, recs...); err != nil {
			return err
		}
	}
	for range 10 {
		if err := o.append(j, o.settle(3, 1)); err != nil {
			return err
		}
	}
	if err := o.commit(j, o.put()); err != nil {
		return err
	}
	if checkpoints && i%3 == 2 {
		if err := o.checkpoint(j, 20); err != nil {
			return err
		}
	}
	if i > 3 && i%5 == 0 {
		j.Trim(o.census().oldest())
	}
	o.clean(j)
	j.Quiesce()
	return nil
}

// survives recovers a crashed disk: what is live is what the owner knows as of the last record, which is no older than
// reported; then it goes on and cleans again.
func (o *owner) survives(disk *memfs.FS, reported uint64) error {
	j, err := journal.Open(newOwner(0).options(disk))
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	if j.Last() < reported {
		return fmt.Errorf("the last record is %d, %d was reported durable", j.Last(), reported)
	}
	if err := o.finds(j); err != nil {
		return err
	}
	for _, name := range disk.Names() {
		if strings.HasSuffix(name, ".tmp") {
			return fmt.Errorf("%s was left behind", name)
		}
	}
	o.mu.Lock()
	c := census{j.Last(), o.asOf(j.Last())}
	o.mu.Unlock()
	j.Clean(c)
	j.Cleaned()
	if err := o.finds(j); err != nil {
		return fmt.Errorf("after cleaning again: %w", err)
	}
	return nil
}

// TestCrashWhileCleaning crashes before every call that changes the disk, from the moment on that cleaning has begun.
func TestCrashWhileCleaning(t *testing.T) {
	t.Parallel()
	for _, checkpoints := range []bool{false, true} {
		t.Run(fmt.Sprintf("checkpoints=%t", checkpoints), func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(1)
			var mu sync.Mutex
			cleaning, states := false, 0
			disk.OnCall(func(c memfs.Call) error {
				mu.Lock()
				defer mu.Unlock()
				cleaning = cleaning || strings.HasSuffix(c.Name, "clean.tmp")
				if !cleaning || !c.Writes() || t.Failed() {
					return nil
				}
				reported := o.reported()
				for i := range 5 {
					seed := uint64(states)
					states++
					clone := disk.CrashClone([]memfs.Keep{memfs.All, memfs.None, memfs.Random(seed)}[min(i, 2)])
					if err := o.survives(clone, reported); err != nil {
						t.Errorf("crash before %+v, kind %d, seed %d: %v", c, i, seed, err)
					}
				}
				return nil
			})
			if err := o.tell(disk, 2, checkpoints); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d crash states", states)
			if states < 1000 {
				t.Errorf("%d crash states only", states)
			}
		})
	}
}

// TestErrorWhileCleaning lets one call fail, each of the cleaner's in its turn.
func TestErrorWhileCleaning(t *testing.T) {
	t.Parallel()
	stops := 0
	for i, done := 0, false; !done && !t.Failed(); i++ {
		disk, o := memfs.New(), newOwner(2)
		var mu sync.Mutex
		var failed memfs.Call
		calls := 0
		disk.OnCall(func(c memfs.Call) error {
			mu.Lock()
			defer mu.Unlock()
			if !o.cleaning.Load() || failed.Op != "" {
				return nil
			}
			if calls++; calls <= i {
				return nil
			}
			failed = c
			return errDisk
		})
		err := o.tell(disk, 1, false)
		disk.OnCall(nil)
		done = failed.Op == ""
		if n := o.failures(); n > 1 || (n == 1) != (err != nil) || err != nil && !errors.Is(err, errDisk) {
			t.Errorf("failure at %d %+v: OnFatal was called %d times, the script ends with %v", i, failed, n, err)
		}
		stops += o.failures()
		if done {
			t.Logf("%d calls", calls)
		}
		if (o.failures() > 0) != (failed.Op == "SyncDir") {
			t.Errorf("failure at %d %+v: the journal stopped %d times, the script ends with %v", i, failed, o.failures(), err)
		}
		for seed := range uint64(4) {
			clone := disk.CrashClone([]memfs.Keep{memfs.All, memfs.None, memfs.Random(seed)}[min(seed, 2)])
			if err := o.survives(clone, o.reported()); err != nil {
				t.Errorf("failure at %d %+v, then crash %d: %v", i, failed, seed, err)
			}
		}
	}
	if stops == 0 {
		t.Error("a directory that could not be synced has never stopped the journal")
	}
}

// TestNewCheckpointLetsCleaningGoOn asks once, when the checkpoint on disk forbids it. While the next one is being written
// nothing after it may go; afterwards the journal cleans by itself.
func TestNewCheckpointLetsCleaningGoOn(t *testing.T) {
	t.Parallel()
	disk, o := memfs.New(), newOwner(10)
	j := open(t, o.options(disk))
	for range 200 {
		if err := o.commit(j, o.put()); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.commit(j, o.settle(1000, 1, 200)); err != nil {
		t.Fatal(err)
	}
	ask := func() {
		o.clean(j)
		if st := j.Stats(); st.Sparse > 0 {
			t.Errorf("cleaned what the checkpoint needs: %+v", st)
		}
	}
	if err := j.WriteCheckpoint(1, 1, func(yield func([]byte) error) error { // the first: no other forbids it
		ask()
		j.Trim(100)
		if err := o.commit(j, o.put()); err != nil {
			return err
		}
		j.Quiesce()
		if j.First() > 2 {
			t.Errorf("trimmed to %d", j.First())
		}
		return yield([]byte("x"))
	}); err != nil {
		t.Fatal(err)
	}
	ask()
	if err := o.checkpoint(j, 0); err != nil {
		t.Fatal(err)
	}
	j.Cleaned()
	if st := j.Stats(); st.CleanedBytes == 0 {
		t.Errorf("not cleaned after a new checkpoint: %+v", st)
	}
}

// someSettled is a census that needs two things of seven, settled or not.
type someSettled struct{ asOf uint64 }

func (c someSettled) AsOf() uint64 { return c.asOf }

func (c someSettled) Bytes(_, _ uint64) int64 { return 0 }

func (c someSettled) Keep(r journal.Record, gone func(uint64) bool) bool {
	if r.Type == kindPut {
		return r.Seq%7 < 2
	}
	return slices.ContainsFunc(settled(r), func(seq uint64) bool { return !gone(seq) })
}

// TestSettlementStaysAsLongAsWhatItSettles cleans what was put first, then the settlements: in one pass, in two, or with a
// restart between. Those of things that are still on disk stay, all others go.
func TestSettlementStaysAsLongAsWhatItSettles(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"side by side", "at once", "one after the other", "with a restart between"} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(11)
			o.size = 100
			j := open(t, o.options(disk))
			const things = 2000
			settlement := func(seq uint64) journal.Record {
				return journal.Record{Type: kindSettle, Body: binary.LittleEndian.AppendUint64(nil, seq)}
			}
			var recs []journal.Record
			for n := range uint64(things) {
				recs = append(recs, o.put())
				if stage == "side by side" {
					recs = append(recs, settlement(2*n+1))
				}
			}
			for n := range uint64(things) {
				if stage != "side by side" {
					recs = append(recs, settlement(n+1))
				}
			}
			for _, r := range recs {
				if err := o.append(j, r); err != nil {
					t.Fatal(err)
				}
			}
			o.size = 600
			for range 100 {
				if err := o.append(j, o.put()); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.commit(j, o.put()); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(stage, "one") || strings.HasPrefix(stage, "with") {
				j.Clean(someSettled{things})
				j.Cleaned()
			}
			if stage == "with a restart between" {
				mustClose(t, j)
				j = open(t, o.options(disk))
			}
			j.Clean(someSettled{j.Last()})
			j.Cleaned()
			there := map[uint64]bool{}
			if err := j.Read(0, func(r journal.Record) error {
				there[r.Seq] = true
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			left, needless := 0, 0
			for _, r := range o.history {
				if r.Type != kindSettle {
					continue
				}
				switch thing := settled(r)[0]; {
				case there[r.Seq] && there[thing]:
					left++
				case there[r.Seq]:
					needless++
				case there[thing]:
					t.Fatalf("%d is there, what settles it is gone", thing)
				}
			}
			if left < things/8 || left > things/2 || needless > things/8 { // near the borders of what pays some stay
				t.Errorf("%d settlements are left, and %d of what is gone", left, needless)
			}
		})
	}
}

// TestRenameThatFails lets the rename of a cleaned segment report an error, whether it has been done or not. Only when nobody
// can tell does the journal stop.
func TestRenameThatFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ done, blind bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(6)
			j := open(t, o.options(disk))
			for range 200 {
				if err := o.commit(j, o.put()); err != nil {
					t.Fatal(err)
				}
			}
			name, failed := segmentNames(disk)[0], false
			disk.OnCall(func(call memfs.Call) error {
				switch {
				case call.Op == "Rename" && strings.HasSuffix(call.Name, "clean.tmp") && !failed:
					failed = true
					if c.done {
						_ = disk.Rename(call.Name, name)
					}
					return errDisk
				case call.Op == "Open" && call.Name == name && failed && c.blind:
					return errDisk
				}
				return nil
			})
			if err := o.commit(j, o.settle(1000, 1, 200)); err != nil {
				t.Fatal(err)
			}
			o.clean(j)
			if !failed {
				t.Fatal("nothing was cleaned")
			}
			if c.blind {
				o.awaitFailure()
			} else if err := errors.Join(o.commit(j, o.put()), o.finds(j)); err != nil {
				t.Error(err)
			}
			if sparse := j.Stats().Sparse; (sparse > 0) != (c.done && !c.blind) {
				t.Errorf("%d segments count as cleaned", sparse)
			}
			if err := j.Close(); errors.Is(err, errDisk) != c.blind {
				t.Errorf("Close: %v", err)
			}
			disk.OnCall(nil)
			for i := range 4 {
				clone := disk.CrashClone([]memfs.Keep{memfs.All, memfs.None, memfs.Random(uint64(i))}[min(i, 2)])
				if err := o.survives(clone, o.reported()); err != nil {
					t.Errorf("crash %d: %v", i, err)
				}
			}
		})
	}
}

// TestCommitsGoOnWhileCleaningIsStuck blocks the cleaner in each of its calls while segments come and go.
func TestCommitsGoOnWhileCleaningIsStuck(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"Create", "WriteAt", "Sync", "Rename"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(3)
			j := open(t, o.options(disk))
			for i := range 5 {
				if err := o.chapter(j, i, false); err != nil {
					t.Fatal(err)
				}
			}
			stuck, free := make(chan struct{}), make(chan struct{})
			disk.OnCall(func(c memfs.Call) error {
				if c.Op == op && strings.HasSuffix(c.Name, "clean.tmp") {
					select {
					case <-stuck:
					default:
						close(stuck)
					}
					<-free
				}
				return nil
			})
			if err := o.commit(j, o.settle(1000, 1)); err != nil {
				t.Fatal(err)
			}
			for range 60 {
				if err := o.commit(j, o.put()); err != nil {
					t.Fatal(err)
				}
			}
			j.Clean(o.census())
			<-stuck
			before := len(segmentNames(disk))
			for range 200 {
				if err := o.commit(j, o.put()); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(segmentNames(disk)); n < before+3 {
				t.Errorf("%d segments after %d", n, before)
			}
			// All of what is being cleaned is trimmed now. It must not come back by way of the rename.
			if err := o.commit(j, o.settle(1000)); err != nil {
				t.Fatal(err)
			}
			j.Trim(o.census().oldest())
			j.Clean(o.census())
			if err := errors.Join(o.commit(j, o.put()), o.finds(j)); err != nil {
				t.Fatal(err)
			}
			j.Quiesce()
			close(free)
			j.Cleaned()
			if err := errors.Join(o.commit(j, o.put()), o.finds(j)); err != nil {
				t.Error(err)
			}
			j.Quiesce()
			if n := len(segmentNames(disk)); n != j.Stats().Segments || n > 3 {
				t.Errorf("%d segment files for %d segments", n, j.Stats().Segments)
			}
		})
	}
}
