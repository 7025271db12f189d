package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// inspected returns the Seqs that an inspection gives, whose records must be unaltered.
func inspected(in *journal.Inspection) (seqs []uint64, err error) {
	for i, f := range in.Files {
		err := in.Read(i, func(r journal.Record) error {
			if r.Seq < f.First || r.Seq > f.Last {
				return fmt.Errorf("record %d is in %+v", r.Seq, f)
			}
			seqs = append(seqs, r.Seq)
			return same(r)
		})
		if err != nil {
			return nil, err
		}
	}
	return seqs, nil
}

func readAll(t *testing.T, j *journal.Journal) (seqs []uint64) {
	t.Helper()
	err := j.Read(0, func(r journal.Record) error {
		seqs = append(seqs, r.Seq)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seqs
}

// TestInspectOfAJournalInUse replaces files while somebody looks, before each call: what is seen was there at one moment.
func TestInspectOfAJournalInUse(t *testing.T) {
	t.Parallel()
	for when, calls := int64(1), int64(1); when <= calls; when++ {
		disk, w := filled(t, 400), newWatch()
		j := open(t, w.options(disk))
		if err := j.WriteCheckpoint(300, 400, func(yield func([]byte) error) error { return yield([]byte("part")) }); err != nil {
			t.Fatal(err)
		}
		j.Quiesce()
		moments := [][]uint64{readAll(t, j)}
		var n atomic.Int64
		disk.OnCall(func(memfs.Call) error {
			if n.Add(1) != when {
				return nil
			}
			for _, segment := range []int{1, 3} {
				if err := j.Thin(segment, 1, func(seq uint64) bool { return seq%3 == 0 }); err != nil {
					t.Error(err)
				}
				moments = append(moments, readAll(t, j))
			}
			return nil
		})
		in, err := journal.Inspect(disk, dir)
		disk.OnCall(nil)
		calls = n.Load()
		if err != nil {
			t.Fatalf("call %d: %v", when, err)
		}
		seqs, err := inspected(in)
		if err != nil || !slices.ContainsFunc(moments, func(m []uint64) bool { return slices.Equal(m, seqs) }) {
			t.Fatalf("call %d: it gives %v, %v; there were %v", when, seqs, err, moments)
		}
		if !errors.Is(in.Locked, journal.ErrLocked) || in.Checkpoint.From != 300 || in.Checkpoint.Upto != 400 || in.Checkpoint.Err != nil {
			t.Errorf("call %d: %+v", when, in)
		}
		in.Close()
		mustClose(t, j)
	}
}

// TestVerifyAndDumpOfAJournalInUse changes the journal while somebody looks, before each call: segments are cleaned, trimmed
// and merged, and the log grows into new ones. It is sound all the time.
func TestVerifyAndDumpOfAJournalInUse(t *testing.T) {
	t.Parallel()
	looks := map[string]func(fsys journal.FS) error{
		"verify": func(fsys journal.FS) error {
			r, err := journal.Verify(fsys, dir, nil)
			for _, d := range r.Damage {
				err = errors.Join(err, d)
			}
			return err
		},
		"dump": func(fsys journal.FS) error {
			var out strings.Builder
			err := journal.Dump(fsys, dir, &out, nil)
			for line := range strings.Lines(out.String()) {
				if strings.HasPrefix(line, "damage") {
					err = errors.Join(err, errors.New(line))
				}
			}
			return err
		},
	}
	for name, look := range looks {
		for _, segment := range []int64{16 << 10, 256 << 10} {
			t.Run(fmt.Sprint(name, segment), func(t *testing.T) {
				t.Parallel()
				lookInUse(t, segment, look)
			})
		}
	}
}

func lookInUse(t *testing.T, segmentBytes int64, look func(journal.FS) error) {
	for when, calls := int64(1), int64(1); when <= calls; when++ {
		disk, w := memfs.New(), newWatch()
		opt := w.options(disk)
		opt.SegmentBytes = segmentBytes
		j := open(t, opt)
		for j.Stats().Segments < 5 {
			put(t, j, w, 20)
		}
		put(t, j, w, 20)
		j.Quiesce()
		var n atomic.Int64
		disk.OnCall(func(memfs.Call) error {
			if n.Add(1) != when {
				return nil
			}
			if err := j.Thin(1, 2, func(seq uint64) bool { return seq%3 == 0 }); err != nil {
				t.Error(err)
			}
			j.Trim(j.First() + 1)
			for segments := j.Stats().Segments; j.Stats().Segments <= segments; {
				put(t, j, w, 20)
			}
			return nil
		})
		err := look(disk)
		disk.OnCall(nil)
		calls = n.Load()
		if err != nil {
			t.Fatalf("call %d: %v", when, err)
		}
		mustClose(t, j)
	}
}

// TestVerifyTellsOfDamageBesideAWriter: what is damaged for certain is not looked at again and again.
func TestVerifyTellsOfDamageBesideAWriter(t *testing.T) {
	t.Parallel()
	for place := range 3 {
		disk, w := filled(t, 400), newWatch()
		j := open(t, w.options(disk))
		names := segmentNames(disk)
		name := names[max(0, len(names)-1-place)]
		b := disk.Content(name)
		b[5000] ^= 1
		disk.Put(name, b)
		r, err := journal.Verify(disk, dir, nil)
		if err != nil || len(r.Damage) == 0 || r.Damage[0].File != filepath.Base(name) || !errors.Is(r.Locked, journal.ErrLocked) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		mustClose(t, j)
	}
}

func TestInspectTellsOfDamage(t *testing.T) {
	t.Parallel()
	whole := filled(t, 300)
	name := segmentNames(whole)[1]
	var damage *journal.CorruptError
	disk := copyDisk(whole, func(files map[string][]byte) { files[name][50] ^= 1 })
	if _, err := journal.Inspect(disk, dir); !errors.As(err, &damage) || damage.File != filepath.Base(name) {
		t.Error(err)
	}
	disk = copyDisk(whole, func(files map[string][]byte) { files[name][5000] ^= 1 })
	in, err := journal.Inspect(disk, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := inspected(in); !errors.As(err, &damage) || damage.File != filepath.Base(name) {
		t.Error(err)
	}
	if _, err := journal.Inspect(memfs.New(), dir); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

// A directory that took the name of a file is not counted as one.
func TestInspectPassesOverDirectories(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mustClose(t, open(t, journal.Options{Dir: path, SegmentBytes: 16 << 10}))
	spare := filepath.Join(path, "spare")
	if err := errors.Join(os.RemoveAll(spare), os.Mkdir(spare, 0o750)); err != nil {
		t.Fatal(err)
	}
	in, err := journal.Inspect(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if in.SpareBytes != 0 {
		t.Errorf("the spare has %d bytes, and there is none", in.SpareBytes)
	}
}
