package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
	"baton/journal"
	"baton/journal/memfs"
)

// A checkpointLog watches and changes what a server does with its checkpoints.
type checkpointLog struct {
	Log
	t     *testing.T
	parts func([][]byte) [][]byte // what a start finds, if not nil
	fail  atomic.Bool             // writing does
	hold  chan struct{}           // writing waits for it, if not nil

	read    []uint64 // from where, and how many records
	records int
	from    atomic.Uint64 // of the last one written
	upto    atomic.Uint64
	written atomic.Int64
	begun   atomic.Bool // one is being written
}

func (l *checkpointLog) Read(from uint64, fn func(journal.Record) error) error {
	l.read, l.records = append(l.read, from), 0
	return l.Log.Read(from, func(r journal.Record) error {
		l.records++
		return fn(r)
	})
}

func (l *checkpointLog) Checkpoint() (from, upto uint64, parts [][]byte, ok bool) {
	from, upto, parts, ok = l.Log.Checkpoint()
	if ok && l.parts != nil {
		parts = l.parts(parts)
	}
	return from, upto, parts, ok
}

func (l *checkpointLog) WriteCheckpoint(from, upto uint64, parts func(func([]byte) error) error) error {
	if l.fail.Load() {
		return errDisk
	}
	l.begun.Store(true)
	defer l.begun.Store(false)
	if l.hold != nil {
		<-l.hold
	}
	err := l.Log.WriteCheckpoint(from, upto, parts)
	if err != nil {
		l.t.Errorf("WriteCheckpoint: %v", err)
	}
	l.from.Store(from)
	l.upto.Store(upto)
	l.written.Add(1)
	return err
}

func (l *checkpointLog) Clean(c journal.Census) {
	if l.begun.Load() {
		l.t.Error("the log is to be cleaned while a checkpoint is written")
	}
	l.Log.Clean(c)
}

func (l *checkpointLog) Trim(before uint64) {
	if l.begun.Load() {
		l.t.Error("the log is to be trimmed while a checkpoint is written")
	}
	l.Log.Trim(before)
}

// serveChecked runs a server on a disk, with little memory and a checkpoint in
// each tick in which something has changed.
func serveChecked(t *testing.T, disk *memfs.FS, log *checkpointLog, core zapcore.Core) *host {
	log.t = t
	o := littleMemory(core)
	o.CheckpointEvery = time.Nanosecond
	return servePipesOn(t, disk, o, func(l Log) Log {
		log.Log = l
		return log
	})
}

// serveWhileWriting serves with a checkpoint that is being written until the log
// is no longer on hold.
func serveWhileWriting(t *testing.T) (*host, *checkpointLog) {
	t.Helper()
	log := &checkpointLog{hold: make(chan struct{})}
	h := serveChecked(t, memfs.New(), log, zapcore.NewNopCore())
	time.Sleep(2 * tendInterval)
	if synctest.Wait(); !log.begun.Load() {
		t.Fatal("no checkpoint is written")
	}
	return h, log
}

// A start from a checkpoint gives what a start from the log alone gives, after
// a clean end and after a crash at any time, with checkpoints that are made
// while much changes.
func TestStartFromCheckpoint(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { startFromCheckpoint(t, seed) })
		})
	}
}

