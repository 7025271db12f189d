package memfs

import (
	"math/bits"
	"slices"
)

// inode is the content of a file. Content and safe may be shared with other inodes, or be one: they are copied before
// the first change, which makes a crash clone cheap.
type inode struct {
	name       string // the last one
	content    []byte
	safe       []byte // as of the last sync
	ownContent bool   // nobody else has content
	ownSafe    bool
	dirty      []uint64 // a bit for each block that differs
	links      int      // names and open files
}

// settled returns an inode whose content, which the caller gives away or shares, is durable.
func settled(content []byte) *inode { return &inode{content: content, safe: content} }

func (n *inode) size() int64 { return int64(len(n.content)) }

func (n *inode) write(b []byte, offset int64) {
	n.resize(max(n.size(), offset+int64(len(b))))
	n.own()
	copy(n.content[offset:], b)
	n.touch(offset, offset+int64(len(b)))
}

func (n *inode) own() {
	if !n.ownContent {
		n.content, n.ownContent = slices.Clone(n.content), true
	}
}

// touch marks the blocks of the bytes from begin to end as dirty.
func (n *inode) touch(begin, end int64) {
	if begin >= end {
		return
	}
	last := (end - 1) / blockBytes
	if need := int(last/64) + 1; need > len(n.dirty) {
		n.dirty = append(n.dirty, make([]uint64, need-len(n.dirty))...)
	}
	for block := begin / blockBytes; block <= last; block++ {
		n.dirty[block/64] |= 1 << (block % 64)
	}
}

// resize changes the size; blocks that come or go are dirty.
func (n *inode) resize(size int64) {
	old := n.size()
	if size == old {
		return
	}
	n.own()
	if size < old {
		n.content = n.content[:size:size]
	} else {
		n.content = append(n.content, make([]byte, size-old)...)
	}
	n.touch(min(old, size), max(old, size))
}

// eachDirty calls fn with each dirty block within the first size bytes.
func (n *inode) eachDirty(size int64, fn func(block, begin, end int64)) {
	for i, word := range n.dirty {
		for ; word != 0; word &= word - 1 {
			block := int64(i*64 + bits.TrailingZeros64(word))
			if begin := block * blockBytes; begin < size {
				fn(block, begin, min(begin+blockBytes, size))
			}
		}
	}
}

func (n *inode) clean() bool {
	return len(n.safe) == len(n.content) && !slices.ContainsFunc(n.dirty, func(w uint64) bool { return w != 0 })
}

func (n *inode) sync() {
	if n.clean() {
		return
	}
	size := n.size()
	if !n.ownSafe || int64(len(n.safe)) < size {
		n.safe, n.ownSafe = append(make([]byte, 0, size), n.safe[:min(size, int64(len(n.safe)))]...), true
	}
	n.safe = n.safe[:size]
	n.eachDirty(size, func(_, begin, end int64) { copy(n.safe[begin:end], n.content[begin:end]) })
	clear(n.dirty)
}

// twin returns a copy without names and open files.
func (n *inode) twin() *inode {
	n.ownContent, n.ownSafe = false, false
	return &inode{name: n.name, content: n.content, safe: n.safe, dirty: slices.Clone(n.dirty)}
}

// crash returns the inode as the machine may find it after a crash.
func (n *inode) crash(name string, keep Keep) *inode {
	if n.clean() {
		n.ownSafe = false
		return settled(n.safe)
	}
	size := int64(len(n.safe))
	if size != n.size() && keep(Change{Kind: Size, File: name}) {
		size = n.size()
	}
	b := make([]byte, size)
	copy(b, n.safe)
	n.eachDirty(max(size, n.size()), func(block, begin, end int64) {
		if end = min(end, n.size(), size); keep(Change{Block, name, block}) && begin < end {
			copy(b[begin:end], n.content[begin:end])
		}
	})
	return settled(b)
}
