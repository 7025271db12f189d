package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// imageSeed is the seed of the record headers in a segment, calculated from its header as README.md says.
// imageSeed starts the checksum of the record header at offset at.
func imageSeed(image []byte, at int) uint32 {
	b := append(append(bytes.Clone(image[16:32]), image[32:40]...), image[56:64]...)
	if image[8] >= 3 && image[12] == 1 {
		b = binary.LittleEndian.AppendUint64(b, uint64(at))
	}
	return crc32.Checksum(b, castagnoli)
}

// resealRecords makes the checksums fit whatever the records hold, so that a fuzzer reaches what lies behind them.
func resealRecords(image []byte) {
	for at := 4096; at+32 <= len(image) && binary.LittleEndian.Uint16(image[at:]) == 0x4A42; {
		resealRecord(image, at)
		size := int(binary.LittleEndian.Uint32(image[at+4:]))
		if size > len(image)-at-32 {
			return
		}
		at += 32 + (size+7)&^7
	}
}

func resealRecord(image []byte, at int) {
	if size := int(binary.LittleEndian.Uint32(image[at+4:])); size <= len(image)-at-32 {
		binary.LittleEndian.PutUint32(image[at+20:], crc32.Checksum(image[at+32:at+32+size], castagnoli))
	}
	binary.LittleEndian.PutUint32(image[at+28:], crc32.Update(imageSeed(image, at), castagnoli, image[at:at+28]))
}

// plainRecords reads a segment in the plainest way: what Read returns must be the beginning of this.
func plainRecords(image []byte) (recs []journal.Record) {
	for at := 4096; at+32 <= len(image); {
		h := image[at:]
		size := int(binary.LittleEndian.Uint32(h[4:]))
		if crc32.Update(imageSeed(image, at), castagnoli, h[:28]) != binary.LittleEndian.Uint32(h[28:]) || size > len(h)-32 ||
			crc32.Checksum(h[32:32+size], castagnoli) != binary.LittleEndian.Uint32(h[20:]) {
			break
		}
		if h[2] < 128 {
			recs = append(recs, journal.Record{
				Seq: binary.LittleEndian.Uint64(h[8:]), Epoch: binary.LittleEndian.Uint32(h[16:]), Type: h[2], Body: h[32 : 32+size],
			})
		}
		at += 32 + (size+7)&^7
	}
	return recs
}

// FuzzRead takes any bytes for a segment: with mode 0 for all of it, with 1 for what follows the header, with 2 with
// checksums made to fit. Nothing may panic, and no record may be returned whose checksums do not fit.
func FuzzRead(f *testing.F) {
	image, err := os.ReadFile(filepath.Join("testdata", "format-1.seg"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), image)
	f.Add(uint8(1), image[4096:])
	f.Add(uint8(2), image[4096:])
	f.Add(uint8(2), append(bytes.Clone(image[4096:4300]), image[4096:4200]...))
	f.Fuzz(func(t *testing.T, mode uint8, data []byte) {
		segment := data
		if mode%3 > 0 {
			segment = append(bytes.Clone(image[:4096]), data...)
			segment = append(segment, make([]byte, max(0, 16<<10-len(segment)))...)
		}
		if mode%3 == 2 {
			resealRecords(segment)
		}
		readAny(t, segment)
	})
}

func readAny(t *testing.T, segment []byte) {
	disk := memfs.New()
	disk.Put(filepath.Join(dir, goldenSegment), segment)
	report, err := journal.Verify(disk, dir, nil)
	if err != nil && !errors.Is(err, journal.ErrNewer) {
		t.Fatalf("verify: %v", err)
	}
	if err := journal.Dump(disk, dir, &bytes.Buffer{}, nil); err != nil && !errors.Is(err, journal.ErrNewer) {
		t.Fatalf("dump: %v", err)
	}
	j, openErr := journal.Open(newWatch().options(disk))
	if sound := err == nil && len(report.Damage) == 0; sound != (openErr == nil) {
		t.Fatalf("verify says %+v, %v; open says %v", report, err, openErr)
	}
	if openErr != nil {
		return
	}
	defer func() { _ = j.Close() }()
	want := plainRecords(segment)
	err = j.Read(0, func(r journal.Record) error {
		if len(want) == 0 || r.Seq != want[0].Seq || r.Epoch != want[0].Epoch || r.Type != want[0].Type || !bytes.Equal(r.Body, want[0].Body) {
			t.Fatalf("read %+v, in the file is %+v", r, want)
		}
		want = want[1:]
		return nil
	})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
}

