package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

const (
	mendName         = "repair.tmp" // what takes the place of damaged segments, in the making
	reportName       = "report.txt" // in the quarantine
	freshSegmentSize = 64 << 10     // of the segment that begins where the end of the log was lost
)

// ErrBeyondRepair is wrapped by Repair when the directory is not that of one journal, or nothing is left of it.
var ErrBeyondRepair = errors.New("cannot be repaired")

// Repairs is what Repair has done, or would do.
type Repairs struct {
	Damage    []*CorruptError // empty: the journal is sound, and nothing was done
	Places    []RepairedPlace
	Aside     []string // files that go into the quarantine
	TornBytes int64    // of a sound journal: what a crash left, and the next Open cuts
}

// RepairedPlace is a place in the log where segments were damaged or missing.
type RepairedPlace struct {
	First, Last uint64     // Seqs of the place
	Saved       int        // records that are kept
	Lost        []SeqRange // not there any more
	Cleaned     bool       // some of Lost may have been cleaned away before
	End         bool       // of the log: how much was lost after Last nobody can tell
	Trimmed     bool       // nobody needs it
}

// SeqRange is the Seqs from First to Last.
type SeqRange struct{ First, Last uint64 }

// Repair makes a damaged journal one that Open opens, with every record that is legible. Nothing is deleted: the damaged
// files are moved into the directory quarantine, which is made and must be empty, with a report. With quarantine empty it
// only tells what it would do, and changes nothing. The checkpoint goes aside too, for it may know of what was lost.
//
// In place of damaged and missing segments there is afterwards one of which some records were cleaned away. It may be
// called again after a crash. It needs the lock; errors wrap ErrLocked, ErrNewer, ErrBeyondRepair or those of the file
// system. fsys nil means OS; progress may be nil.
func Repair(fsys FS, dir, quarantine string, progress func(done, total int64)) (Repairs, error) {
	fsys = steadily(fsys, nil)
	r, err := repair(&survey{fs: fsys, dir: dir, deep: true, progress: progress}, quarantine)
	if err != nil {
		err = fmt.Errorf("repair journal %s: %w", dir, err)
	}
	return r, err
}

func repair(v *survey, quarantine string) (Repairs, error) {
	if _, err := v.fs.ReadDir(v.dir); err != nil {
		return Repairs{}, err
	}
	lock, err := v.fs.Lock(v.path(lockName))
	if err != nil {
		return Repairs{}, err
	}
	defer func() { _ = lock.Close() }() // nothing depends on it
	if quarantine != "" {
		if err := finishCut(v.fs, v.dir); err != nil {
			return Repairs{}, err
		}
	}
	if v, err = look(v); err != nil {
		return Repairs{}, err
	}
	defer v.close()
	r := Repairs{Damage: v.damage}
	if len(v.damage) == 0 {
		r.TornBytes = v.report().TornBytes
		return r, nil
	}
	m, err := v.plan()
	if err != nil {
		return r, err
	}
	r.Aside = m.aside
	for _, b := range m.breaches {
		r.Places = append(r.Places, RepairedPlace{
			First: b.begin.Seq + 1, Last: b.known, Saved: len(b.kept), Lost: b.lost(),
			Cleaned: b.cleaned(), End: b.after == nil, Trimmed: b.trimmed,
		})
	}
	if quarantine == "" {
		return r, nil
	}
	return r, m.carryOut(quarantine, r.String())
}

// mending is what is to be done with a damaged journal.
type mending struct {
	*survey
	floor    uint64
	aside    []string // names of files that are to be moved
	breaches []*breach
}

