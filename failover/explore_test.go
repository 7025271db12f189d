package failover

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	modelStates = flag.Int("model.states", 50_000, "the most states that an exploration visits")
)

// An explorer visits worlds breadth first, each once.
type explorer struct {
	limits *limits
	rules  *mutant
	most   int

	table  []digest // open addressing
	number []uint32
	moves  []move // by number
	from   []uint32
	mask   uint64

	level, next []uint64 // packed worlds, a length before each
	pruned      int
	found       string
	trace       []move
	each        func(w *world) // is shown every world, after it was expanded
}

func explore(root *world, l *limits, rules *mutant, most int) *explorer {
	x := &explorer{limits: l, rules: rules, most: most}
	size := 1 << 12
	x.table, x.number, x.mask = make([]digest, size), make([]uint32, size), uint64(size-1)
	return x
}

func (x *explorer) run(root world) {
	var p packer
	root.limits, root.rules = x.limits, x.rules
	root.pack(&p)
	x.add(&p, move{}, 0)
	var base, w world
	for depth := 0; len(x.next) > 0 && x.found == "" && len(x.moves) < x.most; depth++ {
		x.level, x.next = x.next, x.level[:0]
		for at := 0; at < len(x.level) && x.found == "" && len(x.moves) < x.most; {
			var words packed
			number, n := uint32(x.level[at]>>8), int(x.level[at]&0xff)
			copy(words[:], x.level[at+1:at+1+n])
			at += 1 + n
			base.unpack(&p, words, x.limits, x.rules)
			x.expand(&base, &w, &p, number)
			if x.each != nil {
				x.each(&base)
			}
		}
	}
}

func (x *explorer) expand(base, w *world, p *packer, number uint32) {
	base.each(func(v move) {
		if x.found != "" {
			return
		}
		actions := x.try(base, w, p, v, number)
		if int(base.crashes) == x.limits.crashes || v.kind >= moveCrash {
			return
		}
		for i := 1; i < actions; i++ {
			v.crash = uint8(i + 1)
			x.try(base, w, p, v, number)
		}
	})
}

func (x *explorer) try(base, w *world, p *packer, v move, number uint32) (actions int) {
	*w = *base
	actions, ok := w.make(v)
	switch {
	case !ok:
		return 0
	case w.broken == "" && w.beyond:
		x.pruned++
		return 0
	case w.broken == "":
		w.check()
	}
	if w.broken != "" {
		x.found = w.broken
		x.trace = append(x.path(number), v)
		return 0
	}
	w.pack(p)
	x.add(p, v, number)
	return actions
}

func (x *explorer) path(number uint32) (trace []move) {
	for ; number != 0; number = x.from[number] {
		trace = append([]move{x.moves[number]}, trace...)
	}
	return trace
}

func (x *explorer) add(p *packer, v move, from uint32) {
	d := p.digest()
	i := d[0] & x.mask
	for ; x.table[i] != (digest{}); i = (i + 1) & x.mask {
		if x.table[i] == d {
			return
		}
	}
	number := uint32(len(x.moves))
	x.table[i], x.number[i] = d, number
	x.moves, x.from = append(x.moves, v), append(x.from, from)
	n := int(p.at>>6) + 1
	x.next = append(x.next, uint64(number)<<8|uint64(n))
	x.next = append(x.next, p.words[:n]...)
	if uint64(len(x.moves))*4 > x.mask*3 {
		x.grow()
	}
}

func (x *explorer) grow() {
	old, numbers := x.table, x.number
	x.mask = x.mask*2 + 1
	x.table, x.number = make([]digest, x.mask+1), make([]uint32, x.mask+1)
	for k, d := range old {
		if d == (digest{}) {
			continue
		}
		i := d[0] & x.mask
		for x.table[i] != (digest{}) {
			i = (i + 1) & x.mask
		}
		x.table[i], x.number[i] = d, numbers[k]
	}
}

