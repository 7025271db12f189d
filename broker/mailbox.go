package broker

import (
	"sync"
	"unsafe"

	"baton/destinations"
)

// A mail is something that a session wants of the engine.
type mail struct {
	from    *session
	command destinations.Command
	fail    error // instead of a command: answer ERROR and close
	taken   int   // octets of the budget that the machine takes over
	cause   error // why a message is Unreadable; of a Disconnect that the client did not ask for, why it came
}

// mailOverhead is counted for each mail beyond its message.
const mailOverhead = int(unsafe.Sizeof(mail{}))

// keepMails is for how many mails there is room, at the most, when far fewer are
// coming.
const keepMails = 1024

// A mailbox holds what waits for the engine, bounded in octets. When it is
// full, mails with messages wait; others wait only when there is twice as
// much, so that a connection can acknowledge while its messages have to wait.
type mailbox struct {
	maxBytes int
	wake     chan struct{} // holds a token when there may be something to take

	mu     sync.Mutex
	space  sync.Cond
	mails  []mail
	bytes  int
	closed bool
}

func newMailbox(maxBytes int) *mailbox {
	b := &mailbox{maxBytes: maxBytes, wake: make(chan struct{}, 1)}
	b.space.L = &b.mu
	return b
}

// put adds mails of so many octets in all, in order. It waits while the box is
// full and says false, without adding them, when it is closed. The caller may
// reuse mails.
func (b *mailbox) put(mails []mail, bytes int, hasMessages bool) bool {
	limit := b.maxBytes
	if !hasMessages {
		limit *= 2
	}
	bytes += len(mails) * mailOverhead
	b.mu.Lock()
	for b.bytes >= limit && !b.closed {
		b.space.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.mails = append(b.mails, mails...)
	b.bytes += bytes
	b.mu.Unlock()
	b.signal()
	return true
}

func (b *mailbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns all mails, and keeps spare to collect the next ones in. Open
// says whether more may come.
func (b *mailbox) take(spare []mail) (mails []mail, open bool) {
	b.mu.Lock()
	if cap(spare) > keepMails && cap(spare) > 4*len(b.mails) {
		spare = nil // a flood is over
	}
	mails, b.mails = b.mails, spare[:0]
	b.bytes = 0
	open = !b.closed
	b.mu.Unlock()
	b.space.Broadcast()
	return mails, open
}

// close lets no further mail in. What is in the box can be taken.
func (b *mailbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.space.Broadcast()
	b.signal()
}
