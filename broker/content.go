package broker

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
	"baton/journal"
)

// fetch reads contents that are only in the log for what is next in the outbox,
// and says whether the box can be taken from now. If not and there is
// something to read, the writer's share or its retry will say when to go on.
func (w *frameWriter) fetch(durable uint64) bool {
	if !w.retry.due() {
		return false
	}
	out, fetches := w.s.out, w.s.server.fetches
	most := w.share.octets
	if !w.share.asked {
		most = fetches.portion()
	}
	var size int64
	w.absent, size = out.absent(w.absent[:0], durable, takeLimit, most)
	defer func() { clear(w.absent) }()
	if size == 0 || size > w.share.octets {
		fetches.leave(&w.share)
	}
	if size == 0 || !fetches.ask(&w.share, size) {
		return false
	}
	known := w.readAll()
	out.supply(w.absent[:known])
	if known == 0 {
		fetches.leave(&w.share)
	}
	return known > 0
}

// readAll reads the messages of absent and returns of how many it knows what
// becomes of them. The engine is told of those that are lost before a later
// delivery is written: they must not count as sent or acknowledged with that.
func (w *frameWriter) readAll() (known int) {
	var small []byte // its memory is what the share is for, and goes with the batch
	for i := range w.absent {
		d := &w.absent[i]
		m, err := readMessage(w.s.server.engine.log, d.Content)
		switch {
		case err == nil:
			w.retry.over()
			if len(m.Content) <= blockBytes {
				if small == nil {
					small = make([]byte, 0, smallBytes(w.absent[i:]))
				}
				begin := len(small)
				small = append(small, m.Content...)
				m.Content = small[begin:len(small):len(small)]
			}
			d.Message = m
			published(d)
		case isLost(err), w.retry.isLost(err):
			w.s.unreadable(d, err)
		case errors.Is(err, journal.ErrClosed): // this broker ends, and the session with it
			return i
		default:
			w.retry.later(d, err)
			return i
		}
	}
	return len(w.absent)
}

// blockBytes is what the log keeps in memory around a content that was read.
// Up to that size, contents are copied out of it.
const blockBytes = 64 << 10

// fetchCost is the memory that a content of so many octets takes from when it is
// read until it is written, or the engine has it.
func fetchCost(size int64) int64 {
	const overhead = 64
	if size > blockBytes {
		return size + overhead + blockBytes
	}
	return size + overhead
}

// smallBytes is the size of those contents that are copied.
func smallBytes(all []destinations.Delivery) (octets int64) {
	for i := range all {
		if all[i].Size <= blockBytes {
			octets += int64(all[i].Size)
		}
	}
	return octets
}

func (s *session) unreadable(d *destinations.Delivery, cause error) {
	s.server.engine.box.put(newPost(s, mail{err: cause, command: destinations.Command{
		Op: destinations.Unreadable, Session: s.id, Destination: d.Destination,
		Delivery: destinations.DeliveryID{Sub: d.Sub, Tag: d.Tag},
	}}), 0, false)
}

var errIllegible = errors.New("the record holds no message")

func readMessage(log Log, seq uint64) (*destinations.Message, error) {
	r, err := log.Get(seq)
	if err != nil {
		return nil, err
	}
	m, err := EntryOf(r).Message()
	if err != nil {
		return nil, fmt.Errorf("%w: seq %d: %w", errIllegible, seq, err)
	}
	return m, nil
}

// isLost says that a record is damaged or gone. Other errors may pass.
func isLost(err error) bool {
	var damage *journal.CorruptError
	return errors.As(err, &damage) || errors.Is(err, journal.ErrNotFound) ||
		errors.Is(err, journal.ErrTrimmed) || errors.Is(err, errIllegible)
}

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// readPatience is how long the disk may fail to read something before that
	// is taken for damage: one bad sector must not stop a queue.
	readPatience = time.Minute
)

// A retry is when a writer tries again to read what the log could not give it.
type retry struct {
	outage *outage
	timer  *time.Timer // fires when it is due
	pause  time.Duration
	next   time.Time // not before; zero: there is nothing amiss
	since  time.Time // when the trouble began
}

func newRetry(o *outage) retry {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return retry{outage: o, timer: timer}
}

func (r *retry) due() bool { return !time.Now().Before(r.next) }

// later puts the next try off, each time a little more.
func (r *retry) later(d *destinations.Delivery, err error) {
	now := time.Now()
	if r.next.IsZero() {
		r.pause, r.since = firstPause/2, now
		r.outage.begin(d, err)
	}
	r.pause = min(2*r.pause, longestPause)
	r.next = now.Add(r.pause)
	r.timer.Reset(r.pause)
}

// isLost says that the disk has not read it for too long.
func (r *retry) isLost(err error) bool {
	return errors.Is(err, syscall.EIO) && !r.next.IsZero() && time.Since(r.since) >= readPatience
}

// over says that something was read.
func (r *retry) over() {
	if !r.next.IsZero() {
		r.next = time.Time{}
		r.outage.end(true)
	}
}

// stop ends it with its writer.
func (r *retry) stop() {
	r.timer.Stop()
	if !r.next.IsZero() {
		r.outage.end(false)
	}
}

// An outage is a time in which writers cannot read from the log. It is reported
// once, not by each of them and each time.
type outage struct {
	logger *zap.Logger

	mu      sync.Mutex
	writers int       // that are concerned
	told    bool      // of this one
	quiet   time.Time // until then nothing is told of another: a disk may come and go
}

// outageQuiet is how long after one outage was reported another is not.
const outageQuiet = time.Minute

func (o *outage) begin(d *destinations.Delivery, err error) {
	now := time.Now()
	o.mu.Lock()
	o.writers++
	tell := !o.told && !now.Before(o.quiet)
	if tell {
		o.told, o.quiet = true, now.Add(outageQuiet)
	}
	o.mu.Unlock()
	if tell {
		o.logger.Error("messages cannot be read from the journal for now: it is tried again until they can, and their consumers wait",
			zap.Stringer("destination", d.Destination), zap.Error(err))
	}
}

// end is called by each writer for which it is over, because it could read or
// because it has ended.
func (o *outage) end(read bool) {
	o.mu.Lock()
	o.writers--
	over := o.writers == 0 && o.told
	if over {
		o.told = false
	}
	o.mu.Unlock()
	if over && read {
		o.logger.Info("messages can be read from the journal again")
	}
}

// published says on which topic the message of d was published, if the
// destinations did not know: that of a durable subscription with wildcards is
// only in the log.
func published(d *destinations.Delivery) {
	if d.Message.Topic() == "" {
		return
	}
	topic := destinations.Topic(d.Message.Topic())
	if d.Destination.Topic {
		label := *d.Label // others have it too
		label.Destination = topic
		d.Label = &label
	}
	if d.Dead != nil && d.Dead.Destination.Topic {
		dead := *d.Dead // others have it too
		dead.Destination = topic
		d.Dead = &dead
	}
}
