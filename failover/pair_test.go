package failover

import (
	"reflect"
	"strings"
	"testing"

	"baton/journal/memfs"
)

func somePair() Pair {
	return Pair{
		Cluster: ID{1}, Node: "a", Journal: ID{2}, Promised: 7, RegRev: 99, Lineage: Lineage{{5, 1}, {7, 400}},
		Incoming: &Incoming{Journal: ID{3}, Cluster: ID{1}, Lineage: Lineage{{8, 2}}, Aside: "divergent-7-410"},
	}
}

// After a crash at any moment there is the pair from before or the new one.
func TestPairCrashAnywhere(t *testing.T) {
	t.Parallel()
	before, after := somePair(), somePair()
	after.Promised++
	seen := map[uint32]bool{}
	for seed := range uint64(20) {
		disk := memfs.New()
		if err := before.Store(disk, "data"); err != nil {
			t.Fatal(err)
		}
		var crashes []*memfs.FS
		disk.OnCall(func(memfs.Call) error {
			crashes = append(crashes, disk.CrashClone(memfs.Random(seed)))
			return nil
		})
		if err := after.Store(disk, "data"); err != nil {
			t.Fatal(err)
		}
		disk.OnCall(nil)
		for _, crashed := range append(crashes, disk.CrashClone(memfs.None)) {
			got, found, err := LoadPair(crashed, "data", "a")
			if err != nil || !found {
				t.Fatal(found, err)
			}
			seen[got.Promised] = true
			want := before
			if want.Promised = got.Promised; !reflect.DeepEqual(got, want) || got.Promised < 7 || got.Promised > 8 {
				t.Fatalf("got %+v", got)
			}
		}
		if got, _, err := LoadPair(disk.CrashClone(memfs.None), "data", "a"); err != nil || got.Promised != 8 {
			t.Fatalf("what was stored is lost: %+v, %v", got, err)
		}
	}
	if !seen[7] || !seen[8] {
		t.Errorf("saw %v", seen)
	}
}

// A file that is damaged anywhere is an error, and never taken for none.
func TestDamagedPair(t *testing.T) {
	t.Parallel()
	p := somePair()
	whole, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	disk := memfs.New()
	check := func(content []byte, what string, at int) {
		disk.Put("data/pair", content)
		if _, found, err := LoadPair(disk, "data", "a"); err == nil || !found {
			t.Errorf("%s at octet %d was not noticed: found %t, %v", what, at, found, err)
		}
	}
	for i := range whole {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x10
		check(b, "damage", i)
		check(whole[:i], "an end", i)
	}
}

func TestForeignPair(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	if p, found, err := LoadPair(disk, "data", "a"); err != nil || found || p.Member() {
		t.Errorf("of none got %+v, %t, %v", p, found, err)
	}
	p := somePair()
	if err := p.Store(disk, "data"); err != nil {
		t.Fatal(err)
	}
	_, _, err := LoadPair(disk, "data", "b")
	if err == nil || !strings.Contains(err.Error(), `written by the node "a", this is "b"`) {
		t.Error(err)
	}
	disk.Put("data/pair", []byte("baton pair 2 00000000 0\n"))
	if _, _, err := LoadPair(disk, "data", "a"); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Error(err)
	}
}
