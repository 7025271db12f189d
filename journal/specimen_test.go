package journal_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

var (
	specimenBytes = flag.Int("specimen", 64<<10, "bytes of the journal that the tests of damage damage")
	verifyEvery   = flag.Int("verifyevery", 17, "one in so many flipped bits is shown to Verify too, not only to Open and Read")
	share         = flag.Int("share", 1, "which of the -shares of all flipped bits")
	shares        = flag.Int("shares", 1, "into how many runs all flipped bits are divided")
)

// specimen is a journal on a disk with all that there is: sealed segments, plain and sparse, a checkpoint, and one segment
// in use, in a recycled file, whose last batch no mark promises.
type specimen struct {
	*story
	disk           *memfs.FS
	earlier        *memfs.FS // some batches before
	promised, last uint64
}

func newSpecimen(t *testing.T, size, lastBatch int) *specimen {
	t.Helper()
	live := memfs.New()
	p := &specimen{story: newStory(1)}
	opt := p.options(live)
	opt.SegmentBytes = int64(size / 8)
	j := open(t, opt)
	for i := 0; diskBytes(live) < int64(size); i++ {
		put(t, j, p.watch, 1+i%4)
		j.Quiesce()
		if i%40 == 39 {
			p.clean(j)
			j.Cleaned()
			p.checkpoint(j)
		}
	}
	mustClose(t, j)
	stale := live.Content(segmentNames(live)[len(segmentNames(live))-2])
	live.Put(dir+"/spare", append(stale, make([]byte, opt.SegmentBytes-int64(len(stale)))...))
	j = open(t, opt)
	active := roll(t, j, p.watch, live)
	p.checkpoint(j)
	p.earlier = live.CrashClone(memfs.All)
	put(t, j, p.watch, 3)
	p.promised = j.Last()
	put(t, j, p.watch, lastBatch)
	p.disk, p.last = live.CrashClone(memfs.All), j.Last()
	p.ends = []uint64{p.last}
	whole := recycled(p.disk, active) && active == segmentNames(p.disk)[len(segmentNames(p.disk))-1]
	if _, _, _, ok := j.Checkpoint(); !whole || j.Stats().Sparse == 0 || ok || p.written == (point{}) {
		t.Fatalf("the specimen lacks something: %+v, checkpoint %v", j.Stats(), p.written)
	}
	return p
}

// files are those whose damage matters.
func (p *specimen) files() []string {
	return append(segmentNames(p.disk), filepath.Join(dir, "journal.id"), filepath.Join(dir, "checkpoint"))
}

// harmless checks a damaged specimen: Verify and Open or Read find it, or served has nothing to say.
func (p *specimen) harmless(disk *memfs.FS) error {
	report, err := journal.Verify(disk, dir, nil)
	if err != nil && !errors.Is(err, journal.ErrNewer) {
		return err
	}
	unfound := err == nil && len(report.Damage) == 0
	var damage *journal.CorruptError
	if err = p.served(disk); errors.As(err, &damage) && !unfound || errors.Is(err, journal.ErrNewer) {
		return nil
	}
	if err != nil && unfound {
		err = fmt.Errorf("sound for Verify, but: %v", err) // no damage that was found
	}
	return err
}

// served opens and reads a damaged specimen: all that is promised must be there, nothing altered, and no checkpoint used
// that was not written so. Damage that is found is an error, too.
func (p *specimen) served(disk *memfs.FS) error {
	j, err := journal.Open(newWatch().options(disk))
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	if j.Last() < p.promised || j.Last() > p.last {
		return fmt.Errorf("%d records, %d are promised, %d were written", j.Last(), p.promised, p.last)
	}
	if from, upto, parts, ok := j.Checkpoint(); ok && (!p.begun[point{from, upto}] || string(parts[0]) != fmt.Sprint(point{from, upto})) {
		return fmt.Errorf("the checkpoint %d, %d says %q", from, upto, parts)
	}
	return tally(p.tallied).check(j)
}

// with returns the specimen's disk with another content of one file.
func (p *specimen) with(name string, content []byte) *memfs.FS {
	disk := p.disk.CrashClone(memfs.All) // cheap, and it keeps Open's repairs apart
	disk.Put(name, content)
	return disk
}

// spread calls fn for 0 to n-1, every stride-th, on all processors; it stops at the first failure.
func spread(t *testing.T, n int, fn func(i int)) {
	var workers sync.WaitGroup
	for first := range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := first * stride; i < n && !t.Failed(); i += runtime.GOMAXPROCS(0) * stride {
				fn(i)
			}
		})
	}
	workers.Wait()
}

