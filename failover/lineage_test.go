package failover

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"baton/journal"

	"pgregory.net/rapid"
)

// A history of one node, told naively: which epoch each record is of, and which of all that were ever made.
type chronicle struct {
	lineage Lineage
	records []chronicled
}

type chronicled struct {
	epoch uint32
	id    int
}

func (c *chronicle) end() journal.Position { return c.at(len(c.records)) }

// at makes a chain of the records: equal chains are equal histories.
func (c *chronicle) at(n int) journal.Position {
	if n == 0 {
		return journal.Position{}
	}
	chain := uint32(1)
	for _, r := range c.records[:n] {
		chain = chain*1664525 + uint32(r.id) + 1
	}
	return journal.Position{Seq: uint64(n), Epoch: c.records[n-1].epoch, Chain: chain}
}

func (c *chronicle) history() *history {
	return &history{cluster: ID{1}, lineage: c.lineage, end: c.end(), at: func(seq uint64) (journal.Position, error) {
		return c.at(int(seq)), nil
	}}
}

func (c *chronicle) hello() *Hello {
	return &Hello{Node: "b", Cluster: ID{1}, Lineage: c.lineage, End: c.end(), First: 1}
}

// shared is how many records two histories begin with alike.
func (c *chronicle) shared(other *chronicle) int {
	n := 0
	for n < min(len(c.records), len(other.records)) && c.records[n] == other.records[n] {
		n++
	}
	return n
}

// Whatever three nodes have been through, a plan keeps exactly what a standby has in common with its master.
func TestPlanKeepsWhatIsCommonProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes := []*chronicle{{}, {}, {}}
		epoch, made := uint32(0), 0
		master := -1
		lead := func(n int) {
			epoch++
			master = n
			c := nodes[n]
			c.lineage = c.lineage.With(epoch, uint64(len(c.records))+1)
		}
		write := func() {
			c := nodes[master]
			made++
			c.records = append(c.records, chronicled{epoch, made})
		}
		lead(0)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			n := rapid.IntRange(0, 2).Draw(t, "node")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				lead(n)
				if rapid.Bool().Draw(t, "start") { // or it dies before its first record is on disk
					write()
				}
			case 1:
				for range rapid.IntRange(1, 5).Draw(t, "records") {
					write()
				}
			case 2: // what was not durable is lost; the lineage was
				c := nodes[n]
				if n != master {
					c.records = c.records[:len(c.records)-rapid.IntRange(0, min(2, len(c.records))).Draw(t, "lost")]
				}
			default:
				if n == master {
					continue
				}
				follow(t, nodes[master], nodes[n], rapid.IntRange(0, 8).Draw(t, "frames"))
			}
		}
	})
}

func follow(t *rapid.T, master, standby *chronicle, records int) {
	common := master.shared(standby)
	p := planFor(master.history(), standby.hello())
	switch {
	case p.Refused != "" || p.Snapshot && common > 0:
		t.Fatalf("planned %+v for %+v and master %+v", p, standby, master)
	case p.Snapshot:
		*standby = chronicle{lineage: p.Lineage, records: slices.Clone(master.records)}
		return
	case int(p.From.Seq) != common:
		t.Fatalf("planned to go on from seq %d, they have %d in common: master %+v, standby %+v", p.From.Seq, common, master, standby)
	case p.Cut != (common < len(standby.records)):
		t.Fatalf("planned cut %t at %d of %d", p.Cut, common, len(standby.records))
	}
	standby.records = slices.Clone(standby.records[:common])
	standby.lineage = p.Lineage
	standby.records = append(standby.records, master.records[common:min(common+records, len(master.records))]...)
}

