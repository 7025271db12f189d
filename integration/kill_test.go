package integration

import (
	"cmp"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/history"
	"baton/integration/process"
)

var (
	cycles = flag.Int("cycles", 50, "how often TestKill9 kills the broker")
	seed   = flag.Uint64("seed", 0, "of the random choices of TestKill9 and TestPowerLoss; 0: a new one each run")
)

// kill -9 under load, again and again on the same data directory: nothing receipted is lost, nothing acknowledged with a
// receipt comes back, every second delivery is flagged, transactions happen entirely or not at all.
func TestKill9(t *testing.T) {
	t.Parallel()
	t.Logf("%d cycles, -seed %d", *cycles, *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	dir, err := os.MkdirTemp("", "baton-kill9-")
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, "BATON_QUEUES_MAX_DELIVERIES=65535", "BATON_JOURNAL_SEGMENT=256KiB", "BATON_JOURNAL_CHECKPOINT_EVERY=100ms", expiryPolicy)
	o.Data = filepath.Join(dir, "data")
	l := newLoad()
	defer keepEvidence(t, dir, l.history)

	requests := false // some were found in the journal
	for cycle := range *cycles {
		o.Listen = killOnce(t, o, l, rng, cycle)
		requests = lookForAnswers(t, o.Data) || requests
		if rng.IntN(5) == 0 {
			killWhileRecovering(t, o, rng)
		}
	}
	drain(t, o, l)
	judge(t, l)
	if !requests {
		t.Error("no request was in the journal: nothing shows that an answer would have been found")
	}
	if l.answers.Load() == 0 {
		t.Error("no answer came to a temporary queue")
	}
	t.Logf("%d answers in temporary queues", l.answers.Load())
}

// killOnce runs one broker until the clients have noted a random number of operations, and kills it. It returns the address
// to use again.
func killOnce(t *testing.T, o process.Options, l *load, rng *rand.Rand, cycle int) (addr string) {
	t.Helper()
	b := start(t, o)
	rest(rng)
	chosen := chooseMix(rng)
	t.Logf("cycle %d: %v", cycle, chosen)
	wait := l.start(t.Context(), b.Addr, rng, chosen)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	stalled := l.history.Await(ctx, l.history.Len()+1+rng.IntN(4000))
	cancel()
	b.Kill()
	// Everything that the dead broker has sent must be noted before the next one sends.
	if err := wait(); err != nil || stalled != nil {
		t.Fatalf("cycle %d: %v, %v\n%s", cycle, stalled, err, b.Log())
	}
	return b.Addr
}

// rest leaves a broker without work for a while, one time in four: then it writes checkpoints and cleans its journal, and is
// still at it when the load begins.
func rest(rng *rand.Rand) {
	if rng.IntN(4) == 0 {
		time.Sleep(time.Duration(rng.Int64N(int64(1500 * time.Millisecond))))
	}
}

// killWhileRecovering kills a broker that has just been started, before or after it is ready.
func killWhileRecovering(t *testing.T, o process.Options, rng *rand.Rand) {
	t.Helper()
	log, err := process.StartAndKill(o, time.Duration(rng.Int64N(int64(100*time.Millisecond))))
	if err != nil {
		t.Fatal(err)
	}
	checkLog(t, log)
}

// drain takes everything that is left, acknowledges it with receipts, and looks again.
func drain(t *testing.T, o process.Options, l *load) {
	t.Helper()
	b := start(t, o)
	drainFrom(t, b, l)
	terminate(t, b)
}

func drainFrom(t *testing.T, b *process.Broker, l *load) {
	t.Helper()
	for queue := range places {
		if p := places[queue].producer; p != 0 && l.numbers[p] == 0 {
			continue // its end would take a second to come, twice
		}
		drainQueue(t, b, l, uint32(queue))
		lookAgain(t, b, l, uint32(queue))
	}
}