func startFromCheckpoint(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 100))
	log := &checkpointLog{}
	h := serveChecked(t, memfs.New(), log, zapcore.NewNopCore())
	clients := []*client{h.connect("1.2"), h.connect("1.2"), h.connect("1.2")}
	var churning sync.WaitGroup
	for i, c := range clients {
		churning.Go(func() { c.churn(rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	t.Cleanup(churning.Wait)
	for range 3 {
		time.Sleep(time.Second + time.Duration(random.IntN(1500))*time.Millisecond)
		compareStarts(t, h.disk.CrashClone(memfs.None))
	}
	for _, c := range clients {
		c.close()
	}
	churning.Wait()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if n := log.written.Load(); n < 4 {
		t.Errorf("%d checkpoints were written: the test has too few", n)
	}
	compareStarts(t, h.disk)
}

const churned = 4 // queues

// churn sends, takes, acknowledges and refuses messages until the connection
// ends.
func (c *client) churn(random *rand.Rand) {
	for q := range churned {
		c.offer(fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/queue/%d\nack:client-individual\nprefetch-count:%d\n\n\x00", q, q, 1+random.IntN(9)))
	}
	var taken []frame
	settle := func(headers string) string {
		if len(taken) == 0 || random.IntN(3) == 0 {
			return ""
		}
		i := random.IntN(len(taken))
		f := taken[i]
		taken = slices.Delete(taken, i, i+1)
		commands := []string{"ACK", "ACK", "ACK", "NACK", "NACK\nrequeue:false"}
		return ackHead(commands[random.IntN(len(commands))], "1.2", f) + headers + "\n\n\x00"
	}
	send := func(headers string) string {
		body := strings.Repeat("x", random.IntN(3000))
		return fmt.Sprintf("SEND\ndestination:/queue/%d%s\n\n%d %s\x00", random.IntN(churned), headers, random.Uint32(), body)
	}
	for i := 0; ; i++ {
		frames := send("") + settle("")
		if random.IntN(4) == 0 {
			tx := "\ntransaction:t"
			frames += "BEGIN" + tx + "\n\n\x00" + send(tx) + settle(tx) + settle(tx) + "COMMIT" + tx + "\n\n\x00"
		}
		c.offer(frames + "BEGIN\ntransaction:n\n\n\x00" + "ABORT\ntransaction:n\nreceipt:done\n\n\x00")
		for {
			f, err := c.next()
			if err != nil {
				return
			}
			if f.command == "RECEIPT" {
				break
			}
			taken = append(taken, f)
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
	}
}

// compareStarts starts servers on copies of a disk, with the checkpoint on it
// and without, and compares what is in the queues.
func compareStarts(t *testing.T, disk *memfs.FS) {
	t.Helper()
	quick, log := contents(t, disk.CrashClone(memfs.None))
	if log.read[0] < 2 {
		t.Errorf("the start read the log from %d on: it used no checkpoint", log.read[0])
	}
	bare := disk.CrashClone(memfs.None)
	if err := errors.Join(bare.Remove("journal/checkpoint"), bare.SyncDir("journal")); err != nil {
		t.Fatal(err)
	}
	slow, log := contents(t, bare)
	if log.read[0] != 0 {
		t.Errorf("without a checkpoint the start read the log from %d on", log.read[0])
	}
	if !slices.Equal(quick, slow) {
		t.Errorf("with the checkpoint %d frames:\n%q\nwithout it %d:\n%q", len(quick), quick, len(slow), slow)
	}
	if len(slow) == 0 {
		t.Error("nothing is in the queues: the test compares nothing")
	}
}

// contents starts a server on a disk and returns all that is in its queues, as
// it is delivered.
func contents(t *testing.T, disk *memfs.FS) (all []string, log *checkpointLog) {
	t.Helper()
	log = &checkpointLog{}
	h := serveChecked(t, disk, log, zapcore.NewNopCore())
	c := h.connect("1.2")
	for q := range 2 * churned {
		name := fmt.Sprint(q)
		if q >= churned {
			name = fmt.Sprint("DLQ.", q-churned)
		}
		c.subscribe(name, "/queue/"+name, "client", "prefetch-count:65000", "consumer-window-size:100000000")
		c.say("BEGIN\ntransaction:t\nreceipt:all\n\n")
		for f := c.read(); f.command != "RECEIPT"; f = c.read() {
			all = append(all, f.String())
		}
		c.do("ABORT\ntransaction:t")
	}
	c.close()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	return all, log
}

// After a clean end, a start reads nothing but the checkpoint.
func TestStartAfterCleanEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &checkpointLog{}
		h := serveChecked(t, memfs.New(), log, zapcore.NewNopCore())
		for i := range 100 {
			h.send("/queue/a", fmt.Sprint(i))
		}
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		if upto, last := log.upto.Load(), h.journal.Last(); upto != last {
			t.Errorf("the last checkpoint goes up to %d, the log to %d", upto, last)
		}
		log = &checkpointLog{}
		h = serveChecked(t, h.disk, log, zapcore.NewNopCore())
		if log.records != 0 {
			t.Errorf("the start read %d records", log.records)
		}
		if got := h.stored(); got != 100 {
			t.Errorf("%d messages are there", got)
		}
	})
}

// A checkpoint that is not what the machine wrote costs time and nothing else.
func TestDamagedCheckpoint(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(parts [][]byte) [][]byte{
		"nonsense":       func([][]byte) [][]byte { return [][]byte{[]byte("nonsense")} },
		"cut":            func(p [][]byte) [][]byte { return append(p[:len(p)-1:len(p)-1], p[len(p)-1][:len(p[len(p)-1])/2]) },
		"a part is gone": func(p [][]byte) [][]byte { return p[:len(p)-1] },
		"empty":          func([][]byte) [][]byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := serveChecked(t, memfs.New(), &checkpointLog{}, zapcore.NewNopCore())
				h.send("/queue/a", "1", "2", "3")
				if err := h.stop(); err != nil {
					t.Fatal(err)
				}
				core, logged := observer.New(zapcore.WarnLevel)
				h = serveChecked(t, h.disk, &checkpointLog{parts: damage}, core)
				h.wantLeft("/queue/a", "1", "2", "3")
				if lines := logged.All(); len(lines) != 1 || !strings.Contains(lines[0].Message, "checkpoint cannot be used") {
					t.Errorf("the log says %v", lines)
				}
			})
		})
	}
}

