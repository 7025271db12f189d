package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-stomp/stomp/v3/frame"
)

func put(o *outbox, k kind, frames ...string) *request {
	r := &request{kind: k}
	for _, command := range frames {
		r.frames = append(r.frames, frame.New(command))
	}
	o.add(r)
	return r
}

// filled is the commands of the next batch, with the receipts that they ask for.
func filled(o *outbox, b *batch, generation uint64) string {
	o.fill(b, generation)
	var all []string
	for text := range strings.SplitSeq(strings.TrimSuffix(b.String(), "\x00"), "\x00") {
		command, headers, _ := strings.Cut(text, "\n")
		_, receipt, _ := strings.Cut(headers, "receipt:")
		all = append(all, command+" "+strings.TrimSpace(receipt))
	}
	return strings.Join(all, ",")
}

func wantFilled(t *testing.T, o *outbox, b *batch, generation uint64, want string) {
	t.Helper()
	if got := filled(o, b, generation); got != want {
		t.Errorf("connection %d: got %s, want %s", generation, got, want)
	}
}

// outcome is what ended, by number.
func outcome(ends []ended) string {
	var all []string
	for _, e := range ends {
		all = append(all, fmt.Sprintf("%d:%v", e.number, e.err))
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

func wantEnds(t *testing.T, ends []ended, want string) {
	t.Helper()
	if got := outcome(ends); got != want {
		t.Errorf("ended %q, want %q", got, want)
	}
}

func TestOutboxWritesAgain(t *testing.T) {
	t.Parallel()
	var o outbox
	var b batch
	put(&o, kindSend, "SEND")
	put(&o, kindCommit, "BEGIN", "SEND", "COMMIT")
	wantFilled(t, &o, &b, 1, "SEND 1,BEGIN 2.0,SEND 2.1,COMMIT 2")
	wantFilled(t, &o, &b, 1, " ")
	wantEnds(t, o.receipt("2.1", 1), "") // a part of it
	wantEnds(t, o.lose(), "")
	o.begin([]*request{{kind: kindSubscribe, frames: []*frame.Frame{frame.New("SUBSCRIBE")}}})
	put(&o, kindSend, "SEND")
	wantEnds(t, o.receipt("1", 1), "1:<nil>") // a RECEIPT is known until the request is written to another connection
	wantFilled(t, &o, &b, 2, "SUBSCRIBE 3,BEGIN 2.0,SEND 2.1,COMMIT 2,SEND 4")
	wantEnds(t, o.receipt("2", 1), "") // of an earlier connection
	wantEnds(t, o.receipt("x", 2), "")
	wantEnds(t, o.receipt("2", 2), "2:<nil>")
	wantEnds(t, o.receipt("2", 2), "")
	if o.unanswered != 2 || len(o.byNumber) != 2 {
		t.Errorf("%d requests have no answer, %d are known, want 2", o.unanswered, len(o.byNumber))
	}
	wantEnds(t, append(o.receipt("4", 2), o.receipt("3", 2)...), "3:<nil>,4:<nil>")
	if len(o.order) != 0 || o.unanswered != 0 || len(o.byNumber) != 0 {
		t.Errorf("what was answered is still there: %+v", o)
	}
}

// What becomes of each kind when its connection is lost, before it was written and after.
func TestOutboxLoses(t *testing.T) {
	t.Parallel()
	kept := "kept"
	for k, want := range map[kind][2]string{
		kindSend:        {kept, kept},
		kindCommit:      {kept, kept},
		kindForget:      {kept, kept},
		kindBareCommit:  {kept, ErrInDoubt.Error()},
		kindAckCommit:   {ErrRolledBack.Error(), ErrInDoubt.Error()},
		kindAck:         {ErrLostAck.Error(), ErrLostAck.Error()},
		kindSubscribe:   {"<nil>", "<nil>"},
		kindUnsubscribe: {"<nil>", "<nil>"},
		kindDisconnect:  {"<nil>", "<nil>"},
	} {
		for written, want := range want {
			var o outbox
			var b batch
			put(&o, k, "SEND")
			if written == 1 {
				o.fill(&b, 1)
			}
			got := kept
			if ends := o.lose(); len(ends) > 0 {
				got = fmt.Sprint(ends[0].err)
			}
			if got != want {
				t.Errorf("kind %d, written %d: %s, want %s", k, written, got, want)
			}
			if (len(o.order) == 1) != (want == kept) || o.next != 0 || o.acks != 0 {
				t.Errorf("kind %d, written %d: %+v", k, written, o)
			}
		}
	}
}

// What of a batch has not left whole was not written.
func TestOutboxCut(t *testing.T) {
	t.Parallel()
	var o outbox
	var b batch
	first, second, third := put(&o, kindAckCommit, "BEGIN", "COMMIT"), put(&o, kindAckCommit, "BEGIN", "COMMIT"), put(&o, kindSend, "SEND")
	third.written = 7 // on an earlier connection
	o.fill(&b, 8)
	o.cut(&b, b.requests[0].end)
	if first.written != 8 || second.written != 0 || third.written != 7 {
		t.Errorf("written: %d, %d, %d", first.written, second.written, third.written)
	}
	o.cut(&b, b.requests[0].end-1)
	if first.written != 0 {
		t.Error("a transaction without its last octet was written")
	}
}

// The receipt of an ACK speaks for those before it on its connection, and for no later one.
func TestOutboxAcks(t *testing.T) {
	t.Parallel()
	var o outbox
	var b batch
	put(&o, kindAck, "ACK")
	put(&o, kindSend, "SEND")
	put(&o, kindAck, "NACK")
	wantFilled(t, &o, &b, 1, "ACK ,SEND 2,NACK 3")
	put(&o, kindAck, "ACK")
	put(&o, kindAck, "ACK")
	wantFilled(t, &o, &b, 1, "ACK ,ACK 5")
	wantEnds(t, o.receipt("2", 1), "2:<nil>")
	wantEnds(t, o.receipt("3", 1), "1:<nil>,3:<nil>")
	put(&o, kindAck, "ACK")
	wantEnds(t, o.lose(), fmt.Sprintf("4:%v,5:%v,6:%v", ErrLostAck, ErrLostAck, ErrLostAck))
	o.begin(nil)
	put(&o, kindAck, "ACK")
	wantFilled(t, &o, &b, 2, "ACK 7")
	wantEnds(t, o.receipt("7", 2), "7:<nil>")
	if o.unanswered != 0 {
		t.Errorf("%d have no answer", o.unanswered)
	}
}

func TestOutboxClear(t *testing.T) {
	t.Parallel()
	var o outbox
	var b batch
	put(&o, kindSend, "SEND")
	o.fill(&b, 1)
	put(&o, kindSend, "SEND")
	why := errors.New("enough")
	wantEnds(t, o.clear(why), fmt.Sprintf("1:%v,2:enough", inDoubt(why)))
}
