package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/config"
)

// member is a configuration of a broker with routes to two others, with everything that it needs and nothing else.
func member() config.Config {
	cfg := config.Default()
	cfg.Network.Name, cfg.Network.Secret = "berlin", "sixteen letters."
	cfg.Network.Routes = []string{"127.0.0.1:61634", "b.example:61633"}
	return cfg
}

// withServers turns a member into one that meets the others on a NATS server.
func withServers(c *config.Config) {
	c.Network = config.Default().Network
	c.Network.Name, c.Network.URLs = "berlin", []config.URL{"nats://127.0.0.1:4222"}
}

// Each case breaks one thing in a good member and expects exactly one problem, at that key.
func TestValidateNetwork(t *testing.T) {
	t.Parallel()
	if err := member().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		key, want string
		change    func(*config.Config)
	}{
		{"network.name", "letters", func(c *config.Config) { c.Network.Name = "a.b" }},
		{"network.name", "letters", func(c *config.Config) { c.Network.Name = "a>" }},
		{"network.name", "1 to 64", func(c *config.Config) { c.Network.Name = strings.Repeat("a", 65) }},
		{"network.listen", "HOST:PORT", func(c *config.Config) { c.Network.Listen = "" }},
		{"network.listen", "network.secret", func(c *config.Config) {
			c.Network.Listen, c.Network.Secret, c.Network.Routes = ":61633", "", nil
		}},
		{"network.advertise", "HOST:PORT", func(c *config.Config) { c.Network.Advertise = "a.example" }},
		{"network.advertise", "nothing to connect to", func(c *config.Config) { c.Network.Advertise = "0.0.0.0:61633" }},
		{"network.routes[1]", "HOST:PORT", func(c *config.Config) { c.Network.Routes[1] = "nats://b.example:61633" }},
		{"network.routes[0]", "nothing to connect to", func(c *config.Config) { c.Network.Routes[0] = "127.0.0.1:0" }},
		{"network.routes[1]", "twice", func(c *config.Config) { c.Network.Routes[1] = c.Network.Routes[0] }},
		{"network.routes", "at most 64", func(c *config.Config) {
			c.Network.Routes = nil
			for i := range 65 {
				c.Network.Routes = append(c.Network.Routes, "b"+strings.Repeat("x", i)+":61633")
			}
		}},
		{"network.routes", "network.urls", func(c *config.Config) { c.Network.URLs = []config.URL{"nats://127.0.0.1:4222"} }},
		{"network.urls", "nats://HOST:PORT", func(c *config.Config) { withServers(c); c.Network.URLs[0] = "127.0.0.1:4222" }},
		{"network.urls", "network.token", func(c *config.Config) {
			withServers(c)
			c.Network.URLs[0], c.Network.Token = "nats://u:p@127.0.0.1", "t"
		}},
		{"network.urls", "at most 16", func(c *config.Config) {
			withServers(c)
			for len(c.Network.URLs) < 17 {
				c.Network.URLs = append(c.Network.URLs, c.Network.URLs[0])
			}
		}},
		{"network.secret", "network.routes", func(c *config.Config) { c.Network.Secret = "" }},
		{"network.secret", "at least 16", func(c *config.Config) { c.Network.Secret = "short" }},
		{"network.secret_file", "one of both", func(c *config.Config) { c.Network.SecretFile = "secret" }},
		{"network.token", "network.urls", func(c *config.Config) { c.Network.TokenFile = "token" }},
		{"network.token_file", "one of both", func(c *config.Config) {
			withServers(c)
			c.Network.Token, c.Network.TokenFile = "t", "token"
		}},
		{"network.tls", "cert and key", func(c *config.Config) { c.Network.TLS.Cert = "cert.pem" }},
		{"network.tls", "cert and key", func(c *config.Config) { withServers(c); c.Network.TLS.Key = "key.pem" }},
		{"network.tls", "ca, cert and key", func(c *config.Config) { c.Network.TLS.CA = "ca.pem" }},
		{"network.tls", "ca, cert and key", func(c *config.Config) { c.Network.TLS = config.NetworkTLS{Cert: "c", Key: "k"} }},
		{"network.include[1]", "empty", func(c *config.Config) { c.Network.Include = []string{"/queue/a", ""} }},
		{"network.exclude[0]", "empty", func(c *config.Config) { c.Network.Exclude = []string{""} }},
		{"network.static[0].destination", "empty", func(c *config.Config) { c.Network.Static = []config.Static{{To: "paris"}} }},
		{"network.static[0].to", "letters", func(c *config.Config) { c.Network.Static = []config.Static{{Destination: "/queue/a"}} }},
		{"network.static[0].to", "letters", func(c *config.Config) {
			c.Network.Static = []config.Static{{Destination: "/queue/a", To: "b.example:61633"}}
		}},
		{"network.static[1].to", "itself", func(c *config.Config) {
			c.Network.Static = []config.Static{{Destination: "/queue/a", To: "paris"}, {Destination: "/queue/b", To: "berlin"}}
		}},
		{"network.static[1].destination", "network.static[0]", func(c *config.Config) {
			c.Network.Static = []config.Static{{Destination: "/queue/a", To: "paris"}, {Destination: "/queue/a", To: "rome"}}
		}},
		{"network.static", "at most 64", func(c *config.Config) {
			for i := range 65 {
				c.Network.Static = append(c.Network.Static, config.Static{Destination: fmt.Sprint("/queue/", i), To: "paris"})
			}
		}},
		{"network.transfer_timeout", "more than 0", func(c *config.Config) { c.Network.TransferTimeout = 0 }},
		{"network.silence", "at least 1s", func(c *config.Config) { c.Network.Silence = 999 * time.Millisecond }},
	} {
		t.Run(tc.key+" "+tc.want, func(t *testing.T) {
			t.Parallel()
			cfg := member()
			tc.change(&cfg)
			var problems config.Problems
			if !errors.As(cfg.Validate(), &problems) || len(problems) != 1 {
				t.Fatalf("got %v, want one problem", problems)
			}
			if problems[0].Key != tc.key || !strings.Contains(problems[0].Text, tc.want) {
				t.Errorf("got %q, want %q with %q", problems[0], tc.key, tc.want)
			}
		})
	}
}

