package broker

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
)

// An examiner reads, beside the engine and one message after the other, what is only
// in the log: what selectors must be asked about, and what is to be given to readers,
// sent at its time or buried.
type examiner struct {
	engine  *engine
	fetches *allowance
	logger  *zap.Logger
	gate    *outbox // holds nothing; is woken when something may be durable
	share   share
	stopped chan struct{}

	mu    sync.Mutex
	asked []examination // in the order of asking; a view asks for one at a time
}

// An examination may begin when after is durable.
type examination struct {
	*destinations.Examination
	after uint64
}

func newExaminer(e *engine, fetches *allowance, logger *zap.Logger) *examiner {
	return &examiner{engine: e, fetches: fetches, logger: logger, gate: newOutbox(), share: newShare(), stopped: make(chan struct{})}
}

// ask is called by the engine, which sees to it that the gate is woken.
func (x *examiner) ask(o *destinations.Output) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = append(x.asked, examination{o.Examination, o.After})
}

// run answers until stopped is closed.
func (x *examiner) run() {
	for {
		select {
		case <-x.gate.wake:
		case <-x.stopped:
			return
		}
		for {
			q, ok := x.next()
			if !ok {
				break
			}
			if !x.answer(q) {
				return
			}
		}
	}
}

// next takes the first that may begin.
func (x *examiner) next() (examination, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	durable := x.engine.durable.Load()
	for i, q := range x.asked {
		if q.after <= durable {
			x.asked = slices.Delete(x.asked, i, i+1)
			return q, true
		}
	}
	return examination{}, false
}

// answer examines q and tells the engine. It returns false when it is stopped. What
// was read is in the share until the mailbox has room for it, and counts there.
func (x *examiner) answer(q examination) bool {
	if len(q.Contents) > 0 {
		if !x.fetches.ask(&x.share, q.Largest+blockBytes) {
			select {
			case <-x.share.granted:
			case <-x.stopped:
				return false
			}
		}
		defer x.fetches.leave(&x.share)
		if err := x.examine(q); err != nil {
			x.fetches.leave(&x.share)
			if !x.wait(q, err) {
				return false
			}
		}
	}
	c := destinations.Command{Op: destinations.Examined, More: &destinations.More{Examination: q.Examination}}
	return x.engine.box.put(newPost(nil, mail{command: c}), answerBytes(q), len(q.Messages) > 0)
}

// answerBytes is the memory that the answer to q takes.
func answerBytes(q examination) (octets int) {
	octets = 8 * len(q.Contents)
	for _, m := range q.Messages {
		if m != nil {
			octets += int(fetchCost(int64(len(m.Content))))
		}
	}
	return octets
}

// apart is a message that was read, with memory of its own: it stays, and the
// block of the log that it was read from shall not. It may be nil.
func apart(m *destinations.Message) *destinations.Message {
	if m != nil && len(m.Content) <= blockBytes {
		m.Content = bytes.Clone(m.Content)
	}
	return m
}

// examineFor is how long one examination may take: what it has found is
// delivered then, and other views have their turn.
const examineFor = 20 * time.Millisecond

// wait lets some time pass before something is read again. It returns false when
// the examiner is stopped.
func (x *examiner) wait(q examination, err error) bool {
	waiting := "consumers with selectors wait"
	if q.Selector == nil {
		waiting = "readers, scheduled messages and dead letters wait"
	}
	x.logger.Error("messages cannot be read from the journal for now: "+waiting,
		zap.Stringer("destination", q.Queue), zap.Error(err))
	select {
	case <-time.After(longestPause):
		return true
	case <-x.stopped:
		return false
	}
}

// examine reads what is asked for, as far as it can. What the log will not give
// back matches nothing: whoever takes it for another reason will find out. Other
// errors may pass, and are returned.
func (x *examiner) examine(q examination) error {
	begun := time.Now()
	for _, seq := range q.Contents {
		m, err := readMessage(x.engine.log, seq)
		if err != nil && !isLost(err) && !errors.Is(err, syscall.EIO) {
			return err
		}
		if q.Selector != nil {
			q.Matches = append(q.Matches, err == nil && q.Selector.Matches(fieldsOf(m)))
		} else {
			q.Messages = append(q.Messages, apart(m))
		}
		if time.Since(begun) > examineFor {
			return nil
		}
	}
	return nil
}
