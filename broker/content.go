package broker

import (
	"baton/destinations"
	"baton/journal"
)

// content returns the message of a delivery: from the log, if the machine has
// only its place. If it cannot be read, the engine is told, before a later
// delivery is written: it must not count as sent or acknowledged with that.
func (s *session) content(d *destinations.Delivery) *destinations.Message {
	if d.Message != nil {
		return d.Message
	}
	e := s.server.engine
	m, err := readMessage(e.log, d.Content)
	if err != nil {
		e.box.put([]mail{{from: s, cause: err, command: destinations.Command{
			Op: destinations.Unreadable, Session: s.id, Destination: d.Destination,
			Delivery: destinations.DeliveryID{Sub: d.Sub, Tag: d.Tag},
		}}}, 0, false)
	}
	return m
}

func readMessage(log Log, seq uint64) (*destinations.Message, error) {
	r, err := log.Get(seq)
	if err != nil {
		return nil, err
	}
	return entry(r).Message()
}

// entry is a record as the machine knows it.
func entry(r journal.Record) destinations.Entry {
	return destinations.Entry{Seq: r.Seq, Kind: destinations.EntryKind(r.Type), Body: r.Body}
}
