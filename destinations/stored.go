package destinations

// Stored is a message in a queue that survives a crash, for who asks what keeps
// the log as long as it is.
type Stored struct {
	Queue   Destination
	ID      MessageID   // where it is now; N is 0
	Content uint64      // Seq of the entry that holds its content; ID.Seq, unless it was moved
	Size    int64       // octets of its content and what is counted beyond that
	Dead    *DeadLetter // why it is in a dead-letter queue; nil if it is not
}

// EachStored calls fn for every message that is stored: queue by queue, and the
// oldest of a queue first.
func (m *Machine) EachStored(fn func(Stored)) {
	for _, q := range m.roster.places {
		if q == nil {
			continue
		}
		q.each(func(at ref) bool {
			if s := at.slot(); s.stored() {
				fn(Stored{q.destination, MessageID{Seq: s.seq}, at.content(), int64(s.size), at.deadLetter()})
			}
			return true
		})
	}
}

// Needs calls fn for each entry of the log that s needs, with its octets,
// roughly.
func (s Stored) Needs(fn func(seq uint64, bytes int64)) {
	fn(s.Content, s.Size)
	if s.ID.Seq != s.Content {
		fn(s.ID.Seq, moveBytes)
	}
}
