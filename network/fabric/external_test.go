package fabric_test

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"baton/network/fabric"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer is a real one, for others too; at "" it takes any free port.
func natsServer(t *testing.T, at string, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, ServerName: "theirs"}
	if at != "" {
		_, port, _ := net.SplitHostPort(at)
		o.Port, _ = strconv.Atoi(port)
	}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stop(s) })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func TestExternalServer(t *testing.T) {
	t.Parallel()
	s := natsServer(t, "", func(o *server.Options) { o.Authorization = secret })
	at := s.Addr().String()
	o := fabric.Options{Name: "a", URLs: []string{"nats://" + at}, Token: secret}
	a, b := open(t, o), open(t, o)
	if a.Addr() != nil {
		t.Errorf("it listens at %s", a.Addr())
	}
	b.echo(t, "to.b")
	until(t, "an answer", func() bool { return a.answers("to.b") })
	if r := a.Routes(); len(r) != 1 || !r[0].Connected || r[0].Address != "nats://"+at || r[0].Name != "theirs" || !r[0].Configured {
		t.Errorf("the routes are %+v", r)
	}

	stop(s)
	until(t, "the loss", func() bool { return !a.Routes()[0].Connected })
	if err := a.Conn().Publish("to.b", nil); err == nil {
		t.Error("what is published without a connection is kept")
	}
	until(t, "the reason", func() bool { return a.Routes()[0].Error != "" })

	natsServer(t, at, func(o *server.Options) { o.Authorization = secret })
	back := time.Now()
	until(t, "an answer again", func() bool { return a.answers("to.b") })
	if took := time.Since(back); took > 2500*time.Millisecond {
		t.Errorf("took %s, want 2s", took)
	}
}

// A server that is not there yet, or does not let us in yet, is tried until it does; nothing shows of the login.
func TestExternalServerThatRefuses(t *testing.T) {
	t.Parallel()
	at := freeAddress(t)
	a := open(t, fabric.Options{Name: "a", URLs: []string{"nats://user:" + secret + "@" + at}})
	until(t, "the reason", func() bool { return a.Routes()[0].Error != "" })
	wrong := natsServer(t, at, func(o *server.Options) { o.Username, o.Password = "user", "another" })
	until(t, "a refusal", func() bool { return strings.Contains(a.Routes()[0].Error, "Authorization Violation") })
	until(t, "a log", func() bool { return a.logged("Authorization Violation") })
	stop(wrong)
	natsServer(t, at, func(o *server.Options) { o.Username, o.Password = "user", secret })
	until(t, "a connection", func() bool { return a.Routes()[0].Connected })
	for _, e := range a.logs.All() {
		if strings.Contains(line(e), secret) {
			t.Errorf("the password shows: %s", line(e))
		}
	}
	if strings.Contains(a.Routes()[0].Address, secret) {
		t.Errorf("the password shows: %s", a.Routes()[0].Address)
	}
}

// Who has given a CA is not connected without TLS, nor to somebody else's server.
func TestExternalServerWithTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t).files(t), newAuthority(t).files(t)
	s := natsServer(t, "", func(o *server.Options) {
		config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: ours.Cert, KeyFile: ours.Key})
		if err != nil {
			t.Fatal(err)
		}
		o.TLSConfig, o.TLSTimeout = config, patience.Seconds()
	})
	plain := natsServer(t, "", nil)
	good := open(t, fabric.Options{Name: "a", URLs: []string{"tls://" + s.Addr().String()}, TLS: fabric.TLS{CA: ours.CA}})
	until(t, "a connection", func() bool { return good.Routes()[0].Connected })
	for name, o := range map[string]fabric.Options{
		"another CA": {Name: "a", URLs: []string{"tls://" + s.Addr().String()}, TLS: fabric.TLS{CA: theirs.CA}},
		"no TLS":     {Name: "a", URLs: []string{"nats://" + plain.Addr().String()}, TLS: fabric.TLS{CA: ours.CA}},
	} {
		m := open(t, o)
		until(t, name, func() bool { return m.Routes()[0].Error != "" })
		if m.Routes()[0].Connected {
			t.Errorf("%s: it is connected", name)
		}
	}
}
