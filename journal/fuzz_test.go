package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// imageSeed is the seed of the record headers in a segment, calculated from its header as README.md says.
func imageSeed(image []byte) uint32 {
	b := append(append(bytes.Clone(image[16:32]), image[32:40]...), image[56:64]...)
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
	binary.LittleEndian.PutUint32(image[at+28:], crc32.Update(imageSeed(image), castagnoli, image[at:at+28]))
}

// plainRecords reads a segment in the plainest way: what Read returns must be the beginning of this.
func plainRecords(image []byte) (recs []journal.Record) {
	seed := imageSeed(image)
	for at := 4096; at+32 <= len(image); {
		h := image[at:]
		size := int(binary.LittleEndian.Uint32(h[4:]))
		if crc32.Update(seed, castagnoli, h[:28]) != binary.LittleEndian.Uint32(h[28:]) || size > len(h)-32 ||
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
