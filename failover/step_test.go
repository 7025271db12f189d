package failover

import "testing"

func TestHotEventsTakeNoMemory(t *testing.T) {
	w := settledPair(t, &mutantBounds, &mutant{})
	s, out := &w.nodes[0].s, make([]Action, 0, 16)
	seq := s.end
	commits := 0
	allocs := testing.AllocsPerRun(100, func() {
		seq++
		s.Step(2, Event{Kind: OnAppended, Seq: seq, Epoch: s.epoch}, out[:0])
		s.Step(2, Event{Kind: OnDurable, Seq: seq}, out[:0])
		for _, a := range s.Step(2, Event{Kind: OnSignal, Link: s.peer.link, Signal: Signal{Kind: Flushed, Epoch: s.epoch, Seq: seq}}, out[:0]) {
			if a.Kind == DoCommit && a.Seq == seq {
				commits++
			}
		}
	})
	if allocs != 0 || commits != 101 {
		t.Errorf("%v allocations a record, %d commits of 101", allocs, commits)
	}
}
