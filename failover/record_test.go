package failover_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"baton/failover"
)

const recordText = `{"version":1,"cluster":"0a000000000000000000000000000000","epoch":7,"master":"a","insync":[` +
	`{"node":"a","journalID":"0b000000000000000000000000000000"},{"node":"b","journalID":"0c000000000000000000000000000000"}],` +
	`"nonce":"a-1","minSeq":99,"forced":false,"overruled":5,"by":"a","at":"2026-01-02T03:04:05.678Z"}`

func sampleRecord() failover.Record {
	return failover.Record{
		Cluster: failover.ID{10}, Epoch: 7, Master: "a",
		InSync: []failover.Member{{Node: "a", JournalID: failover.ID{11}}, {Node: "b", JournalID: failover.ID{12}}},
		Nonce:  "a-1", MinSeq: 99, Overruled: 5, By: "a", At: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC),
	}
}

// The text is what other nodes, of other versions too, read.
func TestRecordText(t *testing.T) {
	t.Parallel()
	got, err := sampleRecord().Encode()
	if err != nil || string(got) != recordText {
		t.Errorf("got %s, %v\nwant %s", got, err, recordText)
	}
	finer := sampleRecord()
	finer.At = finer.At.Add(999 * time.Microsecond).In(time.FixedZone("east", 3600))
	if got, err := finer.Encode(); err != nil || string(got) != recordText {
		t.Errorf("got %s, %v: want milliseconds of UTC", got, err)
	}
	back, err := failover.DecodeRecord([]byte(recordText))
	if err != nil || !back.Equal(sampleRecord()) {
		t.Errorf("got %+v, %v", back, err)
	}
}

func TestRecordThatIsRefused(t *testing.T) {
	t.Parallel()
	replaced := func(old, new string) string {
		if !strings.Contains(recordText, old) {
			t.Fatalf("the text has no %s", old)
		}
		return strings.Replace(recordText, old, new, 1)
	}
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", "", "unexpected end"},
		{"a number", "7", "cannot unmarshal number"},
		{"a later version", replaced(`"version":1`, `"version":2,"new":true`), "version 2"},
		{"no epoch", replaced(`"epoch":7,`, ``), "epoch is 0"},
		{"no version", replaced(`"version":1,`, ``), "no version"},
		{"something behind it", recordText + recordText, "after top-level value"},
		{"no cluster", replaced(`"0a000000000000000000000000000000"`, `"00000000000000000000000000000000"`), "cluster is empty"},
		{"a short id", replaced(`"0b000000000000000000000000000000"`, `"0b"`), "32 hexadecimal digits"},
		{"an id of other letters", replaced(`"0b0`, `"0x0`), "is no id"},
		{"no journal", replaced(`"0b000000000000000000000000000000"`, `"00000000000000000000000000000000"`), "node a has no journalID"},
		{"epoch 0", replaced(`"epoch":7`, `"epoch":0`), "epoch is 0"},
		{"an epoch too large", replaced(`"epoch":7`, `"epoch":4294967296`), "4294967296"},
		{"a master out of sync", replaced(`"master":"a"`, `"master":"c"`), "master c is not in insync"},
		{"nobody in sync", replaced(`{"node":"a","journalID":"0b000000000000000000000000000000"},{"node":"b","journalID":"0c000000000000000000000000000000"}`, ``), "0 members"},
		{"a node twice", replaced(`"node":"b"`, `"node":"a"`), "node a is there twice"},
		{"no nonce", replaced(`"nonce":"a-1"`, `"nonce":""`), "nonce has 0 bytes"},
		{"a long name", replaced(`"by":"a"`, `"by":"`+strings.Repeat("a", 65)+`"`), "by has 65 bytes"},
		{"a name with a space", replaced(`"by":"a"`, `"by":"a b"`), "visible ASCII"},
		{"no time", replaced(`"2026-01-02T03:04:05.678Z"`, `"0001-01-01T00:00:00Z"`), "no time"},
		{"too long", recordText + strings.Repeat(" ", 1024), "want at most 1024"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := failover.DecodeRecord([]byte(tc.text))
			if !errors.Is(err, failover.ErrRecord) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrRecord with %q", err, tc.want)
			}
		})
	}
}

// An operator may have laid it out for people.
func TestRecordWithWhiteSpaceIsRead(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := json.Indent(&text, []byte(recordText), "", "  "); err != nil {
		t.Fatal(err)
	}
	if got, err := failover.DecodeRecord(text.Bytes()); err != nil || !got.Equal(sampleRecord()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestEncodeRefusesWhatNobodyCouldRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		want   string
		change func(*failover.Record)
	}{
		{"epoch is 0", func(r *failover.Record) { r.Epoch = 0 }},
		{"no time", func(r *failover.Record) { r.At = time.Time{} }},
		{"9 members", func(r *failover.Record) { r.InSync = make([]failover.Member, 9) }},
		{"bytes: want at most 1024", func(r *failover.Record) {
			for name := 'b'; len(r.InSync) < 8; name++ {
				r.InSync = append(r.InSync, failover.Member{Node: strings.Repeat(string(name+1), 64), JournalID: failover.ID{1}})
			}
		}},
	} {
		r := sampleRecord()
		tc.change(&r)
		if _, err := r.Encode(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}

func TestRecordLists(t *testing.T) {
	t.Parallel()
	r := sampleRecord()
	if !r.Lists(failover.Member{Node: "b", JournalID: failover.ID{12}}) {
		t.Error("b with its journal is not listed")
	}
	if r.Lists(failover.Member{Node: "b", JournalID: failover.ID{11}}) {
		t.Error("b with a journal of another id is listed")
	}
	if m, ok := r.Member("b"); !ok || m.JournalID != (failover.ID{12}) {
		t.Errorf("b is %v, %t", m, ok)
	}
	if _, ok := r.Member("c"); ok {
		t.Error("c is a member")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(recordText))
	f.Add([]byte(`{"version":1,"at":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := failover.DecodeRecord(text)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", r, err)
		}
		r.At = r.At.Truncate(time.Millisecond)
		if back, err := failover.DecodeRecord(again); err != nil || !back.Equal(r) {
			t.Fatalf("%s comes back as %+v, %v", again, back, err)
		}
	})
}
