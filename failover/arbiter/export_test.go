package arbiter

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// FailForTest makes JetStream fail as a disk that is full would.
func (a *Arbiter) FailForTest() error { return a.server.DisableJetStream() }

// SyncsAlways says what the server works with.
func (a *Arbiter) SyncsAlways() bool { return a.server.JetStreamConfig().SyncAlways }

// MakeBucketForTest leaves a bucket in a directory that an arbiter has not made.
func MakeBucketForTest(t *testing.T, data string, config jetstream.KeyValueConfig) {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: data})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}
