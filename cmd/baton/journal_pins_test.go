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
}

func (o *owner) step(c destinations.Command) {
	o.t.Helper()
	o.out.Reset()
	if err := o.machine.Step(time.UnixMilli(1_700_000_000_000), c, &o.out); err != nil {
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

// consume takes n messages of a queue one by one and answers each with op.
func (o *owner) consume(queue string, n int, op destinations.Op) {
	o.t.Helper()
	o.step(destinations.Command{
		Op: destinations.Subscribe, Session: 2, Subscription: "s", Destination: destinations.Queue(queue),
		Consumer: destinations.Consumer{Ack: destinations.AckIndividual, Prefetch: 1},
	})
	for range n {
		i := slices.IndexFunc(o.out.Outputs, func(out destinations.Output) bool { return out.Kind == destinations.Deliver })
		if i < 0 {
			o.t.Fatalf("%s gives nothing", queue)
		}
		d := o.out.Outputs[i].Delivery
		o.step(destinations.Command{Op: op, Session: 2, Reject: true, Delivery: destinations.DeliveryID{Sub: d.Sub, Tag: d.Tag}})
	}
	o.step(destinations.Command{Op: destinations.Unsubscribe, Session: 2, Subscription: "s"})
}

func TestPinsAndStat(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	log, err := journal.Open(journal.Options{Dir: "data/journal", FS: disk, SegmentBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	o := &owner{t: t, machine: destinations.New(destinations.Options{}), log: log}
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
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	in, err := journal.Inspect(disk, "data/journal")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	l, err := load(in, "data/journal", newProgress(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
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
