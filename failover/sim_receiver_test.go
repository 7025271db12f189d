package failover

import (
	"bytes"
	"slices"
	"strings"

	"baton/journal"
)

// A simReceiver is a Receiver with somebody who watches what it cuts, and perhaps a bug.
type simReceiver struct {
	*Receiver
	l       *simLink
	planned bool
	bug     simBug
}

func newSimReceiver(l *simLink, r *Receiver) *simReceiver {
	return &simReceiver{Receiver: r, l: l, bug: l.t.n.s.mutant.stream()}
}

// ready says whether what has come can be taken: a cut waits until all is durable, and that is for the simulation to see to.
func (l *simLink) ready() bool {
	r, standby := l.stream.(*simReceiver)
	log := l.t.log
	if !standby || r.planned || log.Durable() == log.Last() {
		return true
	}
	first := slices.Concat(l.inbox...)
	if size, err := sizeOfFrame(first); err == nil && len(first) >= size && !bytes.Contains(first[:size], []byte(`"cut":true`)) {
		return true
	}
	log.j().Sync()
	return false
}

func sizeOfFrame(b []byte) (int, error) {
	if len(b) < frameHeaderBytes {
		return frameHeaderBytes, nil
	}
	return frameSize(b)
}

func (r *simReceiver) Accept(b []byte) error {
	b, err := r.bug.frame(r, b)
	if err != nil || b == nil {
		return err
	}
	f, err := parseFrame(b, r.seeds.in)
	switch {
	case err != nil:
		return err
	case f.kind == kindAppend:
		return r.append(f)
	case f.kind != kindPlan:
		return r.Receiver.Accept(b)
	}
	r.planned = true
	plan, err := parsePlan(f.payload)
	if err != nil || !plan.Cut || f.epoch < r.log.promised.Load() {
		return r.Receiver.Accept(b)
	}
	tail := r.tail(plan.From.Seq)
	err = r.Receiver.Accept(b)
	if err == nil {
		r.bug.cut(r)
		r.l.t.n.s.checker.cut(r.l.t, tail)
	}
	return err
}

// append is Accept, but for the commit: what that has the journal do comes when the writer of the journal has come to rest.
func (r *simReceiver) append(f frame) error {
	commit, err := r.take(f)
	if err == nil {
		r.l.t.later(func() { r.advance(commit) })
	}
	return err
}

func (r *simReceiver) Next() ([]byte, error) {
	if b := r.bug.next(r); b != nil {
		return b, nil
	}
	return r.Receiver.Next()
}

// tail is what the log has after a Seq.
func (r *simReceiver) tail(after uint64) (recs []journal.Record) {
	_ = r.log.Read(after+1, func(rec journal.Record) error {
		rec.Body = slices.Clone(rec.Body)
		recs = append(recs, rec)
		return nil
	})
	return recs
}

// aside are the files that were moved aside.
func (r *simReceiver) aside() (names []string) { return asideOn(r.l.t.n) }

func asideOn(n *simNode) (names []string) {
	for _, name := range n.disk.fs.Names() {
		if strings.Contains(name, divergentPrefix) || strings.Contains(name, surplusPrefix) {
			names = append(names, name)
		}
	}
	return names
}

// A simBug is a bug of a stream: all of it may be nothing.
type simBug struct {
	onFrame func(r *simReceiver, b []byte) ([]byte, error)
	onCut   func(r *simReceiver)
	onNext  func(r *simReceiver) []byte
}

func (x *simBug) frame(r *simReceiver, b []byte) ([]byte, error) {
	if x.onFrame == nil {
		return b, nil
	}
	return x.onFrame(r, b)
}

func (x *simBug) cut(r *simReceiver) {
	if x.onCut != nil {
		x.onCut(r)
	}
}

func (x *simBug) next(r *simReceiver) []byte {
	if x.onNext == nil {
		return nil
	}
	return x.onNext(r)
}
