package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/config"
)

// pair is a configuration of a node of a pair, with everything that it needs and nothing else.
func pair() config.Config {
	cfg := config.Default()
	cfg.Failover.Mode, cfg.Failover.Node = "pair", "a"
	cfg.Failover.Listen, cfg.Failover.Peer = "127.0.0.1:61623", "127.0.0.1:61624"
	cfg.Failover.Register.URLs = []config.URL{"nats://127.0.0.1:61622"}
	return cfg
}

// Each case breaks one thing in a good pair and expects exactly one problem, at that key.
func TestValidatePair(t *testing.T) {
	t.Parallel()
	if err := pair().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		key, want string
		change    func(*config.Config)
	}{
		{"failover.mode", "none, pair, shared", func(c *config.Config) { c.Failover.Mode = "on" }},
		{"failover.name", "letters", func(c *config.Config) { c.Failover.Name = "a b" }},
		{"failover.node", "a pair needs it", func(c *config.Config) { c.Failover.Node = "" }},
		{"failover.node", "letters", func(c *config.Config) { c.Failover.Node = "-a" }},
		{"failover.node", "1 to 64", func(c *config.Config) { c.Failover.Node = strings.Repeat("a", 65) }},
		{"failover.listen", "a pair needs it", func(c *config.Config) { c.Failover.Listen = "" }},
		{"failover.listen", "HOST:PORT", func(c *config.Config) { c.Failover.Listen = "here" }},
		{"failover.listen", "failover.secret", func(c *config.Config) { c.Failover.Listen = ":61623" }},
		{"failover.peer", "a pair needs it", func(c *config.Config) { c.Failover.Peer = "" }},
		{"failover.peer", "65535", func(c *config.Config) { c.Failover.Peer = "127.0.0.1:65536" }},
		{"failover.peer", "port 0", func(c *config.Config) { c.Failover.Peer = "127.0.0.1:0" }},
		{"failover.peer", "failover.secret", func(c *config.Config) {
			c.Failover.Peer, c.Failover.Advertise = "b.example:61623", "a.example:61613"
		}},
		{"failover.peer", "listens itself", func(c *config.Config) { c.Failover.Peer = c.Failover.Listen }},
		{"failover.secret", "at least 16", func(c *config.Config) { c.Failover.Secret = "short" }},
		{"failover.secret", "in the place of a secret", func(c *config.Config) { c.Failover.Secret = "(hidden)" }},
		{"failover.secret_file", "one of both", func(c *config.Config) {
			c.Failover.Secret, c.Failover.SecretFile = "sixteen letters.", "secret"
		}},
		{"failover.advertise", "HOST:PORT", func(c *config.Config) { c.Failover.Advertise = "a.example" }},
		{"failover.advertise", "nothing to connect to", func(c *config.Config) { c.Failover.Advertise = "a.example:0" }},
		{"failover.advertise", "nothing to connect to", func(c *config.Config) { c.Failover.Advertise = "0.0.0.0:61613" }},
		{"failover.advertise", "every address", func(c *config.Config) {
			c.STOMP.Listen, c.STOMP.AllowAnonymous = "0.0.0.0:61613", "anywhere"
		}},
		{"failover.advertise", "every address", func(c *config.Config) { c.STOMP.Listen, c.STOMP.AllowAnonymous = ":61613", "anywhere" }},
		{"failover.advertise", "is that machine", func(c *config.Config) {
			c.Failover.Peer, c.Failover.Secret = "b.example:61623", "sixteen letters."
		}},
		{"failover.health", "HOST:PORT", func(c *config.Config) { c.Failover.Health = "8080" }},
		{"failover.health", "HOST:PORT", func(c *config.Config) { c.Failover = config.Failover{Mode: "shared", Health: "8080"} }},
		{"failover.standby", "proxy, refuse", func(c *config.Config) { c.Failover.Standby = "relay" }},
		{"failover.on_standby_loss", "degrade, block", func(c *config.Config) { c.Failover.OnStandbyLoss = "stop" }},
		{"failover.hold_timeout", "more than 0", func(c *config.Config) { c.Failover.HoldTimeout = 0 }},
		{"failover.beacon", "more than 0", func(c *config.Config) { c.Failover.Beacon = 0 }},
		{"failover.lease", "three times failover.beacon", func(c *config.Config) { c.Failover.Lease = 899 * time.Millisecond }},
		{"failover.lease", "at least 300ms", func(c *config.Config) {
			c.Failover.Lease, c.Failover.Beacon = 299*time.Millisecond, 50*time.Millisecond
		}},
		{"failover.degrade_after", "two times failover.beacon", func(c *config.Config) { c.Failover.DegradeAfter = 500 * time.Millisecond }},
		{"failover.fence_after", "more than failover.degrade_after", func(c *config.Config) { c.Failover.DegradeAfter = 4 * time.Second }},
		{"failover.fence_after", "more than failover.lease", func(c *config.Config) { c.Failover.Lease = 4 * time.Second }},
		{"failover.retain", "more than 0", func(c *config.Config) { c.Failover.Retain = 0 }},
		{"failover.register.urls", "0 servers", func(c *config.Config) { c.Failover.Register.URLs = nil }},
		{"failover.register.urls", "17 servers", func(c *config.Config) {
			for len(c.Failover.Register.URLs) < 17 {
				c.Failover.Register.URLs = append(c.Failover.Register.URLs, "nats://127.0.0.1:61622")
			}
		}},
		{"failover.register.urls", "nats://HOST:PORT", func(c *config.Config) { c.Failover.Register.URLs[0] = "http://127.0.0.1" }},
		{"failover.register.urls", "nats://HOST:PORT", func(c *config.Config) { c.Failover.Register.URLs[0] = "127.0.0.1:4222" }},
		{"failover.register.urls", "1 to 65535", func(c *config.Config) { c.Failover.Register.URLs[0] = "nats://127.0.0.1:0" }},
		{"failover.register.urls", "one of both", func(c *config.Config) {
			c.Failover.Register.URLs[0], c.Failover.Register.TokenFile = "nats://u:p@127.0.0.1", "token"
		}},
		{"failover.register.token", "in the place of a secret", func(c *config.Config) { c.Failover.Register.Token = "(hidden)" }},
		{"failover.register.token_file", "one of both", func(c *config.Config) {
			c.Failover.Register.Token, c.Failover.Register.TokenFile = "t", "token"
		}},
		{"failover.register.bucket", "letters", func(c *config.Config) { c.Failover.Register.Bucket = "a.b" }},
		{"failover.register.key", "letters", func(c *config.Config) { c.Failover.Register.Key = "a..b" }},
		{"failover.register.key", "letters", func(c *config.Config) { c.Failover.Register.Key = "a.*" }},
		{"failover.register.replicas", "0 to 5", func(c *config.Config) { c.Failover.Register.Replicas = 6 }},
		{"arbiter.listen", "arbiter.token", func(c *config.Config) { c.Arbiter.Listen = "0.0.0.0:61622" }},
		{"arbiter.listen", "HOST:PORT", func(c *config.Config) { c.Arbiter.Listen = "" }},
		{"arbiter.data", "empty", func(c *config.Config) { c.Arbiter.Data = "" }},
		{"arbiter.token", "at least 16", func(c *config.Config) { c.Arbiter.Token = "short" }},
		{"arbiter.token_file", "one of both", func(c *config.Config) {
			c.Arbiter.Token, c.Arbiter.TokenFile = "sixteen letters.", "token"
		}},
	} {
		t.Run(tc.key+" "+tc.want, func(t *testing.T) {
			t.Parallel()
			cfg := pair()
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

func TestPairsThatAreAllowed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"two machines with a secret": func(c *config.Config) {
			c.Failover.Listen, c.Failover.Peer, c.Failover.Secret = "0.0.0.0:61623", "b.example:61623", "sixteen letters."
			c.STOMP.Listen, c.STOMP.AllowAnonymous, c.Failover.Advertise = ":61613", "anywhere", "a.example:61613"
		},
		"two machines with a file of the secret": func(c *config.Config) {
			c.Failover.Listen, c.Failover.Peer, c.Failover.SecretFile = ":61623", "[2001:db8::1]:61623", "secret"
			c.STOMP.Listen, c.STOMP.AllowAnonymous = "a.example:61613", "anywhere"
		},
		"three servers with a login": func(c *config.Config) {
			c.Failover.Register.URLs = []config.URL{"nats://u:p@n1", "tls://u:p@n2:4222", "nats://u:p@[::1]:4222"}
		},
		"an arbiter for others": func(c *config.Config) { c.Arbiter.Listen, c.Arbiter.TokenFile = ":61622", "token" },
		"shared storage":        func(c *config.Config) { c.Failover = config.Failover{Mode: "shared"} },
		"a broker alone":        func(c *config.Config) { c.Failover = config.Failover{Mode: "none"} },
	} {
		cfg := pair()
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRegisterKeyIsTheNameOfThePair(t *testing.T) {
	t.Parallel()
	f := config.Failover{Name: "orders"}
	if got := f.RegisterKey(); got != "orders" {
		t.Errorf("got %q", got)
	}
	f.Register.Key = "pairs.orders"
	if got := f.RegisterKey(); got != "pairs.orders" {
		t.Errorf("got %q", got)
	}
}

func TestSecretsAreRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("sixteen letters, from the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		read func() (config.Secret, error)
		want string
	}{
		{"none", config.Failover{}.ReadSecret, ""},
		{"secret", config.Failover{Secret: "given"}.ReadSecret, "given"},
		{"secret_file", config.Failover{SecretFile: path}.ReadSecret, "sixteen letters, from the file"},
		{"register.token_file", config.Register{TokenFile: path}.ReadToken, "sixteen letters, from the file"},
		{"arbiter.token_file", config.Arbiter{TokenFile: path}.ReadToken, "sixteen letters, from the file"},
	} {
		if got, err := tc.read(); err != nil || got.Reveal() != tc.want {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got.Reveal(), err, tc.want)
		}
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (config.Register{TokenFile: short}).ReadToken(); err != nil {
		t.Errorf("a token of somebody else's server: %v", err)
	}
	for _, read := range []func() (config.Secret, error){config.Failover{SecretFile: short}.ReadSecret, config.Arbiter{TokenFile: short}.ReadToken} {
		if _, err := read(); err == nil || !strings.Contains(err.Error(), short+": 3 characters are easily guessed") {
			t.Errorf("got %v, want an error about %s", err, short)
		}
	}
	for key, read := range map[string]func() (config.Secret, error){
		"failover.secret_file":         config.Failover{SecretFile: "missing"}.ReadSecret,
		"failover.register.token_file": config.Register{TokenFile: "missing"}.ReadToken,
		"arbiter.token_file":           config.Arbiter{TokenFile: "missing"}.ReadToken,
	} {
		if _, err := read(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("got %v, want an error of %s", err, key)
		}
	}
}

// What the documentation tells people to write is accepted.
func TestDocumentedPairsAreAllowed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/failover.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(text), "```yaml\n")[1:]
	if len(examples) < 3 {
		t.Fatalf("%d examples are found, want 3", len(examples))
	}
	for _, example := range examples {
		yaml, _, _ := strings.Cut(example, "```")
		if _, err := config.Load(config.Sources{File: file(t, yaml)}); err != nil {
			t.Errorf("%v\n%s", err, yaml)
		}
	}
}
