package broker

import "baton/broker/stomp"

// maxCopies is the most that a client may ask for.
const maxCopies = 100

// minCopies reads how many brokers must keep what a SEND or COMMIT stores.
func minCopies(f *stomp.Frame) (int64, error) {
	n, err := count(f, headerMinCopies, maxCopies)
	return max(1, n), err
}

// keepCopies refuses what so many brokers shall keep when fewer do at the moment.
func (s *session) keepCopies(least int64) error {
	if least == 1 {
		return nil
	}
	copies := 1
	if of := s.server.opts.Copies; of != nil {
		copies = of()
	}
	if int64(copies) < least {
		return refuse(codeCopies, "min-copies asks for %d brokers that keep this, and at the moment %d can", least, copies)
	}
	return nil
}
