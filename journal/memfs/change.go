package memfs

import "math/rand/v2"

const (
	blockBytes = 512  // the smallest unit that a disk writes whole
	pageBytes  = 4096 // the unit in which most systems write files, and count their space
)

// Kind is what a Change changes.
type Kind uint8

const (
	Name  Kind = iota // a file was created, renamed or removed
	Size              // a file became longer or shorter
	Block             // 512 bytes of a file were written
)

// Change is one change that was not synced when the machine crashed.
type Change struct {
	Kind  Kind
	File  string // path of the file; of a renamed one the new path
	Block int64  // number of the block in the file, for Block
}

// Keep decides whether a change survives the crash. It is asked for names first, then file by file in the order of
// their paths for the size and for each block.
type Keep func(Change) bool

// All keeps every change: the process died, the machine did not.
func All(Change) bool { return true }

// None keeps nothing that was not synced.
func None(Change) bool { return false }

// SizesOnly keeps names and sizes and no content: the system wrote its own records before the data.
func SizesOnly(c Change) bool { return c.Kind != Block }

// Random keeps about half of the changes, the same for the same seed.
func Random(seed uint64) Keep {
	r := rand.New(rand.NewPCG(seed, 0))
	return func(Change) bool { return r.IntN(2) == 0 }
}

// RandomPages is Random for a system that writes 4 KiB at a time: the blocks of a page survive together.
func RandomPages(seed uint64) Keep {
	r := rand.New(rand.NewPCG(seed, 1))
	page, kept := Change{Kind: Name, Block: -1}, false
	return func(c Change) bool {
		c.Block /= pageBytes / blockBytes
		if c.Kind != Block || c != page {
			page, kept = c, r.IntN(2) == 0
		}
		return kept
	}
}
