package destinations

import (
	"math/bits"
	"slices"
	"sort"
)

// A liveSet is the Seqs of the entries without which what is stored could not
// be recovered: for each message the one that put it where it is and the one
// that holds its content, which are mostly the same. It is kept in stretches of
// 1024 Seqs, and only those are there that have something live: one old message
// costs what it is, however long ago it came.
//
// A content that was published may be in several queues: the set counts how
// many hold it, beyond the first, and it is live until the last lets go.
type liveSet struct {
	stretches
	first int        // no stretch before this index has anything live; this one has, or is the last
	empty int        // stretches with nothing live, the last one not counted
	epoch uint32     // of a stretch whose set no picture shares
	spare [][]uint16 // bitmaps without a bit, for reuse
}

// stretches are sorted by their numbers.
type stretches []stretch

// A stretch is the live ones of 1024 Seqs.
type stretch struct {
	number uint64
	bytes  int64    // what the entries take, roughly
	set    []uint16 // as a bitmap, or when they are few, the sorted offsets
	shares []share  // of those that have several holders, by their offsets; shared by pictures like set
	epoch  uint32
	count  uint16
}

// A share is how many hold an entry, and 1.
type share struct {
	offset uint16
	more   uint32
}

const (
	stretchBits = 10
	stretchSeqs = 1 << stretchBits
	offsetMask  = stretchSeqs - 1

	// A set of this length is a bitmap. That of few offsets is shorter.
	bitmapWords = stretchSeqs / 16
	few         = 16

	// maxSpare bounds what is kept for reuse: steady traffic needs little.
	maxSpare = 8
)

// search returns the index of a stretch, or where it would be.
func (l stretches) search(number uint64) (int, bool) {
	n := len(l)
	if n == 0 || number > l[n-1].number {
		return n, false
	}
	// Mostly the stretches follow each other without a gap.
	if back := l[n-1].number - number; back < uint64(n) && l[n-1-int(back)].number == number {
		return n - 1 - int(back), true
	}
	i := sort.Search(n, func(i int) bool { return l[i].number >= number })
	return i, l[i].number == number
}

func (l stretches) has(seq uint64) bool {
	i, ok := l.search(seq >> stretchBits)
	return ok && l[i].has(uint16(seq&offsetMask))
}

func (s *stretch) has(offset uint16) bool {
	if len(s.set) == bitmapWords {
		return s.set[offset>>4]>>(offset&15)&1 == 1
	}
	return slices.Contains(s.set, offset)
}

// each calls fn for every live offset, in order.
func (s *stretch) each(fn func(offset uint16)) {
	if len(s.set) < bitmapWords {
		for _, offset := range s.set {
			fn(offset)
		}
		return
	}
	for i, word := range s.set {
		for ; word != 0; word &= word - 1 {
			fn(uint16(i<<4 + bits.TrailingZeros16(word)))
		}
	}
}

// add makes seq live, with an entry of so many octets, or counts one holder
// more of it.
func (l *liveSet) add(seq uint64, size int64) {
	i := l.reach(seq >> stretchBits)
	s := &l.stretches[i]
	offset := uint16(seq & offsetMask)
	l.own(s)
	if s.has(offset) {
		s.share(offset)
		return
	}
	if len(s.set) < bitmapWords {
		l.spread(s)
	}
	s.set[offset>>4] |= 1 << (offset & 15)
	if s.count == 0 && i < len(l.stretches)-1 {
		l.empty--
	}
	s.count++
	s.bytes += size
	l.first = min(l.first, i)
}

// reach returns the index of a stretch, made if it is not there.
func (l *liveSet) reach(number uint64) int {
	n := len(l.stretches)
	if n > 0 && l.stretches[n-1].number == number { // as mostly
		return n - 1
	}
	i, ok := l.search(number)
	switch {
	case ok:
	case i == n && n > 0 && l.stretches[n-1].count == 0:
		i = n - 1 // the end has gone on, and nothing was left behind
		l.stretches[i].number, l.stretches[i].bytes = number, 0
	case i == n:
		l.stretches = append(l.stretches, stretch{number: number, epoch: l.epoch})
	default:
		l.stretches = slices.Insert(l.stretches, i, stretch{number: number, epoch: l.epoch})
		l.empty++ // until something is added
		l.first = min(l.first, i)
	}
	return i
}

// own makes the set of s one that may be changed.
func (l *liveSet) own(s *stretch) {
	if s.epoch != l.epoch {
		s.set, s.shares, s.epoch = slices.Clone(s.set), slices.Clone(s.shares), l.epoch
	}
}

