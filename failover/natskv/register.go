package natskv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"baton/failover"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Codes of JetStream that tell that a CAS was refused: the stream has another sequence for this subject, or another
// change is on its way to the replicas.
const (
	wrongLastSequence         = 10071
	wrongLastSequenceConstant = 10164
)

// Options say where the register is. URLs, Bucket and Key are needed.
type Options struct {
	URLs     []string // nats:// or tls://HOST[:PORT], perhaps with USER:PASSWORD@; any one that answers is used
	Token    string   // that the servers ask for; empty: none
	Bucket   string
	Key      string
	Replicas int  // of a bucket that is made; 0: 3 in a cluster, 1 on a single server
	Create   bool // a bucket that is missing is an empty register, which the first CAS makes; for a node that was in no pair yet (R9)

	Name     string        // of the connection, for the operator of NATS; 0: baton
	Timeout  time.Duration // of one try; 0: 1 s
	Interval time.Duration // of Watch; 0: 500 ms
	Logger   *zap.Logger   // nil: none
}

// Register is a failover.Register on NATS. It connects by itself, again and again until [Register.Close].
type Register struct {
	options Options
	stream  string // of the bucket
	subject string // of the key
	link    *link

	mu     sync.Mutex // guards what follows; never held during I/O
	known  *nats.Conn // the connection on which the bucket was found good
	linked uint64     // its connect count then
	found  bool       // the bucket was there once: from then on a missing one is a loss
	state  State
}

var errUnasked = errors.New("not asked yet")

var _ failover.Register = (*Register)(nil)

// State is how it stands between us and the register, for status and alarms.
type State struct {
	Server   string    // that we are connected to, without password; empty: to none
	Answered time.Time // when the register answered last; zero: never
	Err      error     // of the last try; nil: it was answered
}

// Open gives a register and begins to connect to it. It does not wait for a server; the error is of options that cannot be
// right.
func Open(o Options) (*Register, error) {
	o = o.withDefaults()
	if err := checkURLs(o.URLs); err != nil {
		return nil, err
	}
	r := &Register{
		options: o,
		stream:  streamOf(o.Bucket),
		subject: "$KV." + o.Bucket + "." + o.Key,
		state:   State{Err: errUnasked},
	}
	r.link = openLink(o)
	return r, nil
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "baton"
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.Interval == 0 {
		o.Interval = 500 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// Close ends the connection. What is under way fails, and so does everything from now on.
func (r *Register) Close() { r.link.close() }

// State is how it stands at this moment.
func (r *Register) State() State {
	server := r.link.server()
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.state
	state.Server = server
	return state
}

// CAS is failover.Register's. A record that cannot be encoded is an error like any other.
func (r *Register) CAS(ctx context.Context, expect uint64, record failover.Record) (uint64, error) {
	value, err := record.Encode()
	if err != nil {
		return 0, err
	}
	try, end := r.try(ctx)
	defer end()
	revision, err := r.cas(try, expect, value)
	err = explained(try, err)
	if errors.Is(err, failover.ErrLost) {
		r.note(nil)
	} else {
		r.note(err)
	}
	return revision, err
}

func (r *Register) cas(ctx context.Context, expect uint64, value []byte) (uint64, error) {
	js, err := r.attach(ctx, expect == 0)
	if err != nil {
		return 0, err
	}
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: r.subject, Data: value},
		jetstream.WithExpectStream(r.stream),
		jetstream.WithExpectLastSequencePerSubject(expect),
		jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, casError(err)
	}
	return ack.Sequence, nil
}

func casError(err error) error {
	var refused *jetstream.APIError
	if errors.As(err, &refused) && (refused.ErrorCode == wrongLastSequence || refused.ErrorCode == wrongLastSequenceConstant) {
		return fmt.Errorf("%w (%s)", failover.ErrLost, refused.Description)
	}
	return fmt.Errorf("outcome unknown: %w", err)
}

// Read is failover.Register's.
func (r *Register) Read(ctx context.Context) (failover.Reading, error) {
	try, end := r.try(ctx)
	defer end()
	reading, err := r.read(try)
	err = explained(try, err)
	r.note(err)
	return reading, err
}

func (r *Register) read(ctx context.Context) (failover.Reading, error) {
	js, err := r.attach(ctx, false)
	switch {
	case errors.Is(err, errToBeMade):
		return failover.Reading{}, nil
	case err != nil:
		return failover.Reading{}, err
	}
	return lastValue(ctx, js.Conn(), r.stream, r.subject)
}

var errConnectionLost = errors.New("the connection was lost")

// try is the time in which an answer is awaited: no longer than the connection is there. end is due.
func (r *Register) try(ctx context.Context) (try context.Context, end func()) {
	ctx, lost := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.link.untilLost(), func() { lost(errConnectionLost) })
	try, cancel := context.WithTimeoutCause(ctx, r.options.Timeout, fmt.Errorf("no answer for %s", r.options.Timeout))
	return try, func() {
		cancel()
		stop()
		lost(nil)
	}
}

// explained says why a try ended, where that is why there is an error.
func explained(try context.Context, err error) error {
	if cause := context.Cause(try); err != nil && cause != try.Err() {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// Watch is failover.Register's.
func (r *Register) Watch(ctx context.Context, fn func(failover.Reading, error)) {
	ticker := time.NewTicker(r.options.Interval)
	defer ticker.Stop()
	var last view
	for first := true; ; first = false {
		linked := r.link.changed()
		reading, err := r.Read(ctx)
		if ctx.Err() != nil {
			return
		}
		if now := viewOf(reading, err); first || !now.equal(last) {
			last = now
			fn(reading, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-linked:
		case <-ticker.C:
		}
	}
}

// view is a Reading, or the kind of the error in its place: two errors of one kind are no change.
type view struct {
	reading failover.Reading
	kind    error // nil, failover.ErrNoRegister, failover.ErrRecord or errUnreachable
}

var errUnreachable = errors.New("unreachable")

func viewOf(reading failover.Reading, err error) view {
	if err == nil {
		return view{reading: reading}
	}
	for _, kind := range []error{failover.ErrNoRegister, failover.ErrRecord} {
		if errors.Is(err, kind) {
			return view{kind: kind}
		}
	}
	return view{kind: errUnreachable}
}

func (v view) equal(other view) bool {
	return v.kind == other.kind && v.reading.Revision == other.reading.Revision && v.reading.Found == other.reading.Found &&
		v.reading.Record.Equal(other.reading.Record)
}

// note keeps the outcome of a try, and logs when the register is lost and when it is back.
func (r *Register) note(err error) {
	r.mu.Lock()
	before := r.state.Err
	r.state.Err = err
	if err == nil {
		r.state.Answered = time.Now()
	}
	r.mu.Unlock()
	switch {
	case err == nil && before != nil:
		r.options.Logger.Info("the register answers", zap.String("server", r.link.server()))
	case err != nil && (before == nil || before == errUnasked) && !errors.Is(err, context.Canceled):
		r.options.Logger.Warn("the register does not answer", zap.Error(err))
	}
}