// FuzzSealed takes any bytes for what follows the header of a sealed segment, a plain or a sparse one, among sound
// neighbours, with checksums made to fit or not. Nothing may panic, no record may be given whose checksums do not fit, and
// what Verify takes for sound is read whole.
func FuzzSealed(f *testing.F) {
	whole := goldenFiles(f, "format-3")
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(whole)), func(name string) bool { return filepath.Ext(name) != ".seg" })
	for i, name := range names[:2] {
		content := whole[name][4096:]
		for _, reseal := range []bool{false, true} {
			f.Add(i == 0, reseal, content)
			f.Add(i == 0, reseal, content[:len(content)-72])
			f.Add(i == 0, reseal, content[len(content)-72-48:]) // no records
			f.Add(i == 0, reseal, append(bytes.Clone(content[:200]), content...))
		}
	}
	f.Fuzz(func(t *testing.T, sparse, reseal bool, data []byte) {
		name := names[1]
		if sparse {
			name = names[0]
		}
		segment := append(bytes.Clone(whole[name][:4096]), data...)
		if sparse {
			binary.LittleEndian.PutUint64(segment[48:], uint64(len(segment)))
			binary.LittleEndian.PutUint32(segment[4092:], crc32.Checksum(segment[:4092], castagnoli))
		}
		if reseal {
			resealRecords(segment)
		}
		disk, want := memfs.New(), map[uint64][]journal.Record{}
		for other, content := range whole {
			if other == name {
				content = segment
			}
			disk.Put(other, content)
			if filepath.Ext(other) == ".seg" {
				for _, r := range plainRecords(content) {
					want[r.Seq] = append(want[r.Seq], r)
				}
			}
		}
		readSealed(t, disk, want)
	})
}

// readSealed reads in every way; want has the records whose checksums fit.
func readSealed(t *testing.T, disk *memfs.FS, want map[uint64][]journal.Record) {
	report, err := journal.Verify(disk, dir, nil)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	if err := journal.Dump(disk, dir, &bytes.Buffer{}, nil); err != nil {
		t.Fatalf("dump: %v", err)
	}
	sound := len(report.Damage) == 0
	j, err := journal.Open(newWatch().options(disk))
	if err != nil && sound {
		t.Fatalf("verify says %+v; open says %v", report, err)
	}
	if err != nil {
		return
	}
	defer func() { _ = j.Close() }()
	valid := func(r journal.Record) bool {
		return slices.ContainsFunc(want[r.Seq], func(w journal.Record) bool {
			return r.Epoch == w.Epoch && r.Type == w.Type && bytes.Equal(r.Body, w.Body)
		})
	}
	n := uint64(0)
	err = j.Read(0, func(r journal.Record) error {
		n++
		if !valid(r) {
			t.Fatalf("read %+v, in the files are %+v", r, want[r.Seq])
		}
		return nil
	})
	if sound && (err != nil || n != report.Records) {
		t.Fatalf("verify says %+v; read %d records: %v", report, n, err)
	}
	got := uint64(0)
	for seq := range min(j.Last(), 200) {
		r, err := j.Get(seq + 1)
		if err == nil && !valid(r) {
			t.Fatalf("got %+v, in the files are %+v", r, want[r.Seq])
		}
		if err == nil {
			got++
		}
	}
	if sound && got != report.Records {
		t.Fatalf("verify says %+v; got %d records", report, got)
	}
}