// A checkpoint that cannot be written is tried again, with a pause, and what is
// stored does not suffer.
func TestCheckpointThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.WarnLevel)
		log := &checkpointLog{t: t}
		log.fail.Store(true)
		o := littleMemory(core)
		o.CheckpointEvery = time.Minute
		h := servePipesOn(t, memfs.New(), o, func(l Log) Log {
			log.Log = l
			return log
		})
		h.send("/queue/a", "1")
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := len(logged.All()); n < 5 || n > 10 {
			t.Errorf("in ten minutes it was tried %d times", n)
		}
		log.fail.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if log.written.Load() != 1 || log.upto.Load() != h.journal.Last() {
			t.Errorf("%d checkpoints were written, up to %d of %d", log.written.Load(), log.upto.Load(), h.journal.Last())
		}
		h.wantLeft("/queue/a", "1")
	})
}

// When nothing changes no checkpoint is written, and when something does, only
// when the log has come to rest.
func TestCheckpointWhenAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &checkpointLog{t: t}
		h := servePipesOn(t, memfs.New(), Options{}, func(l Log) Log {
			log.Log = l
			return log
		})
		time.Sleep(time.Hour)
		if n := log.written.Load(); n != 1 {
			t.Errorf("after the start %d checkpoints were written", n)
		}
		for range 60 {
			h.send("/queue/a", "body")
			time.Sleep(time.Second)
		}
		if n := log.written.Load(); n != 1 {
			t.Errorf("while messages came %d checkpoints were written", n-1)
		}
		time.Sleep(12 * time.Second)
		if n := log.written.Load(); n != 2 {
			t.Errorf("after that %d checkpoints were written", n-1)
		}
	})
}

// A log that grows gets checkpoints without coming to rest, but only so many
// that most of what is written are messages.
func TestCheckpointOfMuch(t *testing.T) {
	t.Parallel()
	var c checkpointer
	now := time.Now()
	c.every = time.Hour
	for _, tc := range []struct {
		grown, size int64
		want        bool
	}{
		{1, 0, false},
		{checkpointBytes - 1, 0, false},
		{checkpointBytes, 0, true},
		{checkpointBytes, checkpointBytes, false},
		{checkpointShare * checkpointBytes, checkpointBytes, true},
	} {
		c.changed, c.appended, c.size = now, tc.grown, tc.size
		if c.due(now) != tc.want {
			t.Errorf("after %d octets, and a checkpoint of %d, one is due: %t", tc.grown, tc.size, !tc.want)
		}
	}
}

// What a start had to read behind the checkpoint, the next one has to read too:
// it counts as what was appended.
func TestWhatAStartReadIsCovered(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := checkpointer{every: time.Hour, changed: now}
	for _, want := range []bool{false, true} {
		if got := c.due(now); got != want {
			t.Errorf("after a start that read %d octets, a checkpoint is due: %t", c.appended, got)
		}
		c.replayed(checkpointBytes)
	}
}

