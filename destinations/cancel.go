package destinations

// cancel takes away the message that waits for its time under an id, and so all
// that would still come of it. What has come stays. It is no error that none
// waits: it may have come meanwhile.
func (m *Machine) cancel(c *Command, out *Effects) {
	id := c.Delivery.ID
	if id.N != 0 && id.Seq != m.start {
		return // it was not stored, and is gone since the restart
	}
	for _, q := range m.roster.places {
		if q == nil {
			continue
		}
		at, ok := q.findJob(id)
		switch {
		case !ok:
			continue
		case at.slot().stored():
			m.record(&record{kind: KindSettle, queue: q.destination.Name, seqs: []uint64{id.Seq}}, out)
		default:
			m.discard(q, at)
			m.collect(q)
		}
		return
	}
}

// findJob returns the place of the message that waits for its time under an id.
func (b *backlog) findJob(id MessageID) (ref, bool) {
	l := b.waiting()
	switch {
	case l == nil:
		return ref{}, false
	case id.N == 0:
		return l.find(id.Seq, 0)
	}
	for _, c := range l.chunks {
		for i := range c.slots { // of which packed chunks show none: they hold only what is stored
			if s := &c.slots[i]; s.state != slotGone && s.number() == id.N {
				return ref{c, i}, true
			}
		}
	}
	return ref{}, false
}

// Job is what the message was called while it waited for its time, and so what
// Cancel calls what will still come of it; ok is false if it did not wait.
func (d *Delivery) Job() (id MessageID, ok bool) {
	if d.Message == nil || d.Message.Props == nil {
		return MessageID{}, false
	}
	switch p := d.Message.Props; {
	case p.Job != MessageID{}:
		return p.Job, true
	case p.Deliver != 0 && d.Content != 0: // it shares the content with the one that waited
		return MessageID{Seq: d.Content}, true
	}
	return MessageID{}, false
}