func TestNetworksThatAreAllowed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"none":                 func(c *config.Config) { c.Network = config.Network{} },
		"nobody yet":           func(c *config.Config) { c.Network.Secret, c.Network.Routes = "", nil },
		"a file of the secret": func(c *config.Config) { c.Network.Secret, c.Network.SecretFile = "", "secret" },
		"for other machines":   func(c *config.Config) { c.Network.Listen, c.Network.Advertise = ":61633", "a.example:61633" },
		"routes with TLS":      func(c *config.Config) { c.Network.TLS = config.NetworkTLS{CA: "ca", Cert: "cert", Key: "key"} },
		"servers": func(c *config.Config) {
			withServers(c)
			c.Network.URLs = []config.URL{"nats://u:p@n1", "tls://u:p@n2:4222"}
		},
		"servers with a token": func(c *config.Config) { withServers(c); c.Network.TokenFile = "token" },
		"servers with a CA":    func(c *config.Config) { withServers(c); c.Network.TLS.CA = "ca" },
	} {
		cfg := member()
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNetworkIsRead(t *testing.T) {
	t.Parallel()
	path := file(t, `
network:
  name: berlin
  routes: [b.example:61633]
  secret_file: /etc/baton/secret
  tls: {ca: ca.pem, cert: cert.pem, key: key.pem}
  include: [/queue/orders.>, /topic/news.*]
  exclude: [/queue/orders.local]
  static: [{destination: /queue/audit.>, to: paris}]
  silence: 5s
`)
	want := config.Default()
	want.Network.Name, want.Network.Routes, want.Network.SecretFile = "berlin", []string{"b.example:61633"}, "/etc/baton/secret"
	want.Network.TLS = config.NetworkTLS{CA: "ca.pem", Cert: "cert.pem", Key: "key.pem"}
	want.Network.Include = []string{"/queue/orders.>", "/topic/news.*"}
	want.Network.Exclude = []string{"/queue/orders.local"}
	want.Network.Static = []config.Static{{Destination: "/queue/audit.>", To: "paris"}}
	want.Network.Silence = 5 * time.Second
	got, err := config.Load(config.Sources{File: path})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v\ngot\n%+v\nwant\n%+v", err, got, want)
	}
	text, err := config.Describe(config.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := config.Load(config.Sources{File: file(t, text)}); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("%v\nwhat is described is read as\n%+v\nwant\n%+v", err, again, want)
	}
}

func TestSecretsOfANetworkAreRead(t *testing.T) {
	t.Parallel()
	good, short := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "short")
	for path, text := range map[string]string{good: "sixteen letters, from the file\n", short: "abc"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := (config.Network{SecretFile: good}).ReadSecret(); err != nil || got.Reveal() != "sixteen letters, from the file" {
		t.Errorf("secret_file: got %q, %v", got.Reveal(), err)
	}
	if got, err := (config.Network{TokenFile: short}).ReadToken(); err != nil || got.Reveal() != "abc" {
		t.Errorf("token_file: got %q, %v", got.Reveal(), err)
	}
	if _, err := (config.Network{SecretFile: short}).ReadSecret(); err == nil || !strings.HasPrefix(err.Error(), "network.secret_file: ") {
		t.Errorf("a short secret: got %v, want an error of network.secret_file", err)
	}
	if _, err := (config.Network{TokenFile: "missing"}).ReadToken(); err == nil || !strings.HasPrefix(err.Error(), "network.token_file: ") {
		t.Errorf("no file: got %v, want an error of network.token_file", err)
	}
}