func TestSpecimenIsSound(t *testing.T) {
	t.Parallel()
	p := newSpecimen(t, *specimenBytes, 2)
	report, err := journal.Verify(p.disk, dir, nil)
	if err != nil || len(report.Damage) > 0 || report.Bytes < int64(*specimenBytes)*3/4 {
		t.Errorf("%+v, %v", report, err)
	}
	if err := errors.Join(p.harmless(p.disk.CrashClone(memfs.All)), p.survives(p.disk)); err != nil {
		t.Error(err)
	}
}

func TestEveryFlippedBitIsFoundOrHarmless(t *testing.T) {
	t.Parallel()
	p := newSpecimen(t, *specimenBytes, 2)
	flipped := 0
	for _, name := range p.files() {
		content := p.disk.Content(name)
		bits := (8*len(content) + *shares - *share) / *shares
		spread(t, bits, func(i int) {
			bit := i**shares + *share - 1
			b := bytes.Clone(content)
			b[bit/8] ^= 1 << (bit % 8)
			judge := p.served
			if bit%*verifyEvery == 0 {
				judge = p.harmless
			}
			err := judge(p.with(name, b))
			var damage *journal.CorruptError
			if err != nil && !errors.As(err, &damage) && !errors.Is(err, journal.ErrNewer) {
				t.Errorf("bit %d of byte %d of %s: %v", bit%8, bit/8, name, err)
			}
		})
		flipped += bits / stride
		t.Logf("%s: share %d of %d, %d bits of %d; %d in all", filepath.Base(name), *share, *shares, bits/stride, 8*len(content), flipped)
	}
}

func TestEveryTruncationIsFound(t *testing.T) {
	t.Parallel()
	p := newSpecimen(t, *specimenBytes, 2)
	for _, name := range segmentNames(p.disk) {
		content := p.disk.Content(name)
		spread(t, len(content), func(size int) {
			disk := p.with(name, content[:size])
			report, err := journal.Verify(disk, dir, nil)
			if err != nil || len(report.Damage) == 0 {
				t.Errorf("%s cut to %d of %d bytes: %+v, %v", name, size, len(content), report, err)
			}
			wantCorrupt(t, disk, fmt.Sprintf("%s cut to %d of %d bytes", name, size, len(content)))
		})
	}
}

func wantCorrupt(t *testing.T, disk *memfs.FS, title string) {
	t.Helper()
	j, err := journal.Open(newWatch().options(disk))
	if err == nil {
		_ = j.Close()
	}
	var damage *journal.CorruptError
	if !errors.As(err, &damage) {
		t.Errorf("%s: open: %v", title, err)
	}
}

// TestDamagedSectors does what drives do to whole sectors: lose, swap, repeat or forget to write them.
func TestDamagedSectors(t *testing.T) {
	t.Parallel()
	// The last batch is larger than two sectors: none holds all that is promised last, and all marks that tell.
	p := newSpecimen(t, 3**specimenBytes, 40)
	for _, size := range []int{512, 4096} {
		for _, name := range p.files() {
			content, earlier := p.disk.Content(name), p.earlier.Content(name)
			for at := 0; at < len(content); at += size * faultStride {
				for title, damage := range map[string]func(b, sector []byte){
					"zeroed": func(_, sector []byte) { clear(sector) },
					"swapped with the next": func(b, sector []byte) {
						next := b[at+len(sector):][:min(len(sector), len(b)-at-len(sector))]
						old := bytes.Clone(sector)
						copy(sector, next)
						copy(next, old)
					},
					"written over the next":    func(b, sector []byte) { copy(b[at+len(sector):], sector) },
					"that of the file's begin": func(b, sector []byte) { copy(sector, bytes.Clone(b)) },
					"stale":                    func(_, sector []byte) { copy(sector, earlier[min(at, len(earlier)):]) },
				} {
					b := bytes.Clone(content)
					damage(b, b[at:min(at+size, len(b))])
					if err := p.harmless(p.with(name, b)); err != nil {
						t.Errorf("sector of %d bytes at %d of %s %s: %v", size, at, name, title, err)
					}
				}
			}
		}
	}
}

func TestMissingAndMixedUpSegmentsOfTheSpecimenAreFound(t *testing.T) {
	t.Parallel()
	p := newSpecimen(t, *specimenBytes, 2)
	names := segmentNames(p.disk)
	for i, name := range names {
		wantCorrupt(t, copyDisk(p.disk, func(files map[string][]byte) { delete(files, name) }), "without "+name)
		for _, other := range names[i+1:] {
			wantCorrupt(t, copyDisk(p.disk, func(files map[string][]byte) {
				files[name], files[other] = files[other], files[name]
			}), name+" and "+other+" swapped")
			wantCorrupt(t, copyDisk(p.disk, func(files map[string][]byte) {
				files[name] = files[other]
				delete(files, other)
			}), other+" renamed to "+name)
		}
	}
	wantCorrupt(t, copyDisk(p.disk, func(files map[string][]byte) {
		for _, name := range names {
			delete(files, name)
		}
	}), "without all")
}
