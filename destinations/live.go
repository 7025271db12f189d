package destinations

import "maps"

// A Live is a picture of which entries of the log are needed, as a machine knew
// it at one moment. It never changes, and any goroutine may use it. It speaks
// for the log once that is durable up to AsOf.
type Live struct {
	asOf      uint64
	start     uint64
	stretches stretches
	spilled   stretches
	spans     map[string]span // by queue, of settlements that are said again
	doubted   uint64          // but none before this Seq
}

// Live takes a picture. It takes time and memory in proportion to the Seqs from
// the oldest stored message on, but well below a nanosecond for each.
func (m *Machine) Live() *Live {
	return &Live{asOf: m.last, start: m.start, stretches: m.live.picture(), spilled: m.spilled.picture(), spans: maps.Clone(m.spans), doubted: m.doubted}
}

// AsOf is the Seq of the newest entry that the picture knows.
func (l *Live) AsOf() uint64 { return l.asOf }

// Oldest is the Seq of the oldest entry that holds something that is stored or was
// spilled; AsOf()+1 when there is none.
func (l *Live) Oldest() uint64 {
	return min(l.stretches.oldestOr(l.asOf+1), l.spilled.oldestOr(l.asOf+1))
}

// Count is how many entries hold something that is stored or was spilled: one for
// each message that is where it came, two for one that was moved. What is stored and
// lent counts twice, here and in Bytes.
func (l *Live) Count() int { return l.stretches.entries() + l.spilled.entries() }

// Bytes estimates the octets of the entries with Seqs from first to last that
// hold something that is stored or was spilled.
func (l *Live) Bytes(first, last uint64) int64 {
	return l.stretches.octets(first, last) + l.spilled.octets(first, last)
}

func (l stretches) entries() (n int) {
	for i := range l {
		n += int(l[i].count)
	}
	return n
}

func (l stretches) octets(first, last uint64) (n int64) {
	i, _ := l.search(first >> stretchBits)
	for ; i < len(l) && l[i].number <= last>>stretchBits; i++ {
		s := &l[i]
		if begin := s.number << stretchBits; first <= begin && begin|offsetMask <= last {
			n += s.bytes
		} else {
			n += s.bytes * int64(s.within(begin, first, last)) / int64(s.count)
		}
	}
	return n
}

// within counts the live Seqs from first to last in a stretch that begins with
// begin.
func (s *stretch) within(begin, first, last uint64) (n int) {
	s.each(func(offset uint16) {
		if seq := begin + uint64(offset); first <= seq && seq <= last {
			n++
		}
	})
	return n
}

// Keep says whether the log must keep e, an entry as read back from it. gone
// tells whether the log has no entry with that Seq any more.
//
// What a settlement settles must be gone before the settlement is, or a recovery
// would bring it back; the same holds for what was moved, and for a durable
// subscription that was deleted. A message that several hold is gone when the
// last has settled it, and with it the settlements of all; until then those need
// not stay that are said again, for what says so must. An error says that e cannot
// be read: it is kept.
func (l *Live) Keep(e Entry, gone func(seq uint64) bool) (bool, error) {
	if e.Seq > l.asOf {
		return true, nil
	}
	switch e.Kind {
	case KindStart:
		return e.Seq >= l.start, nil
	case KindPublish: // which may be lent
		return l.stretches.has(e.Seq) || l.spilled.has(e.Seq), nil
	case KindDurable:
		if l.stretches.has(e.Seq) {
			return true, nil
		}
	case KindEnqueue, KindDedup, KindTake:
		return l.stretches.has(e.Seq), nil
	case KindSpill:
		return l.spilled.has(e.Seq), nil
	}
	r, err := e.decode()
	if err != nil {
		return true, err
	}
	if r.kind == KindDurable { // else one with an older claim would be back, and what deletes it names this one
		return r.instead != 0 && !gone(r.instead), nil
	}
	if r.kind == KindAttempt {
		return l.stretches.has(r.seqs[0]), nil
	}
	if l.stretches.has(e.Seq) {
		return true, nil
	}
	if r.kind == KindSchedule && r.next != 0 {
		return false, nil // a later one says more
	}
	again := l.again(&r)
	for _, seq := range r.seqs {
		if !(again && l.stretches.has(seq)) && !gone(seq) {
			return true, nil
		}
	}
	return false, nil
}

// again says that r is a settlement and is said again by an entry after it, as far as
// others still hold what it settles.
func (l *Live) again(r *record) bool {
	return r.kind == KindSettle && r.again == 0 && r.seq >= l.doubted && l.spans[r.queue].has(r.seq)
}
