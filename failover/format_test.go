package failover

import (
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// What the first format of each thing looks like that nodes of different versions read of each other, or of themselves. These texts
// never change: a pair is upgraded while it serves.
const (
	firstRecord = `{"version":1,"cluster":"0a000000000000000000000000000000","epoch":7,"master":"a","insync":[` +
		`{"node":"a","journalID":"0b000000000000000000000000000000"},{"node":"b","journalID":"0c000000000000000000000000000000"}],` +
		`"nonce":"a-1","minSeq":99,"forced":false,"by":"a","at":"2026-01-02T03:04:05.678Z"}`

	firstPair = `baton pair 1 b1107274 500
{
  "cluster": "01000000000000000000000000000000",
  "node": "a",
  "journal": "02000000000000000000000000000000",
  "promised": 7,
  "reg_rev": 99,
  "lineage": [
    {
      "epoch": 5,
      "first": 1
    },
    {
      "epoch": 7,
      "first": 400
    }
  ],
  "incoming": {
    "journal": "03000000000000000000000000000000",
    "cluster": "01000000000000000000000000000000",
    "lineage": [
      {
        "epoch": 8,
        "first": 2
      }
    ],
    "aside": "divergent-7-410"
  }
}
`

	firstHello = `{"node":"b","incarnation":"09000000000000000000000000000000","cluster":"01000000000000000000000000000000",` +
		`"journal":"02000000000000000000000000000000","role":"idle","master":true,"epoch":3,"promised":4,"reg_rev":5,` +
		`"lineage":[{"epoch":2,"first":1}],"end":{"Seq":6,"Epoch":2,"Chain":7},"first":1,"clean":true,"resync":true,` +
		`"advertise":"b.example:61613"}`

	firstPlan = `{"cut":true,"from":{"Seq":6,"Epoch":2,"Chain":7},"cluster":"01000000000000000000000000000000",` +
		`"lineage":[{"epoch":2,"first":1},{"epoch":3,"first":7}]}`
)

func firstRecordValue() Record {
	return Record{
		Cluster: ID{10}, Epoch: 7, Master: "a", InSync: []Member{{"a", ID{11}}, {"b", ID{12}}},
		Nonce: "a-1", MinSeq: 99, By: "a", At: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC),
	}
}

func firstHelloValue() Hello {
	return Hello{
		Node: "b", Incarnation: ID{9}.String(), Cluster: ID{1}, Journal: ID{2}, Role: "idle", Master: true, Epoch: 3, Promised: 4,
		RegRev: 5, Lineage: Lineage{{2, 1}}, End: journal.Position{Seq: 6, Epoch: 2, Chain: 7}, First: 1, Resync: true,
		Advertise: "b.example:61613",
	}
}

func firstPlanValue() Plan {
	return Plan{
		Cut: true, From: journal.Position{Seq: 6, Epoch: 2, Chain: 7}, Cluster: ID{1}, Lineage: Lineage{{2, 1}, {3, 7}},
	}
}

// formats reads each thing in a text, as anybody does.
var formats = []struct {
	name, text string
	read       func(text string) (any, error)
	want       any
}{
	{"record", firstRecord, func(text string) (any, error) { return DecodeRecord([]byte(text)) }, firstRecordValue()},
	{"pair", firstPair, loadPair, somePair()},
	{"HELLO", firstHello, func(text string) (any, error) { return parseHello([]byte(text), "b") }, firstHelloValue()},
	{"PLAN", firstPlan, func(text string) (any, error) { return parsePlan([]byte(text)) }, firstPlanValue()},
}

func loadPair(text string) (any, error) {
	disk := memfs.New()
	disk.Put("data/pair", []byte(text))
	p, _, err := LoadPair(disk, "data", "a")
	return p, err
}

func TestFirstFormatIsRead(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		if got, err := f.read(f.text); err != nil || !reflect.DeepEqual(got, f.want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", f.name, got, err, f.want)
		}
	}
}

// A later build says more.
func TestUnknownFieldsArePassedOver(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		text := strings.Replace(f.text, "{", `{"colour":{"of":["the","sky"]},`, 1)
		if f.name == "pair" {
			_, body, _ := strings.Cut(text, "\n")
			text = fmt.Sprintf("baton pair 1 %08x %d\n%s", crc32.Checksum([]byte(body), castagnoli), len(body), body)
		}
		if got, err := f.read(text); err != nil || !reflect.DeepEqual(got, f.want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", f.name, got, err, f.want)
		}
	}
}

// Where there is nothing new to say, an earlier build finds nothing that it does not know.
func TestNothingNewIsWrittenAsEver(t *testing.T) {
	t.Parallel()
	if got, err := firstRecordValue().Encode(); err != nil || string(got) != firstRecord {
		t.Errorf("the record is %s, %v\nwant %s", got, err, firstRecord)
	}
	p := somePair()
	if got, err := p.encode(); err != nil || string(got) != firstPair {
		t.Errorf("the pair is %s, %v\nwant %s", got, err, firstPair)
	}
}
