package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"baton/destinations"
)

func receipt(id string, after uint64) *destinations.Output {
	return &destinations.Output{Kind: destinations.Receipt, ReceiptID: id, After: after}
}

func delivery(sub uint32, tag, after uint64) *destinations.Output {
	return &destinations.Output{Kind: destinations.Deliver, After: after, Delivery: destinations.Delivery{
		Label: &destinations.Label{Sub: sub}, Tag: tag, Message: &destinations.Message{},
	}}
}

// absent is a delivery of which so many octets are only in the log.
func absent(sub uint32, tag uint64, size uint32) *destinations.Output {
	return &destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{Label: &destinations.Label{Sub: sub}, Tag: tag, Size: size}}
}

var (
	evict = &destinations.Output{Kind: destinations.Evict, Err: errors.New("why")}
	over  = &destinations.Output{Kind: outputEnd}
)

func forget(sub uint32) *destinations.Output {
	return &destinations.Output{Kind: destinations.Forget, Delivery: destinations.Delivery{Label: &destinations.Label{Sub: sub}}}
}

// taken lists what the box lets go when the log is durable so far.
func taken(o *outbox, durable uint64) string {
	var all []string
	for _, it := range o.take(nil, durable, 1000) {
		switch it.Kind {
		case destinations.Receipt:
			all = append(all, it.ReceiptID)
		case destinations.Deliver:
			all = append(all, fmt.Sprintf("%d.%d", it.Delivery.Sub, it.Delivery.Tag))
		case destinations.Evict:
			all = append(all, "ERROR")
		case outputEnd:
			all = append(all, "end")
		}
	}
	return strings.Join(all, " ")
}

func wantTaken(t *testing.T, o *outbox, durable uint64, want string) {
	t.Helper()
	if got := taken(o, durable); got != want {
		t.Errorf("durable up to %d lets go %q, want %q", durable, got, want)
	}
}

// TestOutboxKeepsOrder holds that nothing leaves before what came before it,
// and that push says what must be durable for that.
func TestOutboxKeepsOrder(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	for _, p := range []struct {
		out  *destinations.Output
		gate uint64
	}{
		{receipt("a", 0), 0}, {delivery(1, 1, 5), 5}, {receipt("b", 0), 5}, {receipt("c", 3), 5}, {delivery(1, 2, 7), 7}, {receipt("d", 0), 7},
	} {
		if gate := o.push(p.out); gate != p.gate {
			t.Errorf("%+v waits for %d, want %d", p.out, gate, p.gate)
		}
	}
	wantTaken(t, o, 4, "a")
	wantTaken(t, o, 4, "")
	wantTaken(t, o, 5, "1.1 b c")
	wantTaken(t, o, 6, "")
	wantTaken(t, o, 9, "1.2 d")
	if gate := o.push(receipt("e", 0)); gate != 0 {
		t.Errorf("in an empty box a receipt waits for %d", gate)
	}
	for i := range 5 {
		o.push(receipt(fmt.Sprint(i), 0))
	}
	if got := len(o.take(nil, 0, 4)); got != 4 {
		t.Errorf("took %d, more than the limit", got)
	}
	wantTaken(t, o, 0, "3 4")
}

// TestOutboxForgets holds that what an ended subscription was to get does not
// leave, and that the rest keeps its order and its gates.
func TestOutboxForgets(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	for _, out := range []*destinations.Output{
		delivery(1, 1, 1), delivery(2, 1, 2), receipt("a", 0), delivery(1, 2, 3), delivery(2, 2, 4), forget(1), receipt("b", 0),
	} {
		o.push(out)
	}
	wantTaken(t, o, 2, "2.1 a")
	wantTaken(t, o, 4, "2.2 b")
	o.push(delivery(1, 3, 0))
	o.push(receipt("c", 0))
	o.push(delivery(2, 3, 0))
	o.push(over) // nothing is delivered to a session that has ended; receipts are
	wantTaken(t, o, 4, "c end")
}

func TestOutboxErrorIsFinal(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	for _, out := range []*destinations.Output{
		receipt("a", 3), evict, receipt("b", 0), delivery(1, 1, 0), evict, over,
	} {
		o.push(out)
	}
	wantTaken(t, o, 2, "")
	wantTaken(t, o, 3, "a ERROR end")
}