// settledPair is a pair at work: a is master of epoch 1, b is in sync with it.
func settledPair(t testing.TB, l *limits, rules *mutant) world {
	t.Helper()
	w := emptyPair()
	w.limits, w.rules = &limits{epochs: 1, revisions: 2, writes: 1, stale: 2, window: 1, exact: true}, rules
	play(t, &w, []move{
		{kind: moveStart}, {kind: moveUnreached}, {kind: moveSee}, {kind: moveRing, arg: timerBootstrap},
		{kind: moveApply}, {kind: moveAnswer}, {kind: moveAppend}, {kind: moveDurable}, {kind: moveActivated},
		{kind: moveStart, node: 1}, {kind: moveSee, node: 1, arg: 1}, {kind: moveConnect, node: 1}, {kind: moveHello}, {kind: moveHello, node: 1},
		{kind: moveRead, node: 1}, {kind: moveRead, node: 1}, {kind: moveRead}, {kind: moveRead},
		{kind: moveSend}, {kind: moveRead, node: 1}, {kind: moveDurable, node: 1}, {kind: moveRead},
		{kind: moveNear}, {kind: moveApply}, {kind: moveAnswer}, {kind: moveSee, node: 1, arg: 2},
	})
	if r := w.nodes[0].s.Role(); r != Duplex {
		t.Fatalf("the pair does not come to be: a is %v\n%v", r, &w)
	}
	if w.limits = l; !l.exact {
		w.relax()
	}
	return w
}

func play(t testing.TB, w *world, moves []move) {
	t.Helper()
	for i, v := range moves {
		_, ok := w.make(v)
		w.check()
		if !ok || w.broken != "" || w.beyond {
			t.Fatalf("move %d, %v: possible %v, %s\n%v", i, v, ok, w.broken, w)
		}
	}
}

// The bounds that are explored: small and crash to the end, if as many states may be visited; make test does so with small.
var bounds = map[string]limits{
	"small":     {messages: 1, epochs: 2, revisions: 3, writes: 1, stale: 1, window: 1},
	"crash":     {epochs: 2, revisions: 3, writes: 2, crashes: 1, stale: 1, window: 1},
	"bootstrap": {messages: 0, epochs: 2, revisions: 3, writes: 2, crashes: 1, stale: 1, window: 1},
	"roles":     {messages: 0, epochs: 3, revisions: 5, writes: 2, crashes: 1, cuts: 0, stale: 1, window: 1},
	"log":       {messages: 1, epochs: 3, revisions: 5, writes: 2, crashes: 1, cuts: 1, stale: 1, window: 1},
	"disks":     {messages: 1, epochs: 3, revisions: 6, writes: 2, crashes: 1, diskLosses: 1, stale: 1, window: 1},
	"handover":  {messages: 1, epochs: 4, revisions: 6, writes: 2, crashes: 1, switchovers: 1, faults: 1, stale: 1, window: 1},
	"all":       {messages: 3, epochs: 3, revisions: 7, writes: 3, crashes: 2, diskLosses: 1, switchovers: 1, faults: 1, refreshes: 1, cuts: 2, stale: 2, window: 1},
	"exact":     {messages: 1, epochs: 3, revisions: 5, writes: 2, crashes: 1, exact: true, stale: 2, window: 2},
}

func TestModel(t *testing.T) {
	t.Parallel()
	for name, l := range bounds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := &mutant{}
			root := world{}
			if name == "bootstrap" {
				root = emptyPair()
			} else {
				root = settledPair(t, &l, rules)
			}
			x := explore(&root, &l, rules, *modelStates)
			began := time.Now()
			x.run(root)
			t.Logf("%d states in %v, %d moves beyond the bounds, to the end: %v", len(x.moves), time.Since(began), x.pruned, len(x.next) == 0)
			if name == "small" && *modelStates >= 1_000_000 && len(x.next) > 0 {
				t.Error("the end was not reached")
			}
			if x.found != "" {
				t.Error(x.found + "\n" + retell(root, x.trace))
			}
		})
	}
}

// emptyPair are two nodes that have never run.
func emptyPair() (w world) {
	for n := range w.nodes {
		w.nodes[n].kept.JournalID = journalID(uint8(n), 0)
	}
	return w
}

// retell says what happened.
func retell(w world, trace []move) string {
	w.limits, w.rules = &limits{messages: 9, epochs: 7, revisions: maxRev, writes: maxWrites, stale: maxRev, window: 2, exact: w.limits.exact}, &mutant{}
	text := w.String()
	for i, v := range trace {
		w.make(v)
		text += fmt.Sprintf("%d %v\n", i+1, v)
	}
	return text + w.String()
}
