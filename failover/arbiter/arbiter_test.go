package arbiter_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/failover"
	"baton/failover/arbiter"
	"baton/failover/natskv"
	"baton/journal"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "a token of these tests"

// patience ends a test that would never end; nothing is measured by it.
const patience = 60 * time.Second

func start(t *testing.T, data string) *arbiter.Arbiter {
	t.Helper()
	a, err := arbiter.Start(t.Context(), options(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func options(data string) arbiter.Options {
	return arbiter.Options{Listen: "127.0.0.1:0", Data: data, Bucket: "pairs", Token: token}
}

// open gives a register at an arbiter, as a broker has one.
func open(t *testing.T, address string) *natskv.Register {
	t.Helper()
	r, err := natskv.Open(natskv.Options{URLs: []string{"nats://" + address}, Token: token, Bucket: "pairs", Key: "orders", Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func record(nonce string) failover.Record {
	return failover.Record{
		Cluster: failover.ID{1}, Epoch: 1, Master: "a", InSync: []failover.Member{{Node: "a", JournalID: failover.ID{2}}},
		Nonce: nonce, By: "a", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// read waits until the register answers.
func read(t *testing.T, r *natskv.Register) failover.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		reading, err := r.Read(ctx)
		if err == nil {
			return reading
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A broker that may not make a bucket finds it, and what it put there is there in the arbiter's next life.
func TestRegisterOfAnArbiter(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "new", "arbiter")
	a, err := arbiter.Start(t.Context(), options(data))
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, a.Address())
	if got := read(t, r); got.Found || got.Revision != 0 {
		t.Errorf("a new register has %+v", got)
	}
	revision, err := r.CAS(t.Context(), 0, record("1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, start(t, data).Address())
	if got := read(t, again); got.Revision != revision || !got.Record.Equal(record("1")) {
		t.Errorf("got %+v, want revision %d", got, revision)
	}
	if _, err := again.CAS(t.Context(), 0, record("2")); !errors.Is(err, failover.ErrLost) {
		t.Errorf("a CAS at 0: %v, want ErrLost", err)
	}
}

// A1. What a kill leaves cannot show it, for the system writes what the process has not synced; a loss of power would.
func TestArbiterSyncsEachChange(t *testing.T) {
	t.Parallel()
	if !start(t, t.TempDir()).SyncsAlways() {
		t.Error("changes are confirmed before they are on disk")
	}
}

func TestWhoHasNoTokenStaysOut(t *testing.T) {
	t.Parallel()
	a := start(t, t.TempDir())
	for name, option := range map[string]nats.Option{
		"nothing":          nats.Name("nobody"),
		"another token":    nats.Token("another token"),
		"an empty token":   nats.Token(""),
		"a user alone":     nats.UserInfo(token, ""),
		"another password": nats.UserInfo("broker", "another"),
	} {
		nc, err := nats.Connect("nats://"+a.Address(), option)
		if err == nil {
			nc.Close()
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v, want an authorization violation", name, err)
		}
	}
	nc, err := nats.Connect("nats://"+a.Address(), nats.UserInfo("broker", token))
	if err != nil {
		t.Fatalf("the token as a password: %v", err)
	}
	nc.Close()
}

// An arbiter without a token would let everybody in.
func TestArbiterWithoutTokenDoesNotStart(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Token = ""
	a, err := arbiter.Start(t.Context(), o)
	if err == nil {
		_ = a.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "there is no token") {
		t.Errorf("got %v", err)
	}
}

// What has the token has the keys of the bucket and nothing else of NATS.
func TestArbiterIsNoOtherServer(t *testing.T) {
	t.Parallel()
	a := start(t, t.TempDir())
	refused := make(chan error, 16)
	nc, err := nats.Connect("nats://"+a.Address(), nats.Token(token),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	wantRefused := func(what string) {
		t.Helper()
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v, want a permission violation", what, err)
		}
	}
	for _, subject := range []string{
		"orders", "$KV.other.orders", "$JS.API.STREAM.CREATE.other", "$JS.API.STREAM.DELETE.KV_pairs", "$JS.API.STREAM.PURGE.KV_pairs",
		"$JS.API.STREAM.UPDATE.KV_pairs", "$JS.API.CONSUMER.CREATE.KV_pairs", "$SYS.REQ.SERVER.PING",
	} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		wantRefused("publish to " + subject)
	}
	for _, subject := range []string{">", "orders", "$KV.>", "$JS.>", "$SYS.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		wantRefused("subscribe to " + subject)
	}
	if got := nc.MaxPayload(); got > 16<<10 {
		t.Errorf("it takes payloads of %d bytes", got)
	}
}

func TestOneArbiterADirectory(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	first := start(t, data)
	_, err := arbiter.Start(t.Context(), options(data))
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), data) {
		t.Errorf("got %v, want ErrLocked that names %s", err, data)
	}
	read(t, open(t, first.Address())) // and the first one goes on
}

func TestArbiterThatCannotStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	noDirectory := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(noDirectory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want   string
		change func(*arbiter.Options)
	}{
		{taken.Addr().String(), func(o *arbiter.Options) { o.Listen = taken.Addr().String() }},
		{"listen on", func(o *arbiter.Options) { o.Listen = "here" }},
		{"listen on", func(o *arbiter.Options) { o.Listen = "127.0.0.1:x" }},
		{noDirectory, func(o *arbiter.Options) { o.Data = noDirectory }},
	} {
		data := t.TempDir()
		o := options(data)
		tc.change(&o)
		if a, err := arbiter.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want an error with %q", err, tc.want)
			if err == nil {
				a.Close()
			}
			continue
		}
		if o.Data == data {
			start(t, data) // nothing holds the directory
		}
	}
}

// A bucket of that name that forgets is refused at the start, and not when it has forgotten.
func TestArbiterRefusesABucketThatForgets(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	arbiter.MakeBucketForTest(t, data, jetstream.KeyValueConfig{Bucket: "pairs", TTL: time.Hour})
	_, err := arbiter.Start(t.Context(), options(data))
	if !errors.Is(err, failover.ErrNoRegister) || !strings.Contains(err.Error(), "TTL") {
		t.Errorf("got %v", err)
	}
}

func TestWaitTellsThatJetStreamHasFailed(t *testing.T) {
	t.Parallel()
	a := start(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Wait(ctx); err != nil {
		t.Errorf("told to end: %v", err)
	}
	if err := a.FailForTest(); err != nil {
		t.Fatal(err)
	}
	if err := a.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "JetStream has failed") {
		t.Errorf("got %v", err)
	}
}

// Changes leave little behind: a pair writes its register every few seconds for years.
func TestChangesDoNotFillTheDisk(t *testing.T) {
	t.Parallel()
	const changes, mostBytes = 7000, 5 << 20
	data := t.TempDir()
	r := open(t, start(t, data).Address())
	large := record("again")
	for name := 'b'; name < 'g'; name++ {
		large.InSync = append(large.InSync, failover.Member{Node: strings.Repeat(string(name), 64), JournalID: failover.ID{3}})
	}
	text, err := large.Encode()
	if err != nil || changes*len(text) <= mostBytes {
		t.Fatalf("a record of %d bytes is too small to tell anything (%v)", len(text), err)
	}
	revision := read(t, r).Revision
	for range changes {
		if revision, err = r.CAS(t.Context(), revision, large); err != nil {
			t.Fatal(err)
		}
	}
	if got := bytesIn(data); got > mostBytes {
		t.Errorf("%d bytes on disk after %d changes of %d, want at most %d", got, changes, len(text), mostBytes)
	}
}

// bytesIn sums up the files below a directory, of which some may go meanwhile.
func bytesIn(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
