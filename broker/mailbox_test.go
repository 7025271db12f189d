package broker

import (
	"testing"
	"testing/synctest"

	"baton/destinations"
)

func mails(n int) *post { return newPost(nil, make([]mail, n)...) }

// TestMailboxKeepsOrder takes what several put, in the order of each.
func TestMailboxKeepsOrder(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 1000
	b := newMailbox(4 << 10) // small: they wait often
	for w := range writers {
		go func() {
			for i := range each {
				m := mail{command: destinations.Command{Session: uint64(w), Delivery: destinations.DeliveryID{Tag: uint64(i)}}}
				if !b.put(newPost(nil, m), 1, i%2 == 0) {
					t.Error("the box is closed")
				}
			}
		}()
	}
	var next [writers]uint64
	var spare []*post
	for taken := 0; taken < writers*each; {
		<-b.wake
		all, open := b.take(spare)
		if !open {
			t.Fatal("the box is closed")
		}
		for _, p := range all {
			c := p.mails[0].command
			if c.Delivery.Tag != next[c.Session] {
				t.Fatalf("got %d of writer %d, want %d", c.Delivery.Tag, c.Session, next[c.Session])
			}
			next[c.Session]++
		}
		taken += len(all)
		spare = all
	}
}

// TestMailboxGivesMemoryBack holds that a flood of posts is not paid for ever
// after.
func TestMailboxGivesMemoryBack(t *testing.T) {
	t.Parallel()
	b := newMailbox(1 << 30)
	var spare []*post
	for _, n := range []int{10_000, 10_000, 10, 10, 10} {
		for range n {
			b.put(mails(1), 0, false)
		}
		spare, _ = b.take(spare)
	}
	if most := max(cap(spare), cap(b.posts)); most > keepPosts {
		t.Errorf("there is room for %d posts", most)
	}
}

// TestMailboxIsBounded holds that messages wait when it is full, that
// acknowledgements wait only when there is twice as much, and that both go on
// when it was emptied.
func TestMailboxIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newMailbox(4 * mailOverhead)
		put := func(n, bytes int, messages bool) <-chan bool {
			done := make(chan bool, 1)
			go func() { done <- b.put(mails(n), bytes, messages) }()
			synctest.Wait()
			return done
		}
		passed := func(done <-chan bool) bool {
			synctest.Wait()
			select {
			case ok := <-done:
				return ok
			default:
				return false
			}
		}
		if !passed(put(1, 3*mailOverhead-1, true)) || !passed(put(1, 100, true)) {
			t.Fatal("a message waits although there is room")
		}
		if b.bytes != 5*mailOverhead-1+100 {
			t.Errorf("%d octets are counted", b.bytes)
		}
		message := put(1, 1, true)
		if passed(message) {
			t.Fatal("a message does not wait for a full box")
		}
		for range 3 {
			if !passed(put(1, 0, false)) {
				t.Fatal("an acknowledgement waits with the messages")
			}
		}
		acknowledgement := put(1, 0, false)
		if passed(acknowledgement) {
			t.Fatal("acknowledgements are not bounded")
		}
		all, _ := b.take(nil)
		if len(all) != 5 {
			t.Errorf("took %d posts", len(all))
		}
		if !passed(message) || !passed(acknowledgement) {
			t.Error("who waited does not go on when there is room")
		}
	})
}

// TestMailboxTakesLargeBatches holds that what is larger than the box goes in
// when there is room at all: it would wait for ever otherwise.
func TestMailboxTakesLargeBatches(t *testing.T) {
	t.Parallel()
	b := newMailbox(1000)
	if !b.put(mails(3), 1<<20, true) {
		t.Error("refused")
	}
}

func TestMailboxCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newMailbox(1000)
		b.put(mails(20), 0, false)
		waiting := make(chan bool)
		for _, messages := range []bool{true, false} {
			go func() { waiting <- b.put(mails(1), 0, messages) }()
		}
		synctest.Wait()
		b.close()
		for range 2 {
			if <-waiting {
				t.Error("who waited got in after close")
			}
		}
		if b.put(mails(1), 0, false) {
			t.Error("a mail got in after close")
		}
		<-b.wake
		if all, open := b.take(nil); len(all) != 1 || len(all[0].mails) != 20 || open {
			t.Errorf("took %d posts, open %v; want what was there and the end", len(all), open)
		}
	})
}

// A post that was carried out keeps nobody's message.
func TestPostForgets(t *testing.T) {
	t.Parallel()
	p := newPost(&session{}, mail{command: destinations.Command{Message: &destinations.Message{}}}, mail{taken: 1})
	mails := p.mails
	p.done()
	for i := range mails {
		if m := &mails[i]; m.command.Message != nil || m.taken != 0 {
			t.Errorf("mail %d is still %+v", i, m)
		}
	}
}
