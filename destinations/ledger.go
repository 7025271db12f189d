package destinations

// A ledger counts, by stretches of the log, the entries that hold contents of
// messages that are not settled. It tells the oldest stretch that is needed
// without a search: it is asked often, and there may be millions of messages.
type ledger struct {
	first  uint64 // stretch that counts begins with
	counts fifo[int32]
}

// A stretch is 1024 Seqs. What is kept for too long because of that is less
// than a segment.
const stretchBits = 10

// add counts an entry that is not older than any before it.
func (l *ledger) add(seq uint64) {
	stretch := seq >> stretchBits
	if l.counts.len() == 0 {
		l.first = stretch
	}
	for l.first+uint64(l.counts.len()) <= stretch {
		l.counts.push(0)
	}
	*l.counts.at(int(stretch - l.first))++
}

func (l *ledger) remove(seq uint64) {
	*l.counts.at(int(seq>>stretchBits - l.first))--
	for l.counts.len() > 0 && *l.counts.at(0) == 0 {
		l.counts.pop()
		l.first++
	}
}

// oldest returns the first Seq of the oldest stretch that is needed; ok is
// false when none is.
func (l *ledger) oldest() (seq uint64, ok bool) {
	return max(1, l.first<<stretchBits), l.counts.len() > 0
}
