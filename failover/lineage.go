package failover

import (
	"fmt"
	"slices"
)

// MaxLineage bounds a lineage; the oldest entries go. A standby that was away for so many activations gets a snapshot.
const MaxLineage = 1000

// A LineageEntry says with which record an epoch begins. The epochs of a pair grow with each activation, and each
// belongs to one process of one master: where two journals have an entry in common, they had one history at least up
// to it.
type LineageEntry struct {
	Epoch uint32 `json:"epoch"`
	First uint64 `json:"first"` // Seq of the epoch's first record, which may not be written yet
}

// A Lineage is what a journal remembers of its epochs, in order: both epochs and Seqs grow.
type Lineage []LineageEntry

// Last is the newest entry; zero when there is none.
func (l Lineage) Last() LineageEntry {
	if len(l) == 0 {
		return LineageEntry{}
	}
	return l[len(l)-1]
}

// With returns the lineage after epoch begins at Seq first. Entries of epochs that came to no record before it go.
func (l Lineage) With(epoch uint32, first uint64) Lineage {
	if epoch <= l.Last().Epoch {
		panic(fmt.Sprintf("BUG: failover: epoch %d begins after epoch %d", epoch, l.Last().Epoch))
	}
	n := len(l)
	for n > 0 && l[n-1].First >= first {
		n--
	}
	next := append(slices.Clone(l[:n]), LineageEntry{epoch, first})
	return next[max(0, len(next)-MaxLineage):]
}

// check says what is wrong with a lineage that came from a disk or a peer.
func (l Lineage) check() error {
	if len(l) > MaxLineage {
		return fmt.Errorf("the lineage has %d entries, the most is %d", len(l), MaxLineage)
	}
	var last LineageEntry
	for i, e := range l {
		if e.Epoch <= last.Epoch || e.First <= last.First {
			return fmt.Errorf("entry %d of the lineage, epoch %d from seq %d, does not follow epoch %d from seq %d",
				i, e.Epoch, e.First, last.Epoch, last.First)
		}
		last = e
	}
	return nil
}

// upto is the last Seq of epoch l[i] in a journal that ends with end.
func (l Lineage) upto(i int, end uint64) uint64 {
	if i+1 < len(l) {
		end = min(end, l[i+1].First-1)
	}
	return end
}

// common returns the last Seq up to which two journals have one history: the end, on whichever has less of it, of the
// newest epoch that is in both lineages. ok is false when none is.
func (l Lineage) common(end uint64, other Lineage, otherEnd uint64) (seq uint64, ok bool) {
	for i, k := len(l)-1, len(other)-1; i >= 0 && k >= 0; {
		switch {
		case l[i] == other[k]:
			return min(l.upto(i, end), other.upto(k, otherEnd)), true
		case l[i].Epoch > other[k].Epoch:
			i--
		case l[i].Epoch < other[k].Epoch:
			k--
		default: // one number for two epochs, which a forced promotion can bring about
			i, k = i-1, k-1
		}
	}
	return 0, false
}
