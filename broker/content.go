package broker

import (
	"errors"

	"go.uber.org/zap"

	"baton/destinations"
	"baton/journal"
)

var errFound = errors.New("found")

// content returns the message of a delivery, from the log if the machine has
// only its place. If it cannot be read, the machine is told, and there is none.
func (s *session) content(d *destinations.Delivery) *destinations.Message {
	if d.Message != nil {
		return d.Message
	}
	e := s.server.engine
	var msg *destinations.Message
	err := e.log.Read(d.Content, func(r journal.Record) (err error) {
		n := destinations.Entry{Seq: r.Seq, Kind: destinations.EntryKind(r.Type), Body: append([]byte(nil), r.Body...)}
		if msg, err = n.Message(); err != nil {
			return err
		}
		return errFound
	})
	if errors.Is(err, errFound) {
		return msg
	}
	e.logger.Error("a message cannot be read from the journal and is set aside", zap.Uint64("seq", d.Content), zap.Error(err))
	e.box.put([]mail{{from: s, command: destinations.Command{
		Op: destinations.Unreadable, Session: s.id, Delivery: destinations.DeliveryID{Sub: d.Sub, Tag: d.Tag},
	}}}, 0, false)
	return nil
}