func TestPlans(t *testing.T) {
	t.Parallel()
	lineage := Lineage{{3, 10}, {5, 40}}
	mine := &history{cluster: ID{1}, lineage: lineage, end: journal.Position{Seq: 60, Epoch: 5, Chain: 6}, from: 20,
		at: func(seq uint64) (journal.Position, error) {
			if seq == 60 {
				return journal.Position{Seq: 60, Epoch: 5, Chain: 6}, nil
			}
			return journal.Position{Seq: seq, Epoch: 3, Chain: uint32(seq)}, nil
		}}
	for name, c := range map[string]struct {
		hello Hello
		want  string
	}{
		"empty, and the beginning is gone": {Hello{}, "snapshot"},
		"the same":                         {Hello{Cluster: ID{1}, Lineage: lineage, End: journal.Position{Seq: 60, Epoch: 5, Chain: 6}}, "from 60"},
		"behind":                           {Hello{Cluster: ID{1}, Lineage: lineage, End: journal.Position{Seq: 30, Epoch: 3, Chain: 30}}, "from 30"},
		"behind what is there":             {Hello{Cluster: ID{1}, Lineage: lineage, End: journal.Position{Seq: 15, Epoch: 3, Chain: 15}}, "snapshot"},
		"behind, of another chain":         {Hello{Cluster: ID{1}, Lineage: lineage, End: journal.Position{Seq: 30, Epoch: 3, Chain: 31}}, "snapshot"},
		"surplus of an epoch that is over": {Hello{Cluster: ID{1}, Lineage: lineage[:1], End: journal.Position{Seq: 45, Epoch: 3, Chain: 9}}, "cut 39"},
		"surplus of a lost epoch":          {Hello{Cluster: ID{1}, Lineage: Lineage{{3, 10}, {4, 35}}, End: journal.Position{Seq: 50, Epoch: 4}}, "cut 34"},
		"surplus over what was trimmed":    {Hello{Cluster: ID{1}, Lineage: lineage[:1], End: journal.Position{Seq: 45, Epoch: 3}, First: 42}, "snapshot"},
		"one number, two epochs":           {Hello{Cluster: ID{1}, Lineage: Lineage{{3, 10}, {5, 35}}, End: journal.Position{Seq: 50, Epoch: 5}}, "cut 34"},
		"asked for":                        {Hello{Cluster: ID{1}, Lineage: lineage, End: journal.Position{Seq: 30, Epoch: 3, Chain: 30}, Resync: true}, "snapshot"},
		"a member that shares nothing":     {Hello{Cluster: ID{1}, Lineage: Lineage{{2, 7}}, End: journal.Position{Seq: 30}}, "snapshot"},
		"a stranger with records":          {Hello{End: journal.Position{Seq: 30}}, "refused: the journal of node  has records up to seq 30 and shares no epoch"},
		"of another pair":                  {Hello{Cluster: ID{2}}, "refused: node  belongs to the pair 02"},
		"of a newer epoch":                 {Hello{Cluster: ID{1}, Lineage: Lineage{{6, 50}}}, "refused: node  knows of epoch 6"},
	} {
		p := planFor(mine, &c.hello)
		got := fmt.Sprintf("from %d", p.From.Seq)
		switch {
		case p.Refused != "":
			got = "refused: " + p.Refused
		case p.Snapshot:
			got = "snapshot"
		case p.Cut:
			got = fmt.Sprintf("cut %d", p.From.Seq)
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: planned %q, want %q", name, got, c.want)
		}
	}
}

// A journal that is a beginning of the master's, as far as the lineages tell, need not be kept when a snapshot replaces it.
func TestCoveredPlans(t *testing.T) {
	t.Parallel()
	lineage := Lineage{{3, 10}, {5, 40}}
	for name, c := range map[string]struct {
		overruled uint32
		hello     Hello
		want      bool
	}{
		"it is behind what is there":  {0, Hello{Lineage: lineage, End: journal.Position{Seq: 15, Epoch: 3}}, true},
		"an operator's word long ago": {2, Hello{Lineage: lineage, End: journal.Position{Seq: 15, Epoch: 3}}, true},
		"an operator's word since":    {3, Hello{Lineage: lineage, End: journal.Position{Seq: 15, Epoch: 3}}, false},
		"it has more":                 {0, Hello{Lineage: Lineage{{3, 10}, {4, 15}}, End: journal.Position{Seq: 18, Epoch: 4}}, false},
		"it shares nothing":           {0, Hello{Lineage: Lineage{{2, 7}}, End: journal.Position{Seq: 15, Epoch: 2}}, false},
		// Its lineage is not enough to go by where it asks for a copy.
		"resync, all the same":       {0, Hello{Lineage: lineage, End: journal.Position{Seq: 45, Epoch: 5, Chain: 45}, Resync: true}, true},
		"resync, of another chain":   {0, Hello{Lineage: lineage, End: journal.Position{Seq: 45, Epoch: 5, Chain: 46}, Resync: true}, false},
		"resync, it has more":        {0, Hello{Lineage: lineage, End: journal.Position{Seq: 61, Epoch: 5, Chain: 61}, Resync: true}, false},
		"resync, of a lost epoch":    {0, Hello{Lineage: Lineage{{3, 10}, {4, 41}}, End: journal.Position{Seq: 45, Epoch: 4, Chain: 45}, Resync: true}, false},
		"resync, of another history": {0, Hello{End: journal.Position{Seq: 45, Epoch: 5, Chain: 45}, Resync: true}, false},
		"resync, nobody knows":       {0, Hello{Lineage: lineage, End: journal.Position{Seq: 15, Epoch: 3, Chain: 15}, Resync: true}, false},
	} {
		c.hello.Cluster = ID{1}
		p := planFor(&history{cluster: ID{1}, lineage: lineage, overruled: c.overruled, end: journal.Position{Seq: 60, Epoch: 5}, from: 20,
			at: func(seq uint64) (journal.Position, error) {
				if seq <= 20 {
					return journal.Position{}, journal.ErrNotFound
				}
				return journal.Position{Seq: seq, Epoch: 5, Chain: uint32(seq)}, nil
			}}, &c.hello)
		if !p.Snapshot || p.Covered != c.want {
			t.Errorf("%s: planned %+v, want covered: %t", name, p, c.want)
		}
	}
}

func TestLineageIsBounded(t *testing.T) {
	t.Parallel()
	var l Lineage
	r := rand.New(rand.NewPCG(1, 1))
	for first, epoch := uint64(1), uint32(1); epoch <= 3*MaxLineage; epoch++ {
		l = l.With(epoch, first)
		first += uint64(r.IntN(3))
		if err := l.check(); err != nil {
			t.Fatal(err)
		}
	}
	if len(l) != MaxLineage || l.Last().Epoch != 3*MaxLineage {
		t.Errorf("%d entries, the last %+v", len(l), l.Last())
	}
}
