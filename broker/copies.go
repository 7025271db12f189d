package broker

import (
	"strconv"

	"baton/broker/stomp"
	"baton/destinations"
)

// maxCopies is the most that a client may ask for.
const maxCopies = 100

// minCopies reads how many brokers must keep what a SEND or COMMIT stores. More than there are is an error of its own: to try
// again later would not help.
func (s *session) minCopies(f *stomp.Frame) (int64, error) {
	n, err := count(f, headerMinCopies, maxCopies)
	if most := int64(max(1, s.server.opts.Brokers)); err == nil && n > most {
		return 0, refuse(codeHeader, "the header min-copies asks for %d brokers that keep this, and there are %d", n, most)
	}
	return max(1, n), err
}

// keepCopies has c answered only when so many brokers keep what it stores, or
// Options.MinCopies, and refuses it when fewer could at the moment: then nothing is
// stored. That as many can now does not say that they will have when it is durable:
// see outbox.unkept.
func (s *session) keepCopies(c *destinations.Command, least int64) error {
	if least = max(least, int64(s.server.opts.MinCopies)); least <= 1 {
		return nil
	}
	c.Copies = uint8(least)
	return s.server.ableToKeep(least)
}

// ableToKeep refuses what so many brokers shall keep when fewer can at the moment.
func (s *Server) ableToKeep(least int64) error {
	copies := 1
	if of := s.opts.Copies; of != nil {
		copies = of()
	}
	switch {
	case int64(copies) >= least:
		return nil
	case copies < s.opts.MinCopies:
		return fewCopies(0, "%d brokers must keep what is stored here, and at the moment %d can: try again later", s.opts.MinCopies, copies)
	}
	return fewCopies(0, "min-copies asks for %d brokers that keep this, and at the moment %d can", least, copies)
}

// fewCopies is an error about what so many brokers have stored, and not more.
func fewCopies(stored int, format string, args ...any) *clientError {
	e := refuse(codeCopies, format, args...)
	e.headers = map[string]string{headerCopies: strconv.Itoa(stored)}
	return e
}

// Refuse says whether what is not durable yet, and more than one broker must keep, is
// to be answered with an ERROR: it has waited for long, and who could keep it is
// away. It stays stored, for it may be in the log of that one. Refuse does not block.
func (s *Server) Refuse(refuse bool) {
	e := s.engine
	e.refusing.Store(refuse)
	if !refuse {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.waiting {
		w.out.signal()
	}
}

// checkCopies ends the session if fewer brokers keep something than must, and what
// they keep is durable; or if it is not, and is not waited for any more.
func (s *session) checkCopies(durable uint64) {
	e, o := s.server.engine, &s.server.opts
	if err := s.out.unkept(durable, e.refusing.Load(), o.Kept); err != nil {
		s.stop(err)
	}
}

// unkept looks for the first output that asks for more copies than are kept. There
// the box ends with an ERROR, which unkept returns: what is durable before it
// leaves, and nothing behind it.
func (o *outbox) unkept(durable uint64, refusing bool, kept func(seq uint64) int) *clientError {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.counted && !refusing || o.closed || o.concluded {
		return nil
	}
	for i := o.head; i < len(o.items); i++ {
		it := &o.items[i]
		waits := it.After > durable
		switch {
		case waits && !refusing:
			return nil // nor is what comes behind it durable
		case waits && it.Kind == destinations.Evict: // of something else
			o.endWith(durable, it.Err)
			return nil
		case waits && it.Kind == destinations.Receipt: // or something before it does
		case it.Copies == 0, !waits && kept(it.After) >= int(it.Copies):
			continue
		}
		err := fewCopies(1, "this was taken, but fewer brokers have it than must: it may take effect all the same, or be lost")
		err.receipt, err.refused = it.ReceiptID, it.Kind == destinations.Receipt
		o.cutAt(i)
		o.endWith(durable, err)
		return err
	}
	return nil
}
