package broker

import "baton/destinations"

// fetch reads the contents in batch that are only in the log. Those that cannot
// be read stay absent, and the engine is told before a later delivery is
// written: it must not count as sent or acknowledged with that.
func (s *session) fetch(batch []destinations.Output) {
	absent := false
	for i := range batch {
		if !isAbsent(&batch[i]) {
			continue
		}
		absent = true
		d := &batch[i].Delivery
		m, err := readMessage(s.server.engine.log, d.Content)
		if err != nil {
			s.unreadable(d, err)
			continue
		}
		d.Message = m
	}
	if absent {
		s.out.fetched()
	}
}

func (s *session) unreadable(d *destinations.Delivery, cause error) {
	s.server.engine.box.put([]mail{{from: s, cause: cause, command: destinations.Command{
		Op: destinations.Unreadable, Session: s.id, Destination: d.Destination,
		Delivery: destinations.DeliveryID{Sub: d.Sub, Tag: d.Tag},
	}}}, 0, false)
}

func readMessage(log Log, seq uint64) (*destinations.Message, error) {
	r, err := log.Get(seq)
	if err != nil {
		return nil, err
	}
	return EntryOf(r).Message()
}