// plan changes nothing.
func (v *survey) plan() (*mending, error) {
	if err := v.repairable(); err != nil {
		return nil, err
	}
	all, aside, err := v.sources()
	if err != nil {
		return nil, err
	}
	known, err := v.checkpoint()
	if err != nil {
		return nil, err
	}
	m := &mending{survey: v, aside: aside}
	condemn(all)
	for _, s := range all {
		if s.damaged {
			if err := s.read(v); err != nil {
				return nil, err
			}
		}
		m.floor = max(m.floor, s.floorNow)
	}
	if m.breaches, err = breaches(v, all, m.floor, min(known.Upto, math.MaxInt64)); err != nil {
		return nil, err
	}
	for _, b := range m.breaches {
		b.choose()
		for _, s := range b.sources {
			m.aside = append(m.aside, s.entry)
		}
	}
	m.aside = append(m.aside, m.covered()...)
	return m, m.asideToo()
}

// repairable tells why a journal is beyond repair.
func (v *survey) repairable() error {
	reason := ""
	switch nameless := v.blames(identityName); {
	case v.id == [16]byte{}:
		reason = "neither " + identityName + " nor the header of any segment says which journal this is; restore one from a copy"
	case v.foreign && nameless:
		reason = "the segments belong to different journals, and " + identityName + " cannot be read, which would tell whose directory this is; restore it from a copy"
	case v.foreign && len(v.found) == 0:
		reason = "all segments belong to another journal than " + identityName + " says; restore the ones or the other from a copy"
	case len(v.damage) == 1 && nameless && len(v.found) == 0:
		reason = "no segment is left; restore them from a copy, or move the directory away to begin a new journal"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrBeyondRepair, reason)
}

// covered returns the leftovers of merges whose numbers are those of a breach. The next Open would remove them.
func (m *mending) covered() (names []string) {
	for _, name := range m.leftovers {
		id, _, _ := parseSegmentName(name)
		if !slices.Contains(m.aside, name) && slices.ContainsFunc(m.breaches, func(b *breach) bool {
			return !b.trimmed && b.id <= id && id <= b.lastID
		}) {
			names = append(names, name)
		}
	}
	return names
}

// asideToo moves what else cannot stay: the checkpoint and an identity that cannot be read. Open writes it again.
func (m *mending) asideToo() error {
	names, err := m.fs.ReadDir(m.dir)
	if err != nil {
		return err
	}
	if slices.Contains(names, checkpointName) {
		m.aside = append([]string{checkpointName}, m.aside...)
	}
	if m.blames(identityName) {
		m.aside = append(m.aside, identityName)
	}
	return nil
}

