package broker

import "baton/broker/stomp"

// maxCopies is the most that a client may ask for.
const maxCopies = 100

// minCopies reads how many brokers must keep what a SEND or COMMIT stores.
func minCopies(f *stomp.Frame) (int64, error) {
	n, err := count(f, headerMinCopies, maxCopies)
	return max(1, n), err
}

// keepCopies refuses what so many brokers shall keep, or Options.MinCopies, when fewer do at the moment.
func (s *session) keepCopies(least int64) error {
	always := int64(s.server.opts.MinCopies)
	if max(least, always) <= 1 {
		return nil
	}
	copies := 1
	if of := s.server.opts.Copies; of != nil {
		copies = of()
	}
	switch {
	case int64(copies) < always:
		return refuse(codeCopies, "%d brokers must keep what is stored here, and at the moment %d can: try again later", always, copies)
	case int64(copies) < least:
		return refuse(codeCopies, "min-copies asks for %d brokers that keep this, and at the moment %d can", least, copies)
	}
	return nil
}