// findShare returns the index of the share of offset, or where it would be.
func (s *stretch) findShare(offset uint16) (int, bool) {
	n := len(s.shares)
	if n == 0 || s.shares[n-1].offset < offset { // as mostly
		return n, false
	}
	if s.shares[n-1].offset == offset {
		return n - 1, true
	}
	return slices.BinarySearchFunc(s.shares, offset, func(s share, offset uint16) int { return int(s.offset) - int(offset) })
}

// share counts one holder more.
func (s *stretch) share(offset uint16) {
	i, ok := s.findShare(offset)
	if !ok {
		s.shares = slices.Insert(s.shares, i, share{offset: offset})
	}
	s.shares[i].more++
}

// unshare counts one holder less, and says whether there is still one.
func (s *stretch) unshare(offset uint16) bool {
	i, ok := s.findShare(offset)
	if !ok {
		return false
	}
	if s.shares[i].more--; s.shares[i].more == 0 {
		s.shares = slices.Delete(s.shares, i, i+1)
	}
	return true
}

// spread makes the set of s a bitmap.
func (l *liveSet) spread(s *stretch) {
	offsets := s.set
	if n := len(l.spare); n > 0 {
		s.set, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		s.set = make([]uint16, bitmapWords)
	}
	for _, offset := range offsets {
		s.set[offset>>4] |= 1 << (offset & 15)
	}
}

// remove takes away one of the holders of seq, of which add was told the size.
// Without one it is not live any more; shared says that there is one.
func (l *liveSet) remove(seq uint64, size int64) (shared bool) {
	i, ok := l.search(seq >> stretchBits)
	offset := uint16(seq & offsetMask)
	if !ok || !l.stretches[i].has(offset) {
		return false
	}
	s := &l.stretches[i]
	l.own(s)
	if s.unshare(offset) {
		return true
	}
	if len(s.set) == bitmapWords {
		s.set[offset>>4] &^= 1 << (offset & 15)
	} else {
		at := slices.Index(s.set, offset)
		s.set = slices.Delete(s.set, at, at+1)
	}
	s.bytes -= size
	// The last one is kept as it is: most likely it is about to be added to again.
	if s.count--; s.count == 0 && i < len(l.stretches)-1 {
		l.emptied(s)
	}
	return false
}

// emptied frees what a stretch held.
func (l *liveSet) emptied(s *stretch) {
	if len(s.set) == bitmapWords && len(l.spare) < maxSpare {
		l.spare = append(l.spare, s.set)
	}
	s.set, s.shares, s.bytes = nil, nil, 0
	if l.empty++; l.empty > len(l.stretches)/2 {
		l.compact()
	}
	for l.first < len(l.stretches)-1 && l.stretches[l.first].count == 0 {
		l.first++
	}
}

func (l *liveSet) compact() {
	last := l.stretches[len(l.stretches)-1].number
	l.stretches = slices.DeleteFunc(l.stretches, func(s stretch) bool { return s.count == 0 && s.number != last })
	l.first, l.empty = 0, 0
}

// oldestOr returns the oldest live Seq, or what it is given when there is none.
func (l *liveSet) oldestOr(none uint64) uint64 { return l.stretches[l.first:].oldestOr(none) }

func (l stretches) oldestOr(none uint64) uint64 {
	if len(l) == 0 || l[0].count == 0 {
		return none
	}
	s := &l[0]
	offset := 0
	if len(s.set) < bitmapWords {
		offset = int(s.set[0])
	} else {
		for i, word := range s.set {
			if word != 0 {
				offset = i<<4 + bits.TrailingZeros16(word)
				break
			}
		}
	}
	return s.number<<stretchBits + uint64(offset)
}

// picture returns the stretches as they are now, for ever: a set that is shared
// with it is copied before it is changed. It shrinks those that were large.
func (l *liveSet) picture() stretches {
	p := make(stretches, 0, len(l.stretches)-l.empty)
	for i := range l.stretches {
		s := &l.stretches[i]
		if s.count == 0 {
			continue
		}
		if len(s.set) == bitmapWords && s.count <= few && i < len(l.stretches)-1 {
			offsets := make([]uint16, 0, s.count)
			s.each(func(offset uint16) { offsets = append(offsets, offset) })
			s.set = offsets
		}
		p = append(p, *s)
	}
	l.epoch++
	return p
}