// drainQueue knows that the queue is empty when the last message in it is its own.
func drainQueue(t *testing.T, b *process.Broker, l *load, queue uint32) {
	t.Helper()
	c := subscribeAndSendEnd(t, b, l, queue)
	number := l.clients.Add(1)
	covers := map[string]history.ID{}
	for ended := false; !ended || len(covers) > 0; {
		f := next(t, c)
		if f.Command == "RECEIPT" {
			l.history.Add(history.Op{Kind: history.AckReceipted, Client: number, Message: covers[f.Header("receipt-id")], Queue: queue})
			delete(covers, f.Header("receipt-id"))
			continue
		}
		if f.Has("x-end") {
			ended = ended || f.Header("x-end") == strconv.Itoa(int(queue))
			write(t, c, "ACK", "id", f.Header("ack"))
			continue
		}
		op, err := deliveredOp(f, number)
		if err != nil {
			t.Fatal(err)
		}
		l.history.Add(op)
		l.history.Add(history.Op{Kind: history.Acked, Client: number, Message: op.Message, Queue: queue})
		covers[op.Message.String()] = op.Message
		write(t, c, "ACK", "id", f.Header("ack"), "receipt", op.Message.String())
	}
	if err := c.Call("DISCONNECT", nil); err != nil {
		t.Fatal(err)
	}
	c.Close() // so that the broker need not linger
}

func lookAgain(t *testing.T, b *process.Broker, l *load, queue uint32) {
	t.Helper()
	c := subscribeAndSendEnd(t, b, l, queue)
	defer c.Close()
	for {
		f := next(t, c)
		if f.Header("x-end") == strconv.Itoa(int(queue)) {
			return
		}
		if !f.Has("x-end") {
			id, _ := history.ParseID(f.Header("x-id"))
			l.history.Add(history.Op{Kind: history.Left, Message: copyOf(id, queue), Queue: queue})
		}
		write(t, c, "ACK", "id", f.Header("ack"))
	}
}

func subscribeAndSendEnd(t *testing.T, b *process.Broker, l *load, queue uint32) *client.Conn {
	t.Helper()
	c := dial(t, b, client.Options{ClientID: places[queue].client, Dial: l.reach})
	if err := subscribeTo(c, "client-individual", queue); err != nil {
		t.Fatal(err)
	}
	// The end of a topic's durable subscription comes to its other ones too.
	write(t, c, "SEND", append(places[queue].end, "destination", cmp.Or(places[queue].to, places[queue].destination), "x-end", strconv.Itoa(int(queue)))...)
	return c
}

func write(t *testing.T, c *client.Conn, command string, headers ...string) {
	t.Helper()
	if err := c.Write(command, nil, headers...); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, c *client.Conn) *client.Frame {
	t.Helper()
	f, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func judge(t *testing.T, l *load) {
	t.Helper()
	report := history.Check(l.history.Ops())
	t.Log(report)
	if !report.Valid() {
		t.Error("the history is not valid")
	}
	// A connection that ends gives back at most what it may hold.
	if most := int(l.clients.Load()) * 2 * prefetch; report.Count(history.DupFlagged) > most {
		t.Errorf("%d flagged duplicates, but %d connections can have held only %d messages",
			report.Count(history.DupFlagged), l.clients.Load(), most)
	}
	if report.Promised == 0 || report.Count(history.DupFlagged) == 0 {
		t.Error("the load was too light to show anything")
	}
}

// keepEvidence removes the data directory after a success, and else leaves it with the history beside it.
func keepEvidence(t *testing.T, dir string, h *history.History) {
	if !t.Failed() {
		os.RemoveAll(dir)
		return
	}
	err := os.MkdirAll(dir, 0o700)
	var file *os.File
	if err == nil {
		file, err = os.Create(filepath.Join(dir, "history.txt"))
	}
	if err == nil {
		_, err = h.WriteTo(file)
		file.Close()
	}
	t.Logf("repeat with -seed %d; data and history kept in %s (%v)", *seed, dir, err)
}
