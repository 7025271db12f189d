package integration

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/process"
)

// spilled are so many messages of 1 KiB.
const spilled = 100_000

// spillOptions are of a broker with little memory, of which the topics spill beyond 100 messages.
func spillOptions(t *testing.T) process.Options {
	return options(t, "BATON_TOPICS_PENDING_POLICY=spill", "BATON_TOPICS_PENDING_MESSAGES=100", "BATON_TOPICS_PENDING_BYTES=1MiB",
		"BATON_LIMITS_BODY=1MiB", "BATON_MEMORY_BUDGET=64MiB", "BATON_JOURNAL_CACHE=1MiB", "BATON_JOURNAL_BUFFER=4MiB",
		"BATON_JOURNAL_CHECKPOINT_EVERY=100ms", "BATON_JOURNAL_SEGMENT=4MiB")
}

// What a slow subscriber has no place for waits on disk. It gets all of it, in order, and then the disk is given back.
func TestSpill(t *testing.T) {
	t.Parallel()
	o := spillOptions(t)
	b := start(t, o)
	before := memory(t, b)
	c := publishSpilled(t, b)
	grown := memory(t, b) - before
	t.Logf("memory grew by %d MiB", grown>>20)
	limit := int64(64 << 20) // the budget; the messages are 100 MiB
	if raceFlags != nil {
		limit *= 3 // the race detector's own share
	}
	if grown > limit {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if size := journalSize(t, o); size < spilled<<10*9/10 {
		t.Errorf("the journal has %d octets: the messages are not in it", size)
	}
	for i := range spilled {
		f, err := c.Next()
		if err != nil {
			t.Fatalf("message %d: %v\n%s", i, err, b.Log())
		}
		if want := spillBody(i); string(f.Body) != want {
			t.Fatalf("message %d is %.20s, want %.20s", i, f.Body, want)
		}
		if i%10 == 9 || i == spilled-1 {
			if err := c.Write("ACK", nil, "id", f.Header("ack")); err != nil {
				t.Fatal(err)
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	awaitJournal(t, o)
	terminate(t, b)
}

// A restart gives the disk back.
func TestSpillEndsWithTheBroker(t *testing.T) {
	t.Parallel()
	o := spillOptions(t)
	b := start(t, o)
	publishSpilled(t, b)
	b.Kill()
	start(t, o)
	awaitJournal(t, o)
}

// publishSpilled publishes for a subscriber that reads nothing, and returns that.
func publishSpilled(t *testing.T, b *process.Broker) *client.Conn {
	t.Helper()
	c := dial(t, b, client.Options{})
	if err := c.Call("SUBSCRIBE", nil, "id", "1", "destination", "/topic/news", "ack", "client", "prefetch-count", "20"); err != nil {
		t.Fatal(err)
	}
	producer := dial(t, b, client.Options{})
	for i := range spilled {
		if err := producer.Write("SEND", []byte(spillBody(i)), "destination", "/topic/news"); err != nil {
			t.Fatalf("message %d: %v\n%s", i, err, b.Log())
		}
	}
	if err := producer.Call("SEND", nil, "destination", "/topic/other"); err != nil {
		t.Fatalf("%v\n%s", err, b.Log())
	}
	return c
}

func spillBody(i int) string { return fmt.Sprintf("%08d", i) + strings.Repeat("_", 1<<10-8) }

// awaitJournal waits until the journal is small.
func awaitJournal(t *testing.T, o process.Options) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); ; {
		size := journalSize(t, o)
		if size <= 20<<20 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the journal has %d octets still", size)
		}
	}
}

// journalSize is that of the files of a broker, which come and go.
func journalSize(t *testing.T, o process.Options) (size int64) {
	t.Helper()
	err := filepath.WalkDir(o.Data, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
