package destinations

import "slices"

// A disk keeps the entries of a program as a journal does. It drops what a
// picture says is not needed, now here and now there, trims, and has a
// checkpoint: with one, it drops nothing newer than that, for a start from it
// must see what was settled since.
type disk struct {
	p       *program
	entries []Entry
	there   map[uint64]bool // the Seqs of entries
	picture *Live           // newest that it was given

	taking *Checkpoint
	taken  []Part
	done   bool

	from       uint64
	checkpoint [][]byte // nil: none
}

func newDisk(p *program) *disk { return &disk{p: p, there: map[uint64]bool{}} }

func (d *disk) append(batch []Entry) {
	for _, e := range batch {
		d.entries = append(d.entries, readBack(e))
		d.there[e.Seq] = true
	}
}

// change does, or does not, what a journal and its broker do in the background.
func (d *disk) change() {
	switch d.p.pick("background", 16) {
	case 0, 1:
		d.picture = d.p.m.Live()
	case 2, 3:
		if n := len(d.entries); d.picture != nil && n > 0 {
			first := d.p.pick("first", 64) * n / 64
			d.clean(first, first+1+d.p.pick("run", 64)*(n-first-1)/63)
		}
	case 4:
		d.drop(0, len(d.entries), d.needless)
	case 5, 6:
		if d.taking == nil {
			d.taking, d.taken, d.done = d.p.m.BeginCheckpoint(), nil, false
		}
	default:
		d.take(1 + d.p.pick("limit", 3))
	}
}

// take goes on with a checkpoint. It is written a while after it was captured.
func (d *disk) take(limit int) {
	switch {
	case d.taking == nil:
	case d.done:
		d.write()
	default:
		var parts []Part
		parts, d.done = d.taking.Next(limit)
		d.taken = append(d.taken, parts...)
	}
}

func (d *disk) write() {
	d.from, d.checkpoint = d.taking.From(), nil
	for _, part := range d.taken {
		d.checkpoint = append(d.checkpoint, part.AppendTo(nil))
	}
	d.taking = nil
}

// clean rewrites a run of entries, in one go: it sees what it drops itself.
func (d *disk) clean(first, last int) {
	d.drop(first, last, func(e Entry) bool {
		if e.Seq > d.picture.AsOf() {
			return false
		}
		keep, err := d.picture.Keep(e, func(seq uint64) bool { return !d.there[seq] })
		if err != nil {
			d.p.t.Fatalf("keep: %v", err)
		}
		return !keep
	})
}

func (d *disk) drop(first, last int, fn func(e Entry) bool) {
	kept := slices.Clone(d.entries[:first])
	for _, e := range d.entries[first:last] {
		if d.mayGo(e.Seq) && fn(e) {
			delete(d.there, e.Seq)
		} else {
			kept = append(kept, e)
		}
	}
	d.entries = append(kept, d.entries[last:]...)
}

func (d *disk) mayGo(seq uint64) bool {
	return (d.checkpoint == nil || seq <= d.from) && (d.taking == nil || seq <= d.taking.From())
}

// successor is who goes on after a failure: the standby, or a machine from the
// disk, by its log or by its checkpoint.
func (d *disk) successor(which int, standby *Machine) *Machine {
	switch which {
	case 0:
		return standby
	case 1:
		return d.replay()
	default:
		return d.restore()
	}
}

func (d *disk) replay() *Machine { return d.goOn(New(d.p.opts), d.entries) }

// needless says that a trim takes e. It takes the newest start too, but that is
// in the descriptions that are compared, and made again at the next start.
func (d *disk) needless(e Entry) bool {
	return e.Seq < d.p.m.Oldest() && (e.Kind != KindStart || e.Seq < d.p.m.start)
}

// replayNeeded is a recovery from a disk that was trimmed as far as may be.
func (d *disk) replayNeeded() *Machine {
	return d.goOn(New(d.p.opts), slices.DeleteFunc(slices.Clone(d.entries), d.needless))
}

func (d *disk) restore() *Machine {
	if d.checkpoint == nil {
		return d.replay()
	}
	m := New(d.p.opts)
	for _, part := range d.checkpoint {
		if err := m.Restore(part); err != nil {
			d.p.t.Fatalf("restore: %v", err)
		}
	}
	from := slices.IndexFunc(d.entries, func(e Entry) bool { return e.Seq > d.from })
	if from < 0 {
		from = len(d.entries)
	}
	return d.goOn(m, d.entries[from:])
}

func (d *disk) goOn(m *Machine, entries []Entry) *Machine {
	for _, e := range entries {
		if err := m.Replay(e); err != nil {
			d.p.t.Fatalf("replay entry %d: %v", e.Seq, err)
		}
	}
	resume(d.p.t, m, d.p.m.Last())
	return m
}

// empty checks that when nothing is stored, nothing is kept.
func (d *disk) empty() {
	d.taking = d.p.m.BeginCheckpoint()
	for d.done = false; !d.done; {
		d.take(1)
	}
	d.write()
	d.picture = d.p.m.Live()
	d.clean(0, len(d.entries))
	if len(d.entries) != 1 || d.entries[0].Kind != KindStart || d.entries[0].Seq != d.p.m.start {
		d.p.t.Fatalf("nothing is stored, and kept are %v", d.entries)
	}
}
