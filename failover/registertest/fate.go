package registertest

import (
	"math/rand/v2"

	"baton/failover"
)

// Kind is what a node does at the register.
type Kind int

// The kinds of operations.
const (
	CAS Kind = iota
	Read
	Watch // a watcher looks whether there is something new
)

// Op is one operation of a node.
type Op struct {
	Kind   Kind
	Expect uint64          // of a CAS
	Record failover.Record // of a CAS
}

// Fate is what happens to an operation. For a CAS, Stale and Again are Honest; a Read and a Watch that are LostReply or Delayed
// have NoAnswer.
type Fate int

// The fates.
const (
	Honest    Fate = iota
	NoAnswer       // nothing arrives, and nothing is answered
	LostReply      // a CAS arrives, its answer does not
	Delayed        // a CAS is not answered, and arrives when Deliver is called
	Stale          // what was before the newest change is shown
	Again          // a watcher is shown the newest, though it has seen it
)

// Always gives every operation one fate.
func Always(fate Fate) func(Op) Fate { return func(Op) Fate { return fate } }

// Script gives the operations these fates, in order, and those after them none but Honest.
func Script(fates ...Fate) func(Op) Fate {
	return func(Op) Fate {
		if len(fates) == 0 {
			return Honest
		}
		fate := fates[0]
		fates = fates[1:]
		return fate
	}
}

// Hostile gives so many in a hundred operations a fate that is not Honest, each of those there are equally often. The same
// source gives the same ones.
func Hostile(source *rand.Rand, percent int) func(Op) Fate {
	bad := map[Kind][]Fate{CAS: {NoAnswer, LostReply, Delayed}, Read: {NoAnswer, Stale}, Watch: {NoAnswer, Stale, Again}}
	return func(op Op) Fate {
		if source.IntN(100) >= percent {
			return Honest
		}
		return bad[op.Kind][source.IntN(len(bad[op.Kind]))]
	}
}
