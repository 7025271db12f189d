package failover

import (
	"flag"
	"fmt"
	"math/bits"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var modelStates = flag.Int("model.states", 50_000, "the most states that an exploration visits, or a few more")

// An explorer visits worlds breadth first, each once. Of those that it has visited it knows a fingerprint of 64 bits: of n
// states, n² / 2⁶⁵ are taken for another one and left out.
type explorer struct {
	limits  *limits
	rules   *mutant
	most    int
	workers int
	each    func(w *world) // is shown every world, after it was expanded; with one worker

	table  []atomic.Uint64 // open addressing; 0: empty
	states atomic.Int64
	level  []batch // to be expanded
	ended  bool    // there is nothing more within the bounds
	pruned int     // moves that go beyond them

	found string
	last  move
	from  uint64             // the fingerprint of where last was made
	steps map[uint64]reached // how each was reached, in retrace
}

// A batch is packed worlds, a length before each.
type batch []uint64

type reached struct {
	by   move
	from uint64
}

const batchWords = 1 << 13

func explore(l *limits, rules *mutant, most int) *explorer {
	return &explorer{limits: l, rules: rules, most: most, workers: 1, table: make([]atomic.Uint64, 1<<12)}
}

func (x *explorer) run(root world) {
	first := x.worker()
	root.limits, root.rules = x.limits, &first.rules
	root.pack(&first.packer)
	first.add(move{}, 0)
	x.level = first.next
	for len(x.level) > 0 && x.found == "" && x.states.Load() < int64(x.most) {
		x.descend()
	}
	x.ended = len(x.level) == 0
}

// descend expands a level, in rounds: between two of them the table grows.
func (x *explorer) descend() {
	var next []batch
	for at := 0; at < len(x.level) && x.found == "" && x.states.Load() < int64(x.most); {
		round := x.level[at:min(at+64, len(x.level))]
		at += len(round)
		x.grow(round)
		next = append(next, x.expand(round)...)
	}
	x.level = next
}

func (x *explorer) expand(round []batch) (next []batch) {
	var taken atomic.Int64
	var all sync.WaitGroup
	workers := make([]*worker, x.workers)
	for i := range workers {
		g := x.worker()
		workers[i] = g
		all.Go(func() {
			for at := int(taken.Add(1)) - 1; at < len(round) && g.found == ""; at = int(taken.Add(1)) - 1 {
				g.expand(round[at])
			}
		})
	}
	all.Wait()
	for _, g := range workers {
		next = append(next, g.next...)
		x.pruned += g.pruned
		if x.found == "" {
			x.found, x.last, x.from = g.found, g.last, g.number
		}
	}
	return next
}

// A worker expands worlds. It shares the table with the others.
type worker struct {
	x       *explorer
	rules   mutant
	packer  packer
	base, w world
	number  uint64 // the fingerprint of base
	next    []batch
	pruned  int
	found   string
	last    move
}

func (x *explorer) worker() *worker {
	g := &worker{x: x, rules: *x.rules}
	g.rules.room = nil
	return g
}

func (g *worker) expand(b batch) {
	for len(b) > 0 && g.found == "" {
		var words packed
		n := copy(words[:], b[1:1+b[0]])
		b = b[1+n:]
		g.base.unpack(&g.packer, words, g.x.limits, &g.rules)
		g.number = g.packer.fingerprint()
		g.base.each(g.try)
		if g.x.each != nil {
			g.x.each(&g.base)
		}
	}
}

// try makes a move and, if it has the node do several things, has the node crash after each of them but the last.
func (g *worker) try(v move) {
	actions := g.attempt(v)
	if int(g.base.crashes) == g.x.limits.crashes || v.kind >= moveCrash {
		return
	}
	for i := 1; i < actions; i++ {
		v.crash = uint8(i + 1)
		g.attempt(v)
	}
}

func (g *worker) attempt(v move) (actions int) {
	if g.found != "" {
		return 0
	}
	w := &g.w
	*w = g.base
	actions, ok := w.make(v)
	switch {
	case !ok:
		return 0
	case w.broken == "" && w.beyond:
		g.pruned++
		return 0
	case w.broken == "":
		w.check()
	}
	if w.broken != "" {
		g.found, g.last = w.broken, v
		return 0
	}
	w.pack(&g.packer)
	g.add(v, g.number)
	return actions
}

// add puts the packed world into the next level, unless it was visited.
func (g *worker) add(v move, from uint64) {
	number := g.packer.fingerprint()
	if !g.x.visit(number) {
		return
	}
	g.x.states.Add(1)
	if g.x.steps != nil {
		g.x.steps[number] = reached{v, from}
	}
	n := int(g.packer.at>>6) + 1
	if len(g.next) == 0 || len(g.next[len(g.next)-1])+n >= batchWords {
		g.next = append(g.next, make(batch, 0, batchWords))
	}
	b := &g.next[len(g.next)-1]
	*b = append(*b, uint64(n))
	*b = append(*b, g.packer.words[:n]...)
}

// visit says whether a fingerprint is new, and remembers it.
func (x *explorer) visit(number uint64) bool {
	mask := uint64(len(x.table) - 1)
	for i := number >> 7 & mask; ; i = (i + 1) & mask {
		old := x.table[i].Load()
		if old == 0 && x.table[i].CompareAndSwap(0, number) {
			return true
		}
		if old == 0 {
			old = x.table[i].Load()
		}
		if old == number {
			return false
		}
	}
}

// grow makes room for what the round may find: a world has four words or more, and hardly ever twenty new successors.
func (x *explorer) grow(round []batch) {
	most := int(x.states.Load())
	for _, b := range round {
		most += len(b) / 4 * 20
	}
	if most*4 < len(x.table)*3 {
		return
	}
	old := x.table
	x.table = make([]atomic.Uint64, max(len(old)*2, 1<<bits.Len(uint(most*4/3))))
	for i := range old {
		if number := old[i].Load(); number != 0 {
			x.visit(number)
		}
	}
}

// trace explores once more, up to what was found, and tells how it comes to be.
func (x *explorer) trace(root world) (moves []move) {
	again := explore(x.limits, x.rules, x.most)
	again.steps = map[uint64]reached{}
	again.run(root)
	moves = append(moves, again.last)
	for r := again.steps[again.from]; r.from != 0; r = again.steps[r.from] {
		moves = append([]move{r.by}, moves...)
	}
	return moves
}

// settledPair is a pair at work: a is master of epoch 1, b is in sync with it.
func settledPair(t testing.TB, l *limits, rules *mutant) world {
	t.Helper()
	w := emptyPair(l)
	w.limits, w.rules = &limits{epochs: 1, revisions: 2, writes: 1, stale: 2, window: 1, exact: true}, rules
	play(t, &w, []move{
		{kind: moveStart}, {kind: moveUnreached}, {kind: moveSee}, {kind: moveRing, arg: timerBootstrap},
		{kind: moveApply}, {kind: moveAnswer}, {kind: moveAppend}, {kind: moveDurable}, {kind: moveActivated},
		{kind: moveStart, node: 1}, {kind: moveSee, node: 1, arg: 1}, {kind: moveConnect, node: 1}, {kind: moveHello}, {kind: moveHello, node: 1},
		{kind: moveRead, node: 1}, {kind: movePlanned, node: 1}, {kind: moveRead, node: 1}, {kind: moveRead}, {kind: moveRead},
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

// The bounds that are explored.
var bounds = map[string]limits{
	// What must hold, to the end: late, ambiguous and lost CAS, old reads, messages that are late or lost, and crashes.
	"stated":    {messages: 3, epochs: 3, writes: 3, crashes: unlimited, stale: 1, window: 1, states: 20_276_473},
	"small":     {messages: 1, epochs: 2, writes: 3, crashes: unlimited, stale: 1, window: 1, states: 236_068},
	"disks":     {messages: 1, epochs: 3, writes: 3, crashes: unlimited, diskLosses: 1, stale: 1, window: 1},
	"handover":  {messages: 1, epochs: 3, writes: 3, crashes: unlimited, switchovers: unlimited, faults: unlimited, refreshes: unlimited, stale: 1, window: 1},
	"bootstrap": {messages: 1, epochs: 3, writes: 3, crashes: unlimited, stale: 1, window: 1},
	"all":       {messages: 3, epochs: 3, writes: 3, crashes: unlimited, diskLosses: 1, switchovers: unlimited, faults: unlimited, refreshes: unlimited, stale: 1, window: 1},
	"exact":     {messages: 1, epochs: 3, revisions: 5, writes: 2, crashes: 1, switchovers: 1, exact: true, stale: 2, window: 2},
	"strangers": {epochs: 2, revisions: 3, writes: 2, crashes: 1, strangers: true, exact: true, stale: 1, window: 1},
	// To the end, too, for which there must be less of everything.
	"small-disks":     {epochs: 2, writes: 3, crashes: unlimited, diskLosses: 1, stale: 1, window: 1, states: 503_233},
	"small-handover":  {messages: 1, epochs: 2, writes: 3, crashes: unlimited, switchovers: unlimited, faults: unlimited, refreshes: unlimited, stale: 1, window: 1, states: 601_058},
	"small-bootstrap": {epochs: 2, writes: 3, crashes: unlimited, stale: 1, window: 1, states: 485_464},
	"small-all":       {epochs: 2, writes: 3, crashes: unlimited, diskLosses: 1, switchovers: unlimited, faults: unlimited, refreshes: unlimited, stale: 1, window: 1, states: 763_295},
}

func TestModel(t *testing.T) {
	t.Parallel()
	for name, l := range bounds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := &mutant{}
			root := world{}
			if strings.HasSuffix(name, "bootstrap") || name == "strangers" {
				root = emptyPair(&l)
			} else {
				root = settledPair(t, &l, rules)
			}
			x := explore(&l, rules, *modelStates)
			x.workers = runtime.GOMAXPROCS(0)
			began := time.Now()
			x.run(root)
			t.Logf("%d states in %v, %d moves beyond the bounds, to the end: %v", x.states.Load(), time.Since(began), x.pruned, x.ended)
			if l.states > 0 && *modelStates > l.states && (!x.ended || x.states.Load() != int64(l.states)) {
				t.Errorf("README.md says that there are %d states: the model has changed", l.states)
			}
			if x.found != "" {
				t.Error(x.found + "\n" + retell(root, x.trace(root)))
			}
		})
	}
}

// emptyPair are two nodes that have never run.
func emptyPair(l *limits) (w world) {
	w.limits = l
	for n := range w.nodes {
		w.nodes[n].kept.JournalID = journalID(uint8(n), 0)
	}
	return w
}

// retell says what happened.
func retell(w world, trace []move) string {
	w.limits, w.rules = &limits{messages: 9, epochs: 7, revisions: maxRev, writes: maxWrites, stale: maxRev, window: 2, exact: w.limits.exact, timed: w.limits.timed, strangers: w.limits.strangers}, &mutant{}
	text := w.String()
	for i, v := range trace {
		w.make(v)
		text += fmt.Sprintf("%d %v\n", i+1, v)
	}
	return text + w.String()
}
