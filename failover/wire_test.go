package failover

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/journal"
)

// sealed is a frame with a payload.
func sealed(k kind, flags uint8, epoch, seed uint32, payload []byte) []byte {
	b := append(make([]byte, frameHeaderBytes), payload...)
	seal(b, k, flags, epoch, seed)
	return b
}

func someRecords() []journal.Record {
	return []journal.Record{
		{Seq: 8, Epoch: 2, Type: 1, Body: []byte("one")},
		{Seq: 9, Epoch: 3, Type: 127, Body: []byte{}},
		{Seq: 10, Epoch: 3, Type: 5, Body: bytes.Repeat([]byte("x"), 300)},
	}
}

func appendPayload(recs []journal.Record) []byte {
	b := make([]byte, appendFixedBytes)
	(&appendFixed{prevSeq: 7, commit: 6, prevChain: 77, endChain: 88, count: uint32(len(recs))}).put(b)
	for i := range recs {
		b = appendRecord(b, &recs[i])
	}
	return b
}

func TestAppendGoesThrough(t *testing.T) {
	t.Parallel()
	recs := someRecords()
	f, err := parseFrame(sealed(kindAppend, flagSync, 3, 9, appendPayload(recs)), 9)
	if err != nil || f.kind != kindAppend || f.flags != flagSync || f.epoch != 3 {
		t.Fatal(f, err)
	}
	a, body, err := parseAppend(f.payload)
	if err != nil || a != (appendFixed{prevSeq: 7, commit: 6, prevChain: 77, endChain: 88, count: 3}) {
		t.Fatal(a, err)
	}
	got, err := parseRecords(nil, body, &a, journal.Position{Seq: 7, Epoch: 2}, 3)
	if err != nil || !reflect.DeepEqual(got, recs) {
		t.Errorf("got %+v, %v, want %+v", got, err, recs)
	}
}

func TestSnapshotGoesThrough(t *testing.T) {
	t.Parallel()
	recs := someRecords()
	var b []byte
	for i := range recs {
		recs[i].Seq, recs[i].PrevChain = uint64(10*i+3), uint32(i)
		b = appendPlaced(b, &recs[i])
	}
	var got []journal.Record
	err := eachPlaced(b, func(r journal.Record) error { got = append(got, r); return nil })
	if err != nil || !reflect.DeepEqual(got, recs) {
		t.Errorf("got %+v, %v, want %+v", got, err, recs)
	}
	end := snapshotEnd{end: journal.Position{Seq: 5, Epoch: 6, Chain: 7}, records: 8}
	p := make([]byte, signalBytes)
	end.put(p)
	if got, err := parseSnapshotEnd(p); err != nil || got != end {
		t.Errorf("got %+v, %v, want %+v", got, err, end)
	}
}

