package natskv_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsServer is a real server, in this process, that can be stopped and started on its data and port.
type natsServer struct {
	options server.Options
	token   string
	running *server.Server
}

func startServer(t *testing.T) *natsServer { return startServerWith(t, "") }

func startServerWith(t *testing.T, token string) *natsServer {
	t.Helper()
	s := &natsServer{token: token, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
	}}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

// start waits until the server takes connections and keeps its port from then on.
func (s *natsServer) start(t *testing.T) {
	t.Helper()
	options := s.options
	options.Authorization = s.token
	running, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	running.Start()
	s.running = running
	if !running.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	s.options.Port = running.Addr().(*net.TCPAddr).Port
}

func (s *natsServer) stop() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

func (s *natsServer) restart(t *testing.T) {
	t.Helper()
	s.stop()
	s.start(t)
}

func (s *natsServer) address() string { return fmt.Sprintf("127.0.0.1:%d", s.options.Port) }
func (s *natsServer) urls() []string  { return []string{"nats://" + s.address()} }

// jetStream is a connection for what an operator does.
func (s *natsServer) jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.urls()[0], nats.Token(s.token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func (s *natsServer) bucket(t *testing.T) jetstream.KeyValue {
	t.Helper()
	kv, err := s.jetStream(t).KeyValue(t.Context(), "pairs")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func (s *natsServer) deleteBucket(t *testing.T) {
	t.Helper()
	if err := s.jetStream(t).DeleteKeyValue(t.Context(), "pairs"); err != nil {
		t.Fatal(err)
	}
}

// messages is how many were ever stored in the bucket.
func (s *natsServer) messages(t *testing.T) uint64 {
	t.Helper()
	stream, err := s.jetStream(t).Stream(t.Context(), "KV_pairs")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

// startCluster gives three servers that are one, with a leader.
func startCluster(t *testing.T) []*natsServer {
	t.Helper()
	ports := freePorts(t, 3)
	var routes string
	for _, port := range ports {
		routes += fmt.Sprintf("nats://127.0.0.1:%d,", port)
	}
	var servers []*natsServer
	for i, port := range ports {
		s := &natsServer{options: server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: port},
			Routes:  server.RoutesFromStr(routes[:len(routes)-1]),
		}}
		s.start(t)
		t.Cleanup(func() { s.stop() })
		servers = append(servers, s)
	}
	eventually(t, func(context.Context) error {
		for _, s := range servers {
			if len(s.running.JetStreamClusterPeers()) == 3 { // the leader alone knows them
				return nil
			}
		}
		return errors.New("the three servers have not met")
	})
	return servers
}

// leader is the server of the cluster that decides what is in the bucket.
func leader(t *testing.T, servers []*natsServer) *natsServer {
	t.Helper()
	stream, err := servers[0].jetStream(t).Stream(t.Context(), "KV_pairs")
	if err != nil {
		t.Fatal(err)
	}
	info := stream.CachedInfo()
	if info.Config.Replicas != 3 {
		t.Errorf("the bucket has %d replicas, want 3", info.Config.Replicas)
	}
	for _, s := range servers {
		if s.options.ServerName == info.Cluster.Leader {
			return s
		}
	}
	t.Fatalf("no server is the leader %s", info.Cluster.Leader)
	return nil
}

// freePorts are of this moment: servers of a cluster must know one another's before they start.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// silent is the address of something that accepts and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// rude is the address of a server that lets everybody in, and then says that it does not understand them.
func rude(t *testing.T) (address string, sentAway <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ended := make(chan struct{})
	times := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "INFO {\"version\":\"2.15.2\",\"max_payload\":1024,\"proto\":1,\"headers\":true}\r\n")
			in := bufio.NewReader(c)
			for line, err := in.ReadString('\n'); err == nil && line != "PING\r\n"; line, err = in.ReadString('\n') {
			}
			fmt.Fprint(c, "PONG\r\n-ERR 'what do you mean?'\r\n")
			_, _ = io.Copy(io.Discard, in)
			c.Close()
			select {
			case times <- struct{}{}:
			case <-done:
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		listener.Close()
		<-ended
	})
	return listener.Addr().String(), times
}

// relay stands between a client and a server and may swallow what the server answers.
type relay struct {
	listener net.Listener
	server   string
	all      sync.WaitGroup

	mu       sync.Mutex
	swallow  bool
	accepted int
	open     []net.Conn
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, server: to}
	r.all.Go(r.accept)
	t.Cleanup(func() {
		listener.Close()
		r.cut()
		r.all.Wait()
	})
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) swallowAnswers() { r.setSwallow(true) }
func (r *relay) pass()           { r.setSwallow(false) }

func (r *relay) setSwallow(swallow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swallow = swallow
}

func (r *relay) swallows() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.swallow
}

func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// cut ends all connections; those that come later are passed on again.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swallow = false
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		up, dialErr := net.DialTimeout("tcp", r.server, time.Second)
		if err != nil || dialErr != nil {
			if client != nil {
				client.Close()
			}
			continue
		}
		r.mu.Lock()
		r.accepted++
		r.open = append(r.open, client, up)
		r.mu.Unlock()
		r.all.Go(func() {
			_, _ = io.Copy(up, client)
			up.Close()
		})
		r.all.Go(func() { r.answers(client, up) })
	}
}

func (r *relay) answers(client, up net.Conn) {
	defer client.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := up.Read(buffer)
		if n > 0 && !r.swallows() {
			_, err = client.Write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}
