package main

import (
	"bytes"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/destinations"
	"baton/journal"
	"baton/journal/memfs"
)

var update = flag.Bool("update", false, "write the golden files of pins and stat")

// owner keeps a machine in a journal.
type owner struct {
	t       *testing.T
	machine *destinations.Machine
	log     *journal.Journal
	out     destinations.Effects
	now     time.Time
}

func (o *owner) step(c destinations.Command) {
	o.t.Helper()
	o.out.Reset()
	if err := o.machine.Step(o.now, &c, &o.out); err != nil {
		o.t.Fatal(err)
	}
	var records []journal.Record
	for _, e := range o.out.Entries {
		records = append(records, journal.Record{Seq: e.Seq, Epoch: 1, Type: uint8(e.Kind), Head: e.Head, Body: e.Body})
	}
	if len(records) == 0 {
		return
	}
	if err := o.log.Append(records); err != nil {
		o.t.Fatal(err)
	}
}

func (o *owner) send(queue string, n, size int) {
	o.t.Helper()
	for range n {
		content := append([]byte("\n"), make([]byte, size)...)
		o.step(destinations.Command{
			Op: destinations.Send, Session: 1, Destination: destinations.Queue(queue),
			Message: &destinations.Message{Content: content, Persistent: true},
		})
	}
}

// sendWith sends one small message with these properties.
func (o *owner) sendWith(queue string, p destinations.Props) {
	o.t.Helper()
	o.step(destinations.Command{
		Op: destinations.Send, Session: 1, Destination: destinations.Queue(queue),
		Message: &destinations.Message{Content: []byte("\n"), Persistent: true, Props: &p},
	})
}

// consume takes n messages of a queue one by one and answers each with op; a Nack is for good.
func (o *owner) consume(queue string, n int, op destinations.Op) {
	o.t.Helper()
	o.answer(queue, n, destinations.Command{Op: op, More: &destinations.More{Refusal: destinations.Refusal{Reject: true}}})
}

// answer takes n messages of a queue one by one and gives each the same answer.
func (o *owner) answer(queue string, n int, c destinations.Command) {
	o.t.Helper()
	o.step(destinations.Command{
		Op: destinations.Subscribe, Session: 2, Subscription: "s", Destination: destinations.Queue(queue),
		Consumer: &destinations.Consumer{Ack: destinations.AckIndividual, Prefetch: 1},
	})
	for range n {
		i := slices.IndexFunc(o.out.Outputs, func(out destinations.Output) bool { return out.Kind == destinations.Deliver })
		if i < 0 {
			o.t.Fatalf("%s gives nothing", queue)
		}
		d := o.out.Outputs[i].Delivery
		c.Session, c.Delivery = 2, destinations.DeliveryID{Sub: d.Sub, Tag: d.Tag}
		o.step(c)
	}
	o.step(destinations.Command{Op: destinations.Unsubscribe, Session: 2, Subscription: "s"})
}