// TestOutboxTellsTaken holds that the newest delivery that left is known of
// each subscription, until that ends; but not if it was not wholly written.
func TestOutboxTellsTaken(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	client := delivery(3, 1, 0)
	client.Delivery.Ack = destinations.AckClient
	for _, out := range []*destinations.Output{delivery(1, 1, 0), delivery(2, 1, 0), delivery(1, 2, 0), client, delivery(1, 3, 9)} {
		o.push(out)
	}
	o.take(nil, 0, 1000)
	wantTags := func(what string, got map[uint32]uint64, want string) {
		t.Helper()
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", what, got, want)
		}
	}
	wantTags("of auto subscriptions", o.autoTaken(), "map[1:2 2:1]")
	wantTags("of all", o.takenUpTo(), "map[1:2 2:1 3:1]")
	o.push(forget(2))
	wantTags("after the end of subscription 2", o.takenUpTo(), "map[1:2 3:1]")
	o.cut([]destinations.Output{*delivery(2, 1, 0), *delivery(1, 2, 0), *receipt("a", 0), *client})
	wantTags("when the last were not wholly written", o.takenUpTo(), "map[1:1 3:0]")
}

// TestOutboxOfAbsentContents holds that what is only in the log does not leave
// before it was supplied, that no more is listed than there is memory for, and
// that what was forgotten while it was read stays forgotten.
func TestOutboxOfAbsentContents(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	for _, out := range []*destinations.Output{
		receipt("a", 0), absent(1, 1, 1000), delivery(1, 2, 0), absent(2, 1, 1000), absent(1, 3, 1000), absent(1, 4, 1000), absent(1, 5, 1),
	} {
		o.push(out)
	}
	wantTaken(t, o, 0, "a")
	wantTaken(t, o, 0, "")
	two := 2 * fetchCost(int64(absent(1, 1, 1000).Delivery.Size))
	for most, want := range map[int64]int{0: 1, two - 1: 1, two: 2, 3 * two: 5} {
		list, size := o.absent(nil, 0, 1000, most)
		if len(list) != want || size > max(most, two/2) {
			t.Errorf("for %d octets it lists %d of %d", most, len(list), size)
		}
	}
	if list, _ := o.absent(nil, 0, 3, 3*two); len(list) != 2 {
		t.Errorf("among 3 outputs it lists %d", len(list))
	}
	list, _ := o.absent(nil, 0, 1000, 2*two)
	for i := range list {
		list[i].Message = &destinations.Message{}
	}
	list[2].Message = nil // 1.3 is lost
	o.push(forget(2))
	o.supply(list)
	wantTaken(t, o, 0, "1.1 1.2 1.4")
	wantTaken(t, o, 0, "")
}

// TestOutboxBacklog holds that a reader waits while its client leaves too many
// receipts unread, and goes on when some were written or the writer ended.
func TestOutboxBacklog(t *testing.T) {
	t.Parallel()
	waitsUntil(t, (*outbox).waitForReader, func(o *outbox) {
		for o.receipts+receiptBytes(receipt("r", 1)) < maxReceiptBacklog {
			o.push(receipt("r", 1))
		}
		o.waitForReader()
		o.push(receipt("r", 1))
	}, map[string]func(*outbox){
		"written": func(o *outbox) { o.take(nil, 1, 1) },
		"closed":  (*outbox).close,
	})
}

// TestOutboxWaitsForWriter holds that who waits for the writer waits while it
// is busy.
func TestOutboxWaitsForWriter(t *testing.T) {
	t.Parallel()
	waitsUntil(t, (*outbox).waitForWriter, func(o *outbox) {
		o.push(receipt("r", 0))
		o.waitForWriter()
		o.take(nil, 0, 10)
	}, map[string]func(*outbox){
		"written": (*outbox).written,
		"closed":  (*outbox).close,
	})
}

