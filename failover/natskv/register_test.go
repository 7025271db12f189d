package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"baton/failover"
	"baton/failover/natskv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that would never end; nothing is measured by it.
const patience = 60 * time.Second

// record is a valid record that the nonce tells from others.
func record(nonce string) failover.Record {
	return failover.Record{
		Cluster: failover.ID{1}, Epoch: 1, Master: "a", InSync: []failover.Member{{Node: "a", JournalID: failover.ID{2}}},
		Nonce: nonce, By: "a", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// open gives a register on a server, closed at the end of the test. It is patient, as the machine may be busy.
func open(t *testing.T, o natskv.Options) *natskv.Register {
	t.Helper()
	if o.Bucket == "" {
		o.Bucket = "pairs"
	}
	if o.Key == "" {
		o.Key = "orders"
	}
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	r, err := natskv.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// eventually tries something that fails while a server starts, until it does not. What a server without a leader leaves
// unanswered is asked again.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		attempt, end := context.WithTimeout(ctx, time.Second)
		err := try(attempt)
		end()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// read waits until the register answers.
func read(t *testing.T, r failover.Register) failover.Reading {
	t.Helper()
	var reading failover.Reading
	eventually(t, func(ctx context.Context) (err error) {
		reading, err = r.Read(ctx)
		return err
	})
	return reading
}

// put sets what is in the register, whatever that was.
func put(t *testing.T, r failover.Register, nonce string) uint64 {
	t.Helper()
	revision, err := r.CAS(t.Context(), read(t, r).Revision, record(nonce))
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func wantRecord(t *testing.T, r failover.Register, revision uint64, nonce string) {
	t.Helper()
	if got := read(t, r); got.Revision != revision || !got.Found || !got.Record.Equal(record(nonce)) {
		t.Errorf("got %+v, want revision %d of %s", got, revision, nonce)
	}
}

func TestCompareAndSet(t *testing.T) {
	t.Parallel()
	r := open(t, natskv.Options{URLs: startServer(t).urls(), Create: true})
	if got := read(t, r); got.Found || got.Revision != 0 {
		t.Errorf("a register that never had a value reads as %+v", got)
	}
	first, err := r.CAS(t.Context(), 0, record("1"))
	if err != nil || first == 0 {
		t.Fatalf("revision %d, %v", first, err)
	}
	wantRecord(t, r, first, "1")
	second, err := r.CAS(t.Context(), first, record("2"))
	if err != nil || second <= first {
		t.Fatalf("revision %d, %v", second, err)
	}
	for _, expect := range []uint64{0, first, second + 1} {
		if _, err := r.CAS(t.Context(), expect, record("3")); !errors.Is(err, failover.ErrLost) {
			t.Errorf("a CAS at revision %d of %d: %v, want ErrLost", expect, second, err)
		}
	}
	wantRecord(t, r, second, "2")
	if s := r.State(); s.Err != nil || s.Answered.IsZero() || s.Server == "" {
		t.Errorf("state %+v, want a server that has answered", s)
	}
}

func TestCASRefusesWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	r := open(t, natskv.Options{URLs: startServer(t).urls(), Create: true})
	read(t, r)
	bad := record("1")
	bad.Master = "b"
	if _, err := r.CAS(t.Context(), 0, bad); err == nil || errors.Is(err, failover.ErrLost) {
		t.Errorf("got %v", err)
	}
	if got := read(t, r); got.Revision != 0 {
		t.Errorf("it was sent: %+v", got)
	}
}

// Of writers that race for one revision one wins, and what it wrote is there.
func TestOneOfEightWritersWinsEachRevision(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	race(t, s.urls(), 25)
}

// Nor do they overwrite one another where there was nothing before, and no bucket.
func TestOneOfEightWritersIsTheFirst(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var registers []*natskv.Register
	for range 8 {
		r := open(t, natskv.Options{URLs: s.urls(), Create: true})
		read(t, r)
		registers = append(registers, r)
	}
	if won := compete(t, registers, 0, 0); len(won) != 1 {
		t.Errorf("%d winners: %v", len(won), won)
	}
}

// race lets eight writers, each with a connection of its own, change a register that many times. The first of them makes the
// bucket, which takes a cluster a while.
func race(t *testing.T, urls []string, rounds int) {
	t.Helper()
	const writers = 8
	var registers []*natskv.Register
	for range writers {
		r := open(t, natskv.Options{URLs: urls, Create: true})
		registers = append(registers, r)
	}
	at := uint64(0)
	eventually(t, func(ctx context.Context) (err error) {
		at, err = registers[0].CAS(ctx, at, record("first"))
		if errors.Is(err, failover.ErrLost) { // one that was in doubt was done
			at, err = read(t, registers[0]).Revision, nil
		}
		return err
	})
	for _, r := range registers {
		wantRecord(t, r, at, "first")
	}
	for round := range rounds {
		won := compete(t, registers, at, round)
		if len(won) != 1 {
			t.Fatalf("round %d: %d winners: %v", round, len(won), won)
		}
		for revision, nonce := range won {
			at = revision
			wantRecord(t, registers[round%writers], revision, nonce)
		}
	}
}

// compete returns the nonces of the winners by their revisions.
func compete(t *testing.T, registers []*natskv.Register, at uint64, round int) map[uint64]string {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	won := map[uint64]string{}
	for i, r := range registers {
		all.Go(func() {
			nonce := fmt.Sprintf("%d-%d", round, i)
			revision, err := r.CAS(t.Context(), at, record(nonce))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won[revision] = nonce
			case !errors.Is(err, failover.ErrLost):
				t.Errorf("round %d: %v, want ErrLost", round, err)
			}
		})
	}
	all.Wait()
	return won
}

func TestTwoPairsShareABucket(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	orders := open(t, natskv.Options{URLs: s.urls(), Key: "orders", Create: true})
	prices := open(t, natskv.Options{URLs: s.urls(), Key: "prices.eu", Create: true})
	first := put(t, orders, "orders-1")
	if got := read(t, prices); got.Found || got.Revision != 0 {
		t.Errorf("prices sees %+v", got)
	}
	other, err := prices.CAS(t.Context(), 0, record("prices-1"))
	if err != nil {
		t.Fatal(err)
	}
	// What the other pair writes does not make the next CAS lose.
	second, err := orders.CAS(t.Context(), first, record("orders-2"))
	if err != nil {
		t.Fatal(err)
	}
	wantRecord(t, orders, second, "orders-2")
	wantRecord(t, prices, other, "prices-1")
}

// R9: what is missing is not empty, unless this node was in no pair yet.
func TestMissingBucketIsNotEmpty(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	member := open(t, natskv.Options{URLs: s.urls()})
	eventually(t, func(ctx context.Context) error {
		_, err := member.Read(ctx)
		return want(err, failover.ErrNoRegister)
	})
	if _, err := member.CAS(t.Context(), 0, record("1")); !errors.Is(err, failover.ErrNoRegister) {
		t.Errorf("a CAS of a member: %v, want ErrNoRegister", err)
	}
	fresh := open(t, natskv.Options{URLs: s.urls(), Create: true})
	if got := read(t, fresh); got.Found || got.Revision != 0 {
		t.Errorf("a fresh node reads %+v, want nothing", got)
	}
	if _, err := member.Read(t.Context()); !errors.Is(err, failover.ErrNoRegister) {
		t.Errorf("reading made the bucket: %v", err)
	}
	revision, err := fresh.CAS(t.Context(), 0, record("1"))
	if err != nil {
		t.Fatal(err)
	}
	wantRecord(t, member, revision, "1")

	// Once it was there, it is made by nobody.
	s.deleteBucket(t)
	if _, err := fresh.Read(t.Context()); !errors.Is(err, failover.ErrNoRegister) {
		t.Errorf("the bucket is gone: %v, want ErrNoRegister", err)
	}
	if _, err := fresh.CAS(t.Context(), 0, record("2")); err == nil || errors.Is(err, failover.ErrLost) {
		t.Errorf("a CAS without a bucket: %v, want an unknown outcome", err)
	}
	s.restart(t)
	eventually(t, func(ctx context.Context) error {
		_, err := fresh.CAS(ctx, 0, record("2"))
		return want(err, failover.ErrNoRegister)
	})
}

func want(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return fmt.Errorf("got %v, want %v", err, target)
}

// A key that was deleted is not empty either: a CAS at 0 must not go over it, one at the revision of the deletion does.
func TestDeletedKeyIsNotEmpty(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(jetstream.KeyValue, context.Context, string) error{
		"delete": func(kv jetstream.KeyValue, ctx context.Context, key string) error { return kv.Delete(ctx, key) },
		"purge":  func(kv jetstream.KeyValue, ctx context.Context, key string) error { return kv.Purge(ctx, key) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			r := open(t, natskv.Options{URLs: s.urls(), Create: true})
			first := put(t, r, "1")
			if err := remove(s.bucket(t), t.Context(), "orders"); err != nil {
				t.Fatal(err)
			}
			got := read(t, r)
			if got.Found || got.Revision <= first {
				t.Fatalf("got %+v, want nothing, with the revision of the deletion", got)
			}
			for _, expect := range []uint64{0, first} {
				if _, err := r.CAS(t.Context(), expect, record("2")); !errors.Is(err, failover.ErrLost) {
					t.Errorf("a CAS at %d: %v, want ErrLost", expect, err)
				}
			}
			again, err := r.CAS(t.Context(), got.Revision, record("2"))
			if err != nil {
				t.Fatal(err)
			}
			wantRecord(t, r, again, "2")
		})
	}
}

func TestValueThatIsNoRecord(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := open(t, natskv.Options{URLs: s.urls(), Create: true})
	put(t, r, "1")
	revision, err := s.bucket(t).Put(t.Context(), "orders", []byte(`{"version":2}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Read(t.Context())
	if !errors.Is(err, failover.ErrRecord) || !strings.Contains(err.Error(), "version 2") || got.Found {
		t.Errorf("got %+v, %v, want ErrRecord of version 2", got, err)
	}
	if _, err := r.CAS(t.Context(), revision, record("2")); err != nil {
		t.Errorf("it cannot be replaced: %v", err)
	}
}

// A bucket that may forget what it was told is no register.
func TestBucketThatForgetsIsRefused(t *testing.T) {
	t.Parallel()
	for want, config := range map[string]jetstream.StreamConfig{
		"TTL":               {MaxAge: time.Hour, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew},
		"memory":            {Storage: jetstream.MemoryStorage, Discard: jetstream.DiscardNew},
		"discard policy":    {Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld},
		"no key-value":      {Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, Subjects: []string{"$KV.pairs.orders"}},
		"a copy of another": {Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, Sources: []*jetstream.StreamSource{{Name: "KV_other"}}},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			config.Name, config.MaxMsgsPerSubject = "KV_pairs", 1
			if config.Subjects == nil {
				config.Subjects = []string{"$KV.pairs.>"}
			}
			if _, err := s.jetStream(t).CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			r := open(t, natskv.Options{URLs: s.urls(), Create: true})
			eventually(t, func(ctx context.Context) error {
				_, err := r.Read(ctx)
				if errors.Is(err, failover.ErrNoRegister) && strings.Contains(err.Error(), want) {
					return nil
				}
				return fmt.Errorf("got %v, want ErrNoRegister with %q", err, want)
			})
			if _, err := r.CAS(t.Context(), 0, record("1")); !errors.Is(err, failover.ErrNoRegister) {
				t.Errorf("a CAS: %v, want ErrNoRegister", err)
			}
		})
	}
}

// The value outlives the server, and so does the register's connection.
func TestServerThatStartsAnew(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := open(t, natskv.Options{URLs: s.urls(), Create: true})
	first := put(t, r, "1")
	s.stop()
	if _, err := r.Read(t.Context()); err == nil || errors.Is(err, failover.ErrNoRegister) {
		t.Errorf("a server that is away: %v, want that it cannot be reached", err)
	}
	if state := r.State(); state.Err == nil || state.Server != "" {
		t.Errorf("state %+v, want no server", state)
	}
	s.start(t)
	wantRecord(t, r, first, "1")
	second, err := r.CAS(t.Context(), first, record("2"))
	if err != nil {
		t.Fatal(err)
	}
	s.restart(t)
	wantRecord(t, r, second, "2")
}

// A CAS whose answer is lost is in doubt, and not sent again by itself; here it was done.
func TestCASWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	relay := startRelay(t, s.address())
	direct := open(t, natskv.Options{URLs: s.urls(), Create: true})
	first := put(t, direct, "1")
	r := open(t, natskv.Options{URLs: []string{"nats://" + relay.address()}, Timeout: 2 * time.Second})
	wantRecord(t, r, first, "1")
	relay.swallowAnswers()
	_, err := r.CAS(t.Context(), first, record("2"))
	if err == nil || errors.Is(err, failover.ErrLost) || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("got %v, want an unknown outcome", err)
	}
	wantRecord(t, direct, first+1, "2")
	relay.cut()
	wantRecord(t, r, first+1, "2")
	if got := s.messages(t); got != first+1 {
		t.Errorf("%d messages were stored, want %d", got, first+1)
	}
}

// Nobody waits for an answer on a connection that is gone.
func TestLostConnectionEndsWhatWaits(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	relay := startRelay(t, s.address())
	r := open(t, natskv.Options{URLs: []string{"nats://" + relay.address()}, Create: true})
	first := put(t, r, "1")
	relay.swallowAnswers()
	outcome := make(chan error)
	go func() {
		_, err := r.CAS(t.Context(), first, record("2"))
		outcome <- err
	}()
	direct := open(t, natskv.Options{URLs: s.urls()})
	eventually(t, func(ctx context.Context) error {
		if got, err := direct.Read(ctx); err != nil || got.Revision == first {
			return fmt.Errorf("it has not arrived: %+v, %w", got, err)
		}
		return nil
	})
	relay.cut()
	if err := <-outcome; err == nil || errors.Is(err, failover.ErrLost) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("got %v, want that the connection was lost", err)
	}
}

// What could not be sent is not kept to be sent later.
func TestCASWithoutAConnectionIsNeverSent(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := open(t, natskv.Options{URLs: s.urls(), Create: true})
	first := put(t, r, "1")
	s.stop()
	for range 3 {
		if _, err := r.CAS(t.Context(), first, record("2")); err == nil || errors.Is(err, failover.ErrLost) {
			t.Errorf("got %v, want an unknown outcome", err)
		}
	}
	s.start(t)
	wantRecord(t, r, first, "1")
	if _, err := r.CAS(t.Context(), first, record("3")); err != nil {
		t.Error(err)
	}
}

// A server that accepts and says nothing is no server; the next one of the list is used.
func TestSilentServerIsPassedOver(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	urls := s.urls()
	for range 3 { // the list is tried in any order
		urls = append(urls, "nats://"+silent(t))
	}
	read(t, open(t, natskv.Options{URLs: urls, Create: true, Timeout: 300 * time.Millisecond}))
}

// A server that goes silent while nothing is asked of it is left.
func TestServerThatGoesSilentIsLeft(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	relay := startRelay(t, s.address())
	r := open(t, natskv.Options{URLs: []string{"nats://" + relay.address()}, Create: true, Timeout: time.Second})
	read(t, r)
	relay.swallowAnswers()
	eventually(t, func(context.Context) error {
		if relay.connections() < 2 {
			return errors.New("it has not connected again")
		}
		return nil
	})
	relay.pass()
	read(t, r)
}

// Where the library gives a server up for good, we do not.
func TestServerThatSendsUsAwayIsAskedAgain(t *testing.T) {
	t.Parallel()
	address, sentAway := rude(t)
	open(t, natskv.Options{URLs: []string{"nats://" + address}})
	for range 3 {
		<-sentAway
	}
}

func TestWrongTokenIsSaidAndTriedAgain(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, "the right token")
	const wrong = "the wrong token"
	r := open(t, natskv.Options{URLs: s.urls(), Token: wrong, Create: true})
	eventually(t, func(ctx context.Context) error {
		_, err := r.Read(ctx)
		switch {
		case err == nil:
			return errors.New("it was let in")
		case strings.Contains(err.Error(), wrong):
			t.Errorf("the token shows: %v", err)
		case !errors.Is(err, nats.ErrAuthorization) && !strings.Contains(strings.ToLower(err.Error()), "authorization violation"):
			return fmt.Errorf("got %w, want an authorization violation", err)
		}
		return nil
	})
	// It goes on trying: what the operator corrects at the server is enough.
	s.stop()
	s.token = wrong
	s.start(t)
	put(t, r, "1")
}

func TestLoginInTheAddressDoesNotShow(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, "a password of nobody")
	r := open(t, natskv.Options{URLs: []string{"nats://user:swordfish@" + s.address()}})
	var said error
	eventually(t, func(ctx context.Context) error {
		if _, said = r.Read(ctx); !strings.Contains(strings.ToLower(said.Error()), "authorization") {
			return said
		}
		return nil
	})
	_, bad := natskv.Open(natskv.Options{URLs: []string{"nats://user:swordfish@host:%"}})
	if bad == nil {
		t.Error("an address that is none was taken")
	}
	if text := fmt.Sprint(said, bad, r.State()); strings.Contains(text, "swordfish") {
		t.Errorf("the password shows: %s", text)
	}
}

// What docs/failover.md says that a login needs is enough: less to see and change it, and a little more to make the bucket.
func TestRightsThatAreNeeded(t *testing.T) {
	t.Parallel()
	needed := []string{"$KV.pairs.>", "$JS.API.STREAM.INFO.KV_pairs", "$JS.API.STREAM.MSG.GET.KV_pairs"}
	s := &natsServer{options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
		Users: []*server.User{
			user("maker", append(needed, "$JS.API.INFO", "$JS.API.STREAM.CREATE.KV_pairs")...),
			user("broker", needed...),
		},
	}}
	s.start(t)
	t.Cleanup(s.stop)
	maker := open(t, natskv.Options{URLs: []string{"nats://maker:maker@" + s.address()}, Create: true})
	first := put(t, maker, "1")
	broker := open(t, natskv.Options{URLs: []string{"nats://broker:broker@" + s.address()}})
	wantRecord(t, broker, first, "1")
	second, err := broker.CAS(t.Context(), first, record("2"))
	if err != nil {
		t.Fatal(err)
	}
	wantRecord(t, maker, second, "2")
}

// user may publish to some subjects; its password is its name.
func user(name string, publish ...string) *server.User {
	return &server.User{Username: name, Password: name, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}}
}

func TestWatchTellsEveryChange(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	watched := open(t, natskv.Options{URLs: s.urls(), Create: true, Interval: 10 * time.Millisecond})
	writer := open(t, natskv.Options{URLs: s.urls(), Create: true})
	read(t, watched)
	seen := watch(t, watched)
	if got := <-seen; got.err != nil || got.reading.Revision != 0 {
		t.Fatalf("first %+v, want nothing", got)
	}
	first := put(t, writer, "1")
	if got := <-seen; got.reading.Revision != first || !got.reading.Record.Equal(record("1")) {
		t.Fatalf("got %+v, want revision %d", got, first)
	}
	// Nothing is said twice, and an outage is said once; afterwards it goes on.
	s.stop()
	if got := <-seen; got.err == nil || errors.Is(got.err, failover.ErrNoRegister) {
		t.Fatalf("got %+v, want that it cannot be reached", got)
	}
	s.start(t)
	if got := <-seen; got.reading.Revision != first || got.err != nil {
		t.Fatalf("got %+v, want revision %d again", got, first)
	}
	second := put(t, writer, "2")
	if got := <-seen; got.reading.Revision != second || got.err != nil {
		t.Fatalf("got %+v, want revision %d", got, second)
	}
	s.deleteBucket(t)
	if got := <-seen; !errors.Is(got.err, failover.ErrNoRegister) {
		t.Fatalf("got %+v, want ErrNoRegister", got)
	}
}

// That the connection is lost is told at once, however long it is until the next look.
func TestWatchTellsALostConnectionAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := open(t, natskv.Options{URLs: s.urls(), Create: true, Interval: time.Hour})
	read(t, r)
	seen := watch(t, r)
	if got := <-seen; got.err != nil {
		t.Fatal(got.err)
	}
	s.stop()
	if got := <-seen; got.err == nil {
		t.Errorf("got %+v, want that it cannot be reached", got)
	}
}

type sight struct {
	reading failover.Reading
	err     error
}

// watch gives what Watch calls, until the end of the test.
func watch(t *testing.T, r *natskv.Register) <-chan sight {
	t.Helper()
	seen := make(chan sight)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Watch(ctx, func(reading failover.Reading, err error) {
			select {
			case seen <- sight{reading, err}:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return seen
}

func TestClosedRegister(t *testing.T) {
	t.Parallel()
	r := open(t, natskv.Options{URLs: startServer(t).urls(), Create: true})
	put(t, r, "1")
	r.Close()
	if _, err := r.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("got %v", err)
	}
	if _, err := r.CAS(t.Context(), 1, record("2")); err == nil || errors.Is(err, failover.ErrLost) {
		t.Errorf("got %v", err)
	}
	r.Close() // once more does nothing
}

// A register in a cluster outlives the server that leads it, and one of eight wins there too.
func TestCluster(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.urls()...)
	}
	race(t, urls, 5)
	r := open(t, natskv.Options{URLs: urls})
	before := read(t, r)
	stopped := leader(t, servers)
	stopped.stop()
	var after uint64
	eventually(t, func(ctx context.Context) (err error) { // an election takes its time
		after, err = r.CAS(ctx, before.Revision, record("without"))
		if errors.Is(err, failover.ErrLost) { // one that was in doubt was done
			after, err = read(t, r).Revision, nil
		}
		return err
	})
	stopped.start(t)
	wantRecord(t, r, after, "without")
}
