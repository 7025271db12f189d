package broker

import (
	"sync"
	"unsafe"

	"baton/destinations"
)

// A mail is something that a session wants of the engine.
type mail struct {
	command destinations.Command
	taken   int   // octets of the budget that the machine takes over
	err     error // of no command: answer this ERROR and close; of an Unreadable or a Disconnect: why, unless the client asked for it
}

// A post is the mails that a session submits at once, in order.
type post struct {
	from  *session // nil: the examiner
	mails []mail
}

var posts = sync.Pool{New: func() any { return new(post) }}

// newPost returns an empty one.
func newPost(from *session, mails ...mail) *post {
	p := posts.Get().(*post)
	p.from = from
	p.mails = append(p.mails, mails...)
	return p
}

// done says that p was carried out: its memory is for the next.
func (p *post) done() {
	clear(p.mails)
	p.from, p.mails = nil, p.mails[:0]
	posts.Put(p)
}

// mailOverhead is counted for each mail beyond its message.
const mailOverhead = int(unsafe.Sizeof(mail{}))

// keepPosts is for how many posts there is room, at the most, when far fewer are
// coming.
const keepPosts = 1024

// A mailbox holds what waits for the engine, bounded in octets. When it is
// full, mails with messages wait; others wait only when there is twice as
// much, so that a connection can acknowledge while its messages have to wait.
type mailbox struct {
	maxBytes int
	wake     chan struct{} // holds a token when there may be something to take

	mu     sync.Mutex
	space  sync.Cond
	posts  []*post
	bytes  int
	closed bool
}

func newMailbox(maxBytes int) *mailbox {
	b := &mailbox{maxBytes: maxBytes, wake: make(chan struct{}, 1)}
	b.space.L = &b.mu
	return b
}

// put adds a post of so many octets. It waits while the box is full and says
// false, without adding it, when it is closed. Otherwise the post is the engine's.
func (b *mailbox) put(p *post, bytes int, hasMessages bool) bool {
	limit := b.maxBytes
	if !hasMessages {
		limit *= 2
	}
	bytes += len(p.mails) * mailOverhead
	b.mu.Lock()
	for b.bytes >= limit && !b.closed {
		b.space.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.posts = append(b.posts, p)
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

// take returns all posts, and keeps spare to collect the next ones in. Open
// says whether more may come.
func (b *mailbox) take(spare []*post) (posts []*post, open bool) {
	b.mu.Lock()
	if cap(spare) > keepPosts && cap(spare) > 4*len(b.posts) {
		spare = nil // a flood is over
	}
	posts, b.posts = b.posts, spare[:0]
	b.bytes = 0
	open = !b.closed
	b.mu.Unlock()
	b.space.Broadcast()
	return posts, open
}

// close lets no further post in. What is in the box can be taken.
func (b *mailbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.space.Broadcast()
	b.signal()
}
