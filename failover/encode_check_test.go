package failover

import (
	"math/rand/v2"
	"testing"
)

// What packing leaves out must not matter: whatever can happen next comes to the same with the world as it was and with
// the one that was read again.
func TestPackedWorldsBehaveTheSame(t *testing.T) {
	t.Parallel()
	l := &limits{messages: 3, epochs: 5, revisions: 12, writes: 3, crashes: 3, diskLosses: 1, faults: 1, switchovers: 2, refreshes: 2, cuts: 4, stale: 3, window: 2, exact: true}
	rules := &mutant{}
	random := rand.New(rand.NewPCG(1, 2))
	var p, q packer
	for range 300 {
		w := settledPair(t, l, rules)
		var path []move
		for range 120 {
			w.pack(&p)
			var again world
			again.unpack(&q, p.words, l, rules)
			var moves []move
			w.each(func(v move) { moves = append(moves, v) })
			var possible []world
			var taken []move
			for _, v := range moves {
				one, other := w, again
				_, ok := one.make(v)
				_, too := other.make(v)
				one.pack(&p)
				other.pack(&q)
				if ok != too || one.beyond != other.beyond || !one.beyond && (p.fingerprint() != q.fingerprint() || one.broken != other.broken) {
					t.Logf("links %d %d of %v", w.nodes[v.node].link, w.nodes[v.node].s.peer.link, path)
					t.Fatalf("%v comes to\n%v\nand, after packing, to\n%v\nfrom\n%v", v, &one, &other, &w)
				}
				if ok && !one.beyond {
					possible = append(possible, one)
					taken = append(taken, v)
				}
			}
			if len(possible) == 0 {
				break
			}
			k := random.IntN(len(possible))
			w = possible[k]
			path = append(path, taken[k])
		}
	}
}
