package failover

import (
	"encoding/binary"
	"path"
	"strings"
	"testing"
	"time"
)

// A simMutant is a bug on purpose. The zero simMutant is none.
type simMutant struct {
	bug       func() simBug // of a standby's stream
	linger    time.Duration // a master gives messages to clients for so long after its lease
	confident bool          // a CAS that is not answered was done
	hasty     bool          // a receipt is given for what is durable on the master alone
	unread    bool          // a node goes by a log that it has not read
	fault     func(*sim)    // that shows it, and would be rare; nil: none
}

func (x *simMutant) stream() simBug {
	if x.bug == nil {
		return simBug{}
	}
	return x.bug()
}

// simMutants are the bugs that the simulation must find, and by which names.
var simMutants = map[string]struct {
	mutant simMutant
	found  []string
}{
	"FLUSHED before the sync":                   {simMutant{bug: flushedEarly}, []string{"S2", "R1", "S3"}},
	"a tail is cut and not kept":                {simMutant{bug: keptNot}, []string{"S7"}},
	"a snapshot is whole too early":             {simMutant{bug: wholeEarly}, []string{"S2", "S3", "S9", "S4"}},
	"messages are given beyond the lease":       {simMutant{linger: 2 * time.Second}, []string{"S10"}},
	"a CAS without an answer is taken for done": {simMutant{confident: true}, []string{"S12", "S1", "S2", "L1/L2"}},
	"a receipt for what the master alone has":   {simMutant{hasty: true}, []string{"S2", "S3"}},
	"a node goes by a log that it has not read": {simMutant{unread: true, fault: darkAndDamaged}, []string{"R4"}},
}

// mutantSeeds is within how many seeds each must be found.
const mutantSeeds = 100

func TestSimulationFindsMutants(t *testing.T) {
	t.Parallel()
	for name, m := range simMutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= mutantSeeds; seed++ {
				r := simulate(t, seed, &m.mutant, false)
				if r.broken == "" {
					continue
				}
				t.Logf("seed %d: %.200s", seed, r.broken)
				for _, found := range m.found {
					if strings.HasPrefix(r.broken, found+":") {
						return
					}
				}
				t.Fatalf("seed %d: %s, want one of %v", seed, r.broken, m.found)
			}
			t.Errorf("not found by %d seeds", mutantSeeds)
		})
	}
}

// darkAndDamaged has both hosts of a pair crash, and a bit flip on the disk of the standby.
func darkAndDamaged(s *sim) {
	r := s.register
	n := s.nodes[0]
	if r.head().Record.Master == n.name {
		n = s.nodes[1]
	}
	if !r.settledOn(n) || !r.settledOn(n.other()) || n.damaged || n.other().damaged {
		return
	}
	s.bothLosePower()
	if !n.up && !n.other().up {
		s.flip(n, true)
	}
}

// flushedEarly answers with what is in the journal, synced or not.
func flushedEarly() simBug {
	told := uint64(0)
	return simBug{onNext: func(r *simReceiver) []byte {
		end := r.log.End()
		if r.stream == 0 || end.Seq <= told {
			return nil
		}
		told = end.Seq
		s := Signal{Kind: Flushed, Epoch: r.stream, Seq: end.Seq, Chain: end.Chain}
		return s.appendTo(nil, r.seeds.out)
	}}
}

// keptNot removes what was moved aside.
func keptNot() simBug {
	return simBug{onCut: func(r *simReceiver) {
		for _, name := range r.aside() {
			if isSegment(path.Base(name)) {
				r.l.t.n.disk.removeNow(name)
			}
		}
	}}
}

// wholeEarly leaves out the records of a snapshot that came last.
func wholeEarly() simBug {
	return simBug{onFrame: func(r *simReceiver, b []byte) ([]byte, error) {
		f, err := parseFrame(b, r.seeds.in)
		switch {
		case err != nil:
			return b, err
		case f.kind == kindSnapshot:
			return nil, nil
		case f.kind == kindSnapshotEnd:
			binary.LittleEndian.PutUint64(f.payload[8:], 0)
			seal(b, kindSnapshotEnd, 0, f.epoch, r.seeds.in)
		}
		return b, nil
	}}
}