// newOwner has an empty journal with small segments. What is appended is synced when a segment is full, and not by the clock.
func newOwner(t *testing.T) (*owner, *memfs.FS) {
	t.Helper()
	disk := memfs.New()
	log, err := journal.Open(journal.Options{Dir: "data/journal", FS: disk, SegmentBytes: 16 << 10, LazySync: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return &owner{t: t, machine: destinations.New(destinations.Options{}), log: log, now: time.UnixMilli(1_700_000_000_000)}, disk
}

// loadFrom closes the journal and reads it as the commands do.
func (o *owner) loadFrom(disk *memfs.FS) *loaded {
	o.t.Helper()
	if err := o.log.Close(); err != nil {
		o.t.Fatal(err)
	}
	in, err := journal.Inspect(disk, "data/journal")
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(in.Close)
	l, err := load(in, "data/journal", newProgress(io.Discard))
	if err != nil {
		o.t.Fatal(err)
	}
	return l
}

func TestPinsAndStat(t *testing.T) {
	t.Parallel()
	o, disk := newOwner(t)
	o.step(destinations.Command{Op: destinations.Start})
	o.send("poor", 1, 50)
	o.send("busy", 40, 500)
	o.consume("poor", 1, destinations.Nack) // the content in the first file, the move in the second
	o.consume("busy", 40, destinations.Ack)
	o.send("small", 400, 1)
	o.consume("small", 400, destinations.Ack) // a whole file of acknowledgements
	for _, queue := range []string{"a", "b", "c", "d"} {
		o.send(queue, 1, len(queue)+2000+int(queue[0]))
	}
	o.send("e", 3, 3000)
	o.consume("e", 3, destinations.Ack)
	l := o.loadFrom(disk)
	for name, most := range map[string]int{"pins.txt": 3, "pins_all.txt": -1} {
		var out bytes.Buffer
		if err := printPins(&out, l, most); err != nil {
			t.Error(err)
		}
		golden(t, name, out.String(), l)
	}
	var out bytes.Buffer
	printStat(&out, l)
	golden(t, "stat.txt", out.String(), l)
}

const nothing = "nothing in it is needed: it goes when a broker cleans next"

// TestPinsSayWhyAFileStays: each file after the first holds a message that was taken, and one thing more.
func TestPinsSayWhyAFileStays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		stays bool // the old message
		want  []string
	}{
		{"an old message stays", true, []string{
			"the newest start of a broker, kept until there is a newer one",
			"2 records of failed deliveries, kept as long as the messages are",
			"1 acknowledgement and the like, kept until 0000000001-00000000000000000001.seg is cleaned; " +
				"1 record of failed deliveries, kept as long as the messages are",
			"2 acknowledgements and the like, kept until 0000000001-00000000000000000001.seg is cleaned",
			nothing,
			"it is in use",
		}},
		{"nothing stays", false, []string{nothing, nothing, nothing, nothing, nothing, nothing, "it is in use"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, disk := newOwner(t)
			fail := destinations.Command{Op: destinations.Nack}
			pass := func() { // of two such messages each segment has room for one
				o.send("busy", 1, 9000)
				o.consume("busy", 1, destinations.Ack)
			}
			o.step(destinations.Command{Op: destinations.Start})
			o.send("old", 1, 50)
			o.send("first", 1, 50)
			o.send("poor", 1, 50)
			pass()
			pass()
			o.step(destinations.Command{Op: destinations.Start})
			pass()
			o.answer("old", 2, fail)
			pass()
			o.consume("first", 1, destinations.Ack)
			o.answer("old", 1, fail)
			pass()
			o.consume("poor", 1, destinations.Nack)
			o.consume("DLQ.poor", 1, destinations.Ack) // settles the move, which has to stay itself
			pass()
			if !c.stays {
				o.consume("old", 1, destinations.Ack)
			}
			pass()
			o.wantReasons(disk, c.want...)
		})
	}
}

// TestPinsSayWhatIsNoMessage: a file may be needed for what clients have asked the broker to remember.
func TestPinsSayWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	o, disk := newOwner(t)
	fill := func() { // two segments
		o.send("busy", 2, 9000)
		o.consume("busy", 2, destinations.Ack)
	}
	o.step(destinations.Command{Op: destinations.Start})
	o.step(destinations.Command{
		Op: destinations.Subscribe, Session: 2, More: &destinations.More{Client: "c"}, Subscription: "d", Destination: destinations.Topic("t"),
		Consumer: &destinations.Consumer{Durable: destinations.DurableID{Client: "c", Name: "d"}},
	})
	o.step(destinations.Command{Op: destinations.Unsubscribe, Session: 2, Subscription: "d"})
	o.sendWith("once", destinations.Props{Priority: destinations.DefaultPriority, DedupID: "1"})
	o.consume("once", 1, destinations.Ack)
	fill()
	o.sendWith("often", destinations.Props{Priority: destinations.DefaultPriority, Delay: 1000, Period: 1000, Repeat: 9})
	fill()
	o.now = o.now.Add(time.Second)
	o.step(destinations.Command{Op: destinations.Tick})
	o.consume("often", 1, destinations.Ack)
	o.step(destinations.Command{Op: destinations.Start})
	fill()
	o.wantReasons(disk,
		"1 durable subscription, kept until deleted; 1 deduplication id, kept for the dedup.window",
		nothing,
		"2 acknowledgements and the like, kept until 0000000003-00000000000000000011.seg is cleaned; "+
			"1 record of scheduled messages, kept until they come again; the newest start of a broker, kept until there is a newer one",
		nothing,
		"it is in use",
	)
}

// wantReasons holds what is said of the files that hold no message.
func (o *owner) wantReasons(disk *memfs.FS, want ...string) {
	o.t.Helper()
	var out bytes.Buffer
	if err := printPins(&out, o.loadFrom(disk), mostPins); err != nil {
		o.t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		if why, ok := strings.CutPrefix(line, "  no message; "); ok {
			got = append(got, strings.TrimSpace(why))
		}
	}
	if !slices.Equal(got, want) {
		o.t.Errorf("got %q\nwant %q\nof\n%s", got, want, out.String())
	}
}

// golden compares text with a file of testdata, but for the journal's random identity.
func golden(t *testing.T, name, got string, l *loaded) {
	t.Helper()
	id := hex.EncodeToString(l.ID[:])
	got = strings.ReplaceAll(strings.ReplaceAll(got, id, "ID"), id[:8], "NAME")
	path := filepath.Join("testdata", "journal", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s: %v\ngot\n%s\nwant\n%s", name, err, got, want)
	}
}