// waitsUntil checks that wait, on a box that was prepared, returns only after
// each of the releases.
func waitsUntil(t *testing.T, wait, prepare func(*outbox), releases map[string]func(*outbox)) {
	for name, release := range releases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox()
				prepare(o)
				passed := false
				go func() {
					wait(o)
					passed = true
				}()
				synctest.Wait()
				if passed {
					t.Fatal("it does not wait")
				}
				release(o)
				synctest.Wait()
				if !passed {
					t.Error("it waits for ever")
				}
			})
		})
	}
}

func TestOutboxClosed(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	o.push(receipt("a", 0))
	o.close()
	if gate := o.push(receipt("b", 7)); gate != 0 {
		t.Errorf("something waits for %d in a closed box", gate)
	}
	wantTaken(t, o, 9, "")
}

// Nobody is told twice why it ends, and what is not durable does not count any more.
func TestConclude(t *testing.T) {
	t.Parallel()
	evict := destinations.Output{Kind: destinations.Evict, Err: errInternal}
	for name, c := range map[string]struct {
		prepare func(o *outbox)
		want    []destinations.OutputKind
	}{
		"nothing":         {func(*outbox) {}, []destinations.OutputKind{destinations.Evict, outputEnd}},
		"told":            {func(o *outbox) { o.push(&evict); o.take(nil, 0, 1) }, []destinations.OutputKind{outputEnd}},
		"to be told":      {func(o *outbox) { o.push(&evict) }, []destinations.OutputKind{destinations.Evict, outputEnd}},
		"not durable":     {func(o *outbox) { o.push(receipt("r", 7)) }, []destinations.OutputKind{destinations.Evict, outputEnd}},
		"behind that":     {func(o *outbox) { o.push(receipt("r", 7)); o.push(&evict) }, []destinations.OutputKind{destinations.Evict, outputEnd}},
		"ended already":   {func(o *outbox) { o.push(&destinations.Output{Kind: outputEnd}) }, []destinations.OutputKind{destinations.Evict, outputEnd}},
		"durable receipt": {func(o *outbox) { o.push(receipt("r", 5)) }, []destinations.OutputKind{destinations.Receipt, destinations.Evict, outputEnd}},
	} {
		o := newOutbox()
		c.prepare(o)
		o.conclude(5, errShutdown)
		o.push(receipt("late", 0))
		var got []destinations.OutputKind
		for _, out := range o.take(nil, 5, 10) {
			got = append(got, out.Kind)
		}
		if !slices.Equal(got, c.want) || o.receipts != 0 {
			t.Errorf("%s: got %v, want %v; %d octets of receipts are counted", name, got, c.want, o.receipts)
		}
	}
}

// What may leave without a permit is what comes before the first message, and CONNECTED counts as one; an ERROR takes the
// place of all messages ahead of it.
func TestExempt(t *testing.T) {
	t.Parallel()
	evict := destinations.Output{Kind: destinations.Evict, Err: errInternal}
	connected := destinations.Output{Kind: outputConnected}
	message := destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
		Label: &destinations.Label{Sub: 1}, Tag: 1, Message: &destinations.Message{},
	}}
	for name, c := range map[string]struct {
		outputs []*destinations.Output
		want    int
	}{
		"nothing":                 {nil, 0},
		"receipts":                {[]*destinations.Output{receipt("r", 0), receipt("s", 0)}, 2},
		"a message":               {[]*destinations.Output{&message, receipt("r", 0)}, 0},
		"a message behind":        {[]*destinations.Output{receipt("r", 0), &message, receipt("s", 0)}, 1},
		"CONNECTED":               {[]*destinations.Output{&connected, receipt("r", 0)}, 0},
		"an ERROR":                {[]*destinations.Output{&message, receipt("r", 0), &message, &evict}, 2},
		"an ERROR, and CONNECTED": {[]*destinations.Output{&connected, &evict}, 2},
	} {
		o := newOutbox()
		for _, out := range c.outputs {
			o.push(out)
		}
		got := o.exempt()
		if got != c.want {
			t.Errorf("%s: %d may leave, want %d", name, got, c.want)
		}
		for _, out := range o.take(nil, 0, max(1, got)) {
			if got > 0 && out.Kind == destinations.Deliver {
				t.Errorf("%s: a message leaves", name)
			}
		}
	}
}
