package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"baton/failover"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamNotFound  = 10059
	messageNotFound = 10037

	clusterReplicas = 3
	maxValueBytes   = 4096     // a record of 1 KiB with the headers of its message
	maxBucketBytes  = 16 << 20 // some thousand pairs
)

// errToBeMade: there is no bucket, and this node may make it.
var errToBeMade = errors.New("there is no bucket yet")

func streamOf(bucket string) string { return "KV_" + bucket }

// attach makes sure, once a connection, that the bucket is there and can be trusted. With create it makes a missing one, if
// this node may.
func (r *Register) attach(ctx context.Context, create bool) (jetstream.JetStream, error) {
	nc, err := r.link.ready()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	if r.attached(nc) {
		return js, nil
	}
	err = CheckBucket(ctx, js, r.options.Bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) && r.mayCreate() {
		if !create {
			return nil, errToBeMade
		}
		err = MakeBucket(ctx, js, r.options.Bucket, r.options.Replicas)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = fmt.Errorf("bucket %s is being made", r.options.Bucket) // by the other node, on the other servers
		}
	}
	if err != nil {
		return nil, err
	}
	r.setAttached(nc)
	return js, nil
}

func (r *Register) attached(nc *nats.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known == nc && r.linked == nc.Stats().Reconnects
}

func (r *Register) setAttached(nc *nats.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.linked, r.found = nc, nc.Stats().Reconnects, true
}

func (r *Register) mayCreate() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.options.Create && !r.found
}

// MakeBucket makes a bucket for registers, if it is not there yet, and checks it. Replicas 0 are 3 in a cluster and 1 on a
// single server.
func MakeBucket(ctx context.Context, js jetstream.JetStream, bucket string, replicas int) error {
	if replicas == 0 {
		replicas = 1
		if js.Conn().ConnectedClusterName() != "" {
			replicas = clusterReplicas
		}
	}
	_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:       bucket,
		Description:  "Registers of Baton pairs: who is master",
		History:      1,
		Storage:      jetstream.FileStorage,
		Replicas:     replicas,
		MaxValueSize: maxValueBytes,
		MaxBytes:     maxBucketBytes,
	})
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return fmt.Errorf("make bucket %s: %w", bucket, err)
	}
	return CheckBucket(ctx, js, bucket)
}

// CheckBucket makes sure that a bucket is there and keeps what is put into it. When not, the error wraps
// failover.ErrNoRegister; other errors are of a server that does not answer.
func CheckBucket(ctx context.Context, js jetstream.JetStream, bucket string) error {
	stream, err := js.Stream(ctx, streamOf(bucket))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: NATS has no bucket %s (%w)", failover.ErrNoRegister, bucket, err)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	if flaw := flawOf(stream.CachedInfo().Config, bucket); flaw != "" {
		return fmt.Errorf("%w: bucket %s %s", failover.ErrNoRegister, bucket, flaw)
	}
	return nil
}

// flawOf says why a bucket cannot be trusted; empty when it can.
func flawOf(c jetstream.StreamConfig, bucket string) string {
	switch {
	case c.MaxAge != 0:
		return fmt.Sprintf("forgets what is older than %s: it must have no TTL", c.MaxAge)
	case c.Storage != jetstream.FileStorage:
		return "is kept in memory alone: it must be on disk"
	case c.Discard != jetstream.DiscardNew:
		return "makes room by forgetting what is old: its discard policy must be new"
	case c.Mirror != nil || len(c.Sources) > 0:
		return "is a copy of another one"
	case !slices.Contains(c.Subjects, "$KV."+bucket+".>"):
		return "is a stream but no key-value bucket"
	}
	return ""
}

// lastValue asks the leader of a stream for the last message of a subject. Other replicas, which answer what is called a
// direct get, may be far behind.
func lastValue(ctx context.Context, nc *nats.Conn, stream, subject string) (failover.Reading, error) {
	question, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return failover.Reading{}, err
	}
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, question)
	if err != nil {
		return failover.Reading{}, fmt.Errorf("read the register: %w", err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *storedMessage      `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return failover.Reading{}, fmt.Errorf("read the register: %w", err)
	}
	switch {
	case answer.Error == nil && answer.Message != nil:
		return answer.Message.reading()
	case answer.Error == nil:
		return failover.Reading{}, errors.New("read the register: the answer is empty")
	case answer.Error.ErrorCode == messageNotFound:
		return failover.Reading{}, nil
	case answer.Error.ErrorCode == streamNotFound:
		return failover.Reading{}, fmt.Errorf("%w: NATS has no stream %s any more", failover.ErrNoRegister, stream)
	}
	return failover.Reading{}, fmt.Errorf("read the register: %w", answer.Error)
}

// storedMessage is a message of a stream as the API of JetStream gives it.
type storedMessage struct {
	Sequence uint64 `json:"seq"`
	Header   []byte `json:"hdrs"`
	Data     []byte `json:"data"`
}

func (m *storedMessage) reading() (failover.Reading, error) {
	reading := failover.Reading{Revision: m.Sequence}
	header := nats.Header{}
	if len(m.Header) > 0 {
		var err error
		if header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return reading, fmt.Errorf("read the register: %w", err)
		}
	}
	if header.Get("KV-Operation") != "" {
		return reading, nil // the mark of a deletion
	}
	record, err := failover.DecodeRecord(m.Data)
	if err != nil {
		return reading, fmt.Errorf("revision %d: %w", m.Sequence, err)
	}
	reading.Found, reading.Record = true, record
	return reading, nil
}