// While a checkpoint is written the log is not told what is not needed any more
// (the checkpointLog sees to that), and what came meanwhile is for the next one.
func TestChangesWhileACheckpointIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, log := serveWhileWriting(t)
		h.send("/queue/a", "1", "2")
		time.Sleep(3 * tendInterval)
		c := h.connect("1.2")
		c.subscribe("s", "/queue/a", "client-individual", "prefetch-count:1")
		c.ack("ACK", "1.2", c.message("1"))
		c.close()
		time.Sleep(3 * tendInterval)
		close(log.hold)
		time.Sleep(3 * tendInterval)
		synctest.Wait()
		if upto, last := log.upto.Load(), h.journal.Last(); upto != last {
			t.Errorf("the last checkpoint goes up to %d, the log to %d", upto, last)
		}
	})
}

// A checkpoint that is being written when the broker ends is not the last.
func TestEndWhileACheckpointIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, log := serveWhileWriting(t)
		h.send("/queue/a", "1")
		time.AfterFunc(tendInterval, func() { close(log.hold) })
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		if n, upto, last := log.written.Load(), log.upto.Load(), h.journal.Last(); n != 2 || upto != last {
			t.Errorf("%d checkpoints were written, up to %d of %d", n, upto, last)
		}
	})
}

// One that is given up in the middle leaves nothing behind.
func TestAbandonInTheMiddleOfAPicture(t *testing.T) {
	t.Parallel()
	m := destinations.New(destinations.Options{})
	var effects destinations.Effects
	for i := range 2 * sliceSteps {
		c := destinations.Command{Op: destinations.Send, Destination: destinations.Queue(fmt.Sprint(i)), Message: &destinations.Message{Content: []byte("\nbody"), Persistent: true}}
		if err := m.Step(time.Time{}, &c, &effects); err != nil {
			t.Fatal(err)
		}
	}
	var c checkpointer
	c.begin(m)
	if c.slice(); c.whole {
		t.Fatal("the picture is made: the test wants one that is not")
	}
	if c.abandon(); c.busy() || c.turn() != nil || c.parts != nil {
		t.Error("it is still being made")
	}
}

// A picture that is in the making when the broker ends leaves nothing in the
// one that is written then.
func TestEndInTheMiddleOfAPicture(t *testing.T) {
	t.Parallel()
	m := destinations.New(destinations.Options{})
	var effects destinations.Effects
	for i := range 2000 {
		c := destinations.Command{
			Op:          destinations.Send,
			Destination: destinations.Queue(fmt.Sprint(strings.Repeat("n", 200), i)),
			Message:     &destinations.Message{Content: []byte("\nbody"), Persistent: true},
		}
		if err := m.Step(time.Time{}, &c, &effects); err != nil {
			t.Fatal(err)
		}
	}
	log := &partsLog{}
	c := checkpointer{log: log, logger: zap.NewNop(), written: make(chan outcome, 1), appended: 1}
	for c.begin(m); len(c.parts) == 0; {
		c.slice()
	}
	if c.whole {
		t.Fatal("the picture is made: the test wants one that is not")
	}
	c.last(m, m.Last())
	c.running.Wait()
	again := destinations.New(destinations.Options{})
	for i, part := range log.parts {
		if err := again.Restore(part); err != nil {
			t.Fatalf("part %d of %d: %v", i, len(log.parts), err)
		}
	}
	if err := again.Resume(m.Last()); err != nil || again.Stats().Messages != m.Stats().Messages {
		t.Errorf("%v; %+v became %+v", err, m.Stats(), again.Stats())
	}
}

// A partsLog has the parts of the last checkpoint.
type partsLog struct {
	emptyLog
	parts [][]byte
}

func (l *partsLog) WriteCheckpoint(_, _ uint64, parts func(func([]byte) error) error) error {
	l.parts = nil
	return parts(func(part []byte) error {
		l.parts = append(l.parts, slices.Clone(part))
		return nil
	})
}