// carryOut does it. Everything is copied before anything changes, and nothing goes before what takes its place is there:
// so after a crash it can be begun again.
func (m *mending) carryOut(quarantine, report string) error {
	if err := m.fs.SyncDir(m.dir); err != nil { // an earlier repair may have been killed before it could
		return err
	}
	if err := m.fillQuarantine(quarantine, report); err != nil {
		return fmt.Errorf("fill the quarantine %s: %w", quarantine, err)
	}
	if slices.Contains(m.aside, checkpointName) {
		if err := m.remove(checkpointName); err != nil {
			return err
		}
	}
	placed := map[string]bool{}
	for _, b := range m.breaches {
		if b.trimmed {
			continue
		}
		if err := m.fill(b, placed); err != nil {
			_ = m.fs.Remove(m.path(mendName)) // or the next Open does
			return err
		}
	}
	for _, name := range m.aside {
		if name != checkpointName && !placed[name] {
			if err := m.remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes a file out of the journal that is in the quarantine.
func (m *mending) remove(name string) error {
	if err := m.fs.Remove(m.path(name)); err != nil {
		return err
	}
	return m.fs.SyncDir(m.dir)
}

func (m *mending) fillQuarantine(quarantine, report string) error {
	if err := m.fs.MkdirAll(quarantine); err != nil {
		return err
	}
	if names, err := m.fs.ReadDir(quarantine); err != nil || len(names) > 0 {
		return firstError(err, errors.New("it is not empty"))
	}
	for _, name := range m.aside {
		if err := m.copyAside(name, filepath.Join(quarantine, name)); err != nil {
			return err
		}
	}
	err := makeFile(m.fs, filepath.Join(quarantine, reportName), func(file File) error { return writeAt(file, []byte(report), 0) })
	return firstError(err, m.fs.SyncDir(quarantine))
}

func (m *mending) copyAside(name, to string) error {
	from, err := m.fs.Open(m.path(name), false)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // it was only read
	size, err := from.Size()
	if err != nil {
		return err
	}
	return makeFile(m.fs, to, func(file File) error { return copyRange(file, 0, from, 0, size) })
}

// fill puts a segment with what was kept in the place of a breach, and a new one after it at the end of the log. placed
// gets their names.
func (m *mending) fill(b *breach, placed map[string]bool) error {
	next := nextAfter(segmentHeader{journalID: m.id, lastID: b.lastID}, b.end, m.floor)
	if b.after != nil {
		next = b.after.segmentHeader
	}
	first := segmentHeader{
		journalID: m.id, id: b.id, firstSeq: b.begin.Seq + 1, floor: next.floor, epoch: b.begin.Epoch, chain: b.begin.Chain,
	}
	err := makeFile(m.fs, m.path(mendName), func(file File) error { return m.writeKept(file, b, first, next) })
	err = m.place(first.name(), err)
	placed[first.name()] = true
	if err != nil || b.after != nil {
		return err
	}
	placed[next.name()] = true
	return m.place(next.name(), makeBlank(m.fs, m.path(mendName), next))
}

// place gives the file that was made aside its name, durably, if there was no error.
func (m *mending) place(name string, err error) error {
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := m.fs.Rename(m.path(mendName), m.path(name)); err != nil {
		return err
	}
	return m.fs.SyncDir(m.dir)
}

func (m *mending) writeKept(to File, b *breach, first, next segmentHeader) error {
	w := newSparseWriter(to, first, b.lastID, randomSalt())
	defer func() {
		for _, s := range b.sources {
			s.close()
		}
	}()
	var payload []byte
	for _, l := range b.kept {
		if err := l.from.reopen(m.survey); err != nil {
			return err
		}
		payload = slices.Grow(payload[:0], int(l.size))[:l.size]
		if err := readAt(l.from.file, l.from.entry, payload, l.offset+recordHeaderBytes); err != nil {
			return err
		}
		if err := w.add(l.recordHeader, payload); err != nil {
			return err
		}
	}
	_, err := w.finish(next)
	return err
}

// reopen opens the file of s unless it is open.
func (s *source) reopen(v *survey) (err error) {
	if s.file == nil {
		s.file, err = v.fs.Open(v.path(s.entry), false)
	}
	return err
}

func randomSalt() uint64 {
	var b [8]byte
	_, _ = io.ReadFull(rand.Reader, b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// String is the report, for people: a line for each thing.
func (r Repairs) String() string {
	var b strings.Builder
	for _, d := range r.Damage {
		fmt.Fprintf(&b, "damage: %s at offset %d: %s\n", d.File, d.Offset, d.Reason)
	}
	for _, p := range r.Places {
		p.describe(&b)
	}
	for _, name := range r.Aside {
		fmt.Fprintf(&b, "aside: %s\n", name)
	}
	return b.String()
}

func (p *RepairedPlace) describe(b *strings.Builder) {
	if p.Trimmed {
		fmt.Fprintf(b, "seq up to %d: not needed any more\n", p.Last)
		return
	}
	var lost []string
	for _, l := range p.Lost {
		lost = append(lost, l.String())
	}
	if p.End {
		lost = append(lost, fmt.Sprintf("whatever came after %d", p.Last))
	}
	if len(lost) == 0 {
		lost = []string{"nothing"}
	}
	place := SeqRange{p.First, max(p.First, p.Last)}
	fmt.Fprintf(b, "seq %s: %d records saved, lost: %s", place, p.Saved, strings.Join(lost, ", "))
	if p.Cleaned && len(p.Lost) > 0 {
		b.WriteString(" (some of these may have been cleaned away before)")
	}
	b.WriteString("\n")
}

func (r SeqRange) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d to %d", r.First, r.Last)
}