func TestSignalsGoThrough(t *testing.T) {
	t.Parallel()
	for k := kindFlushed; k <= kindFence; k++ {
		want := Signal{Kind: SignalKind(k), Epoch: 4, Seq: 1 << 40, Chain: 5, Sent: time.Hour, Lease: time.Second}
		f, err := parseFrame(want.appendTo(nil, 3), 3)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseSignal(f); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// Any bit that flips is noticed, and so is a frame of another connection.
func TestDamagedFrames(t *testing.T) {
	t.Parallel()
	whole := sealed(kindAppend, flagSync, 3, 9, appendPayload(someRecords()[:1]))
	for bit := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := parseFrame(b, 9); err == nil {
			t.Errorf("nobody noticed that bit %d of octet %d flipped", bit%8, bit/8)
		}
	}
	if _, err := parseFrame(whole, 8); err == nil {
		t.Error("a frame of another connection was taken")
	}
}

func TestWhatFramesMustNotSay(t *testing.T) {
	t.Parallel()
	at := journal.Position{Seq: 7, Epoch: 2}
	records := func(recs ...journal.Record) func() error {
		return func() error {
			a, body, err := parseAppend(appendPayload(recs))
			if err == nil {
				_, err = parseRecords(nil, body, &a, at, 3)
			}
			return err
		}
	}
	whole := appendPayload(someRecords())
	for want, fn := range map[string]func() error{
		"epoch is 1, after 2":       records(journal.Record{Epoch: 1, Type: 1}),
		"epoch is 4, after 2":       records(journal.Record{Epoch: 4, Type: 1}),
		"has the type 0":            records(journal.Record{Epoch: 2}),
		"has the type 128":          records(journal.Record{Epoch: 2, Type: 128}),
		"octets are too few":        func() error { return parseAll(whole[:len(whole)-302], at) },
		"claims 300 octets":         func() error { return parseAll(whole[:len(whole)-1], at) },
		"1 octets follow":           func() error { return parseAll(append(bytes.Clone(whole), 0), at) },
		"an APPEND has 31 octets":   func() error { return parseAll(whole[:31], at) },
		"BEACON claims 33 octets":   func() error { _, err := frameSize(sealed(kindBeacon, 0, 1, 0, make([]byte, 33))); return err },
		"GREETING claims 513":       func() error { _, err := frameSize(sealed(kindGreeting, 0, 0, 0, make([]byte, 513))); return err },
		"frame kind 99 is unknown":  func() error { _, err := frameSize(sealed(99, 0, 0, 0, nil)); return err },
		"has unknown flags":         func() error { _, err := parseFrame(sealed(kindBeacon, 1, 0, 0, make([]byte, 32)), 0); return err },
		"a BEACON has 31 octets":    func() error { _, err := parseSignal(frame{kind: kindBeacon, payload: make([]byte, 31)}); return err },
		"ends with 3 octets":        func() error { return eachPlaced(make([]byte, 3), nil) },
		"SNAPSHOT_END has 3 octets": func() error { _, err := parseSnapshotEnd(make([]byte, 3)); return err },
		"the plan names no pair":    func() error { _, err := parsePlan([]byte("{}")); return err },
		"a snapshot, and yet a cut": func() error {
			_, err := parsePlan([]byte(`{"snapshot":true,"cut":true,"cluster":"01000000000000000000000000000000"}`))
			return err
		},
		"does not follow":      func() error { return Lineage{{2, 5}, {2, 6}}.check() },
		"epoch 3 from seq 5":   func() error { return Lineage{{2, 5}, {3, 5}}.check() },
		"says that it is":      func() error { _, err := parseHello([]byte(`{"node":"c"}`), "b"); return err },
		"the lineage has 1001": func() error { return make(Lineage, 1001).check() },
		"no greeting": func() error {
			_, err := parseGreeting([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n and so on and on"))
			return err
		},
		"speaks version 2": func() error { _, err := parseGreeting((&greeting{version: 2}).encode()); return err },
		"ends within a name": func() error {
			b := (&greeting{version: 1, node: "a"}).encode()
			_, err := parseGreeting(b[:len(b)-2])
			return err
		},
		"has 1 octets too many": func() error { _, err := parseGreeting(append((&greeting{version: 1}).encode(), 0)); return err },
		"a field of 301 octets": func() error { return (&Hello{Node: "b", Advertise: strings.Repeat("x", 301)}).check("b") },
		"numbers that make no se": func() error {
			s := Signal{Kind: Beacon, Sent: -1}
			f, _ := parseFrame(s.appendTo(nil, 0), 0)
			_, err := parseSignal(f)
			return err
		},
	} {
		if err := fn(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want one that says %q", err, want)
		}
	}
}

func parseAll(payload []byte, at journal.Position) error {
	a, body, err := parseAppend(payload)
	if err == nil {
		_, err = parseRecords(nil, body, &a, at, 3)
	}
	return err
}

// What is read is what was written, octet for octet: nothing can be said in two ways.
func FuzzFrame(f *testing.F) {
	f.Add(sealed(kindAppend, flagSync, 3, 0, appendPayload(someRecords())))
	f.Add((&Signal{Kind: Flushed, Epoch: 4, Seq: 5, Chain: 6}).appendTo(nil, 0))
	f.Add(sealed(kindSnapshotEnd, 0, 3, 0, make([]byte, signalBytes)))
	f.Add(sealed(kindSnapshot, 0, 3, 0, appendPlaced(nil, &someRecords()[0])))
	f.Add(sealed(kindGreeting, 0, 0, 0, (&greeting{version: 1, node: "a", pair: "p"}).encode()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frameHeaderBytes {
			return
		}
		seal(b, kind(b[4]), b[5], 3, 0) // or no input would get past the checksum
		fr, err := parseFrame(b, 0)
		if err != nil {
			return
		}
		var again []byte
		switch {
		case fr.kind.isSignal():
			s, err := parseSignal(fr)
			if err != nil {
				return
			}
			again = s.appendTo(nil, 0)
		case fr.kind == kindAppend:
			a, body, err := parseAppend(fr.payload)
			if err != nil {
				return
			}
			recs, err := parseRecords(nil, body, &a, journal.Position{Seq: a.prevSeq}, 3)
			if err != nil {
				return
			}
			p := make([]byte, appendFixedBytes)
			a.put(p)
			for i := range recs {
				p = appendRecord(p, &recs[i])
			}
			again = sealed(kindAppend, fr.flags, 3, 0, p)
		case fr.kind == kindSnapshot:
			var p []byte
			if eachPlaced(fr.payload, func(r journal.Record) error { p = appendPlaced(p, &r); return nil }) != nil {
				return
			}
			again = sealed(kindSnapshot, 0, 3, 0, p)
		case fr.kind == kindGreeting:
			g, err := parseGreeting(fr.payload)
			if err != nil {
				return
			}
			again = sealed(kindGreeting, 0, 3, 0, g.encode())
		default:
			return
		}
		if !bytes.Equal(again, b) {
			t.Errorf("read %x, would write %x", b, again)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add([]byte(`{"node":"b","cluster":"01000000000000000000000000000000","lineage":[{"epoch":1,"first":1}],"end":{"Seq":5}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHello(b, "b"); err == nil && h.Lineage.check() != nil {
			t.Error("a bad lineage was taken")
		}
	})
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"cut":true,"from":{"Seq":5},"cluster":"01000000000000000000000000000000","lineage":[{"epoch":1,"first":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePlan(b)
		if err != nil || p.Refused != "" {
			return
		}
		again, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsePlan(again); err != nil {
			t.Errorf("%s was taken, %s is not: %v", b, again, err)
		}
	})
}

func FuzzPair(f *testing.F) {
	whole, _ := (&Pair{Cluster: ID{1}, Node: "a", Lineage: Lineage{{1, 1}}, Incoming: &Incoming{Aside: "x"}}).encode()
	f.Add(whole)
	f.Add([]byte("baton pair 2 00000000 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePair(b)
		if err == nil && p.Lineage.check() != nil {
			t.Error("a bad lineage was taken")
		}
	})
}
