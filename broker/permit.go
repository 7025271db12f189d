package broker

import "time"

// A Permit says whether the broker may hand messages to clients at this moment. Of
// two brokers that take themselves for the master, only one has it (failover, R8).
// Both methods may be called from any goroutine and do not block.
type Permit interface {
	// Valid is asked before each write of messages to a client, and of CONNECTED: not
	// for receipts, which speak of what is done, for an ERROR, and for heart-beats.
	Valid() bool
	// Renewed returns a channel that is closed when the permit is renewed next: when
	// Valid has become true again, or will be for longer.
	Renewed() <-chan struct{}
}

// portion is how many outputs may be taken now, 0 if there is no permit. Where one
// is needed they are what goes in one write.
func (w *frameWriter) portion() int {
	p, out := w.s.server.opts.Permit, w.s.out
	if p == nil {
		return takeLimit
	}
	w.renewed = nil
	if p.Valid() {
		return out.within(takeLimit, writeBytes)
	}
	if n := out.exempt(); n > 0 {
		return out.within(min(n, takeLimit), writeBytes)
	}
	w.renewed = p.Renewed()
	if p.Valid() { // it came between
		return out.within(takeLimit, writeBytes)
	}
	return 0
}

// awaitWriter waits until done, once the client has closed its side. If it may not
// be written to it waits for Linger only: maybe nobody reads.
func (s *session) awaitWriter(done <-chan struct{}) {
	if p := s.server.opts.Permit; p != nil {
		select {
		case <-done:
		case <-time.After(s.server.opts.Linger):
			if !p.Valid() {
				s.kill()
			}
		}
	}
	<-done
}
