package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
	"baton/journal"
)

// While the log cannot be read, a consumer with a selector waits, and holds no memory that others could read with.
func TestExaminerWaitsWithNothing(t *testing.T) {
	var fails atomic.Bool
	answer := func(uint64) error {
		if fails.Load() {
			return errors.New("too many open files")
		}
		return nil
	}
	inLittleMemory(t, answer, func(t *testing.T, h *host, _ *getLog, logged *observer.ObservedLogs) {
		c, body := h.connect("1.2"), strings.Repeat("x", 1000)
		for i := range 200 {
			c.do(fmt.Sprintf("SEND\ndestination:/queue/a\nn:%d", i), body)
		}
		fails.Store(true)
		c.subscribe("s", "/queue/a", "client-individual", "selector:n = 150")
		synctest.Wait()
		if held := h.fetches.portion() < min(fetchBytes, h.fetches.limit/16); held {
			t.Error("it holds its share of what may be read")
		}
		if logged.FilterMessageSnippet("consumers with selectors wait").Len() == 0 {
			t.Error("nobody is told that it waits")
		}
		fails.Store(false)
		c.message(body, "n:150")
	})
}

// Whoever waits for what cannot be read is named: here nobody has a selector.
func TestExaminerSaysWhoWaits(t *testing.T) {
	var fails atomic.Bool
	answer := func(uint64) error {
		if fails.Load() {
			return errors.New("too many open files")
		}
		return nil
	}
	inLittleMemory(t, answer, func(t *testing.T, h *host, _ *getLog, logged *observer.ObservedLogs) {
		c, other := h.connect("1.2"), h.connect("1.2")
		other.subscribe("s", "/topic/a", "auto")
		for range 200 {
			c.do("SEND\ndestination:/topic/a\nAMQ_SCHEDULED_DELAY:60000", strings.Repeat("x", 1000))
		}
		fails.Store(true)
		time.Sleep(61 * time.Second)
		if logged.FilterMessageSnippet("scheduled messages").Len() == 0 || logged.FilterMessageSnippet("selectors").Len() > 0 {
			t.Errorf("logged: %v", logged.All())
		}
		fails.Store(false)
		for range 200 {
			other.message(strings.Repeat("x", 1000))
		}
	})
}

// The answers of the examiner wait for a busy engine within the bounds of the mailbox, with their contents.
func TestExaminerWaitsForTheMailbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const contents, size = 50, 1000
		fetches := newAllowance(1 << 20)
		e := &engine{box: newMailbox(10 * size), log: sameLog{record: storedRecord(t, size)}}
		x := newExaminer(e, fetches, zap.NewNop())
		go func() {
			for i := range uint64(contents) {
				x.answer(examination{Examination: &destinations.Examination{Contents: []uint64{i + 1}, Largest: size}})
			}
			e.box.close()
		}()
		taken, open := 0, true
		for open {
			synctest.Wait()
			if held := fetches.held; (held == 0) != e.box.closed {
				t.Errorf("a content has no room in the mailbox: %v; it holds %d octets of what may be read", !e.box.closed, held)
			}
			var answers []*post
			answers, open = e.box.take(nil)
			if len(answers) > 10 {
				t.Errorf("%d contents of %d octets wait in a mailbox of %d", len(answers), size, e.box.maxBytes)
			}
			for _, p := range answers {
				taken += len(p.mails[0].command.More.Examination.Messages)
			}
		}
		if taken != contents {
			t.Errorf("%d contents came, want %d", taken, contents)
		}
	})
}

// A sameLog has the same record at each Seq.
type sameLog struct {
	Log
	record journal.Record
}

func (l sameLog) Get(seq uint64) (journal.Record, error) {
	r := l.record
	r.Seq = seq
	return r, nil
}

// storedRecord is a stored message of so many octets, as the log gives it back.
func storedRecord(t *testing.T, size int) journal.Record {
	t.Helper()
	var out destinations.Effects
	err := destinations.New(destinations.Options{}).Step(time.Now(), &destinations.Command{
		Op: destinations.Send, Session: 1, Destination: destinations.Queue("q"),
		Message: &destinations.Message{Persistent: true, Content: []byte("\n" + strings.Repeat("x", size-1))},
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	r := recordOf(&out.Entries[0], 1)
	r.Head, r.Body = nil, slices.Concat(r.Head, r.Body)
	return r
}
