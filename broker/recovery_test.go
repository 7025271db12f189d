package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal"
)

// What was consumed is given back on disk, and a start after that finds what
// was not.
func TestRecoverAfterTheDiskWasGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		const messages = 3000
		body := strings.Repeat("x", 1024)
		for i := range messages {
			c.do("SEND\ndestination:/queue/a", fmt.Sprint(i, body))
		}
		c.subscribe("s", "/queue/a", "client-individual", "prefetch-count:1")
		for i := range messages - 1 {
			c.ack("ACK", "1.2", c.message(fmt.Sprint(i, body)))
		}
		c.message(fmt.Sprint(messages-1, body))
		c.close()
		time.Sleep(2 * tendInterval)
		synctest.Wait()
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		names := h.disk.Names()
		h = servePipesOn(t, h.disk, Options{}, nil)
		if first := h.journal.First(); first <= messages/2 {
			t.Errorf("records from %d on are kept though only the last message is needed: %v", first, names)
		}
		c = h.connect("1.2")
		c.subscribe("s", "/queue/a", "auto")
		c.message(fmt.Sprint(messages-1, body), "redelivered:true")
		c.close()
	})
}

// One old message keeps its own place on the disk and not that of all that came
// after it.
func TestOldMessageKeepsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{CheckpointEvery: time.Second})
		h.send("/queue/old", "old")
		c := h.connect("1.2")
		c.subscribe("s", "/queue/a", "auto")
		body := strings.Repeat("x", 1024)
		for range 3000 {
			c.say("SEND\ndestination:/queue/a\n\n" + body)
			c.message(body)
		}
		c.close()
		time.Sleep(time.Minute)
		synctest.Wait()
		const segment = 256 << 10
		if octets := h.journal.Stats().Bytes; octets > 4*segment {
			t.Errorf("%d octets are kept for one message: %v", octets, h.disk.Names())
		}
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		servePipesOn(t, h.disk, Options{}, nil).wantLeft("/queue/old", "old")
	})
}

// A log that has given back even its last entries goes on after them.
func TestRecoverWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	log := &emptyLog{last: 41}
	s := New(Options{})
	log.durable = s.Durable
	if err := s.Recover(context.Background(), log, "b1", 3); err != nil {
		t.Fatal(err)
	}
	if len(log.records) != 1 || log.records[0].Seq != 42 || log.records[0].Epoch != 3 {
		t.Errorf("after 41 came %+v", log.records)
	}
}

// An emptyLog has no record and had some.
type emptyLog struct {
	bareLog
	last    uint64
	records []journal.Record
	durable func(uint64)
}

func (l *emptyLog) Read(uint64, func(journal.Record) error) error { return nil }
func (l *emptyLog) Last() uint64                                  { return l.last }
func (l *emptyLog) Append(r []journal.Record) error {
	l.records = append(l.records, r...)
	return nil
}
func (l *emptyLog) Sync() { l.durable(l.records[len(l.records)-1].Seq) }

// A bareLog is what a log has that holds nothing.
type bareLog struct{}

func (bareLog) Trim(uint64)                                                         {}
func (bareLog) Clean(journal.Census)                                                {}
func (bareLog) Get(uint64) (journal.Record, error)                                  { return journal.Record{}, errDisk }
func (bareLog) Checkpoint() (from, upto uint64, parts [][]byte, ok bool)            { return 0, 0, nil, false }
func (bareLog) Room() int64                                                         { return math.MaxInt64 }
func (bareLog) Stats() journal.Stats                                                { return journal.Stats{} }
func (bareLog) ID() [16]byte                                                        { return [16]byte{1} }
func (bareLog) Close() error                                                        { return nil }
func (bareLog) WriteCheckpoint(_, _ uint64, _ func(func([]byte) error) error) error { return nil }

// A start says how far it has come, and ends when it is told to.
func TestRecoverCanBeWatchedAndStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	var done, total uint64
	log := &longLog{last: 10 * progressEvery}
	s := New(Options{Progress: func(d, of uint64) {
		done, total = d, of
		if d >= 3*progressEvery {
			cancel()
		}
	}})
	if err := s.Recover(ctx, log, "b1", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Recover: %v", err)
	}
	if total != log.last || done >= 5*progressEvery || log.read >= 5*progressEvery {
		t.Errorf("it read %d records and spoke of %d of %d", log.read, done, total)
	}
}

// A longLog is of starts.
type longLog struct {
	emptyLog
	last, read uint64
}

func (l *longLog) Last() uint64 { return l.last }
func (l *longLog) Read(_ uint64, fn func(journal.Record) error) error {
	for l.read < l.last {
		l.read++
		if err := fn(journal.Record{Seq: l.read, Type: uint8(destinations.KindStart)}); err != nil {
			return err
		}
	}
	return nil
}
