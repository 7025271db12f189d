package main

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"baton/config"
	"baton/destinations"
	"baton/journal"
)

// Every key of the configuration changes what the broker, its journal, its register or an arbiter is told: none is documented and then forgotten.
func TestEveryKeyIsWired(t *testing.T) {
	t.Parallel()
	other := map[string]string{
		"data.dir":                     "elsewhere",
		"stomp.connect_timeout":        "1s",
		"stomp.write_timeout":          "1s",
		"stomp.linger":                 "1s",
		"stomp.idle_timeout":           "1s",
		"stomp.max_connections":        "7",
		"stomp.max_connections_per_ip": "7",
		"stomp.hide_server":            "true",
		"stomp.heartbeat.send":         "7s",
		"stomp.heartbeat.receive":      "7s",
		"stomp.heartbeat.grace":        "7",
		"limits.header_line":           "1KiB",
		"limits.headers":               "7",
		"limits.header_bytes":          "16KiB",
		"limits.body":                  "1MiB",
		"limits.connect_bytes":         "4KiB",
		"limits.subscriptions":         "7",
		"limits.destination_name":      "7",
		"limits.min_rate":              "7KiB",
		"limits.frame_grace":           "7s",
		"limits.mailbox":               "20MiB",
		"memory.budget":                "500MiB",
		"queues.prefetch":              "7",
		"queues.prefetch_bytes":        "1MiB",
		"queues.max_deliveries":        "7",
		"queues.dead_letter_prefix":    "dead.",
		"topics.pending_messages":      "7",
		"topics.pending_bytes":         "20MiB",
		"topics.pending_policy":        "disconnect",
		"topics.pending_spill_bytes":   "70MiB",
		"destinations":                 "[{match: '/queue/a.*', exclusive: true}]",
		"routes":                       "[{from: /queue/a, to: [/queue/b]}]",
		"bridges":                      "[{name: a, address: 'b:1', direction: out, source: /queue/a, destination: /queue/b}]",
		"transactions.max_open":        "7",
		"transactions.max_frames":      "7",
		"transactions.max_bytes":       "20MiB",
		"transactions.idle_timeout":    "1s",
		"journal.segment":              "1MiB",
		"journal.lazy_sync":            "1s",
		"journal.buffer":               "1MiB",
		"journal.cache":                "1MiB",
		"journal.checkpoint_every":     "1s",
		"journal.clean_rate":           "7MiB",
		"journal.amplification":        "7",
		"journal.scrub_every":          "7h",
		"journal.low_water":            "7MiB",
		"journal.on_disk_full":         "wait",
		"io.stall":                     "7s",
		"shutdown.timeout":             "1s",
		"failover.name":                "orders",
		"failover.node":                "a",
		"failover.peer":                "127.0.0.1:7",
		"failover.secret":              "sixteen letters.",
		"failover.advertise":           "broker.example:7",
		"failover.standby":             "refuse",
		"failover.on_standby_loss":     "block",
		"failover.degrade_after":       "2s",
		"failover.hold_timeout":        "7s",
		"failover.lease":               "2s",
		"failover.beacon":              "200ms",
		"failover.fence_after":         "7s",
		"failover.retain":              "7MiB",
		"failover.sync_rate":           "7MiB",
		"failover.register.urls":       "[nats://127.0.0.1:7]",
		"failover.register.token":      "a token",
		"failover.register.bucket":     "pairs",
		"failover.register.key":        "orders",
		"failover.register.replicas":   "5",
		"arbiter.listen":               "127.0.0.1:7",
		"arbiter.data":                 "elsewhere",
		"arbiter.token":                "sixteen letters.",
		"network.name":                 "berlin",
		"network.listen":               "127.0.0.1:7",
		"network.advertise":            "broker.example:7",
		"network.routes":               "[127.0.0.1:7]",
		"network.urls":                 "[nats://127.0.0.1:7]",
		"network.secret":               "sixteen letters.",
		"network.token":                "a token",
		"network.tls.ca":               "ca.pem",
		"network.tls.cert":             "cert.pem",
		"network.tls.key":              "key.pem",
		"network.include":              "[/queue/a]",
		"network.exclude":              "[/queue/a]",
		"network.static":               "[{destination: /queue/a, to: paris}]",
		"network.max_hops":             "7",
		"network.transfer_timeout":     "7s",
		"network.silence":              "7s",
	}
	// These are read where they are used: by serve, newLogger and readyLine; or are other ways to give what is wired.
	elsewhere := []string{
		"log.level", "log.format", "stomp.listen", "stomp.allow_anonymous", "failover.register.token_file", "arbiter.token_file",
	}
	elsewhere = append(elsewhere, "failover.mode", "failover.listen", "failover.secret_file", "failover.health",
		"network.secret_file", "network.token_file")
	usual := wiring(t, nil)
	for _, key := range config.Keys() {
		if slices.Contains(elsewhere, key) {
			continue
		}
		if other[key] == "" {
			t.Errorf("%s: give this test another value for it", key)
		} else if wiring(t, map[string]any{key: other[key]}) == usual {
			t.Errorf("%s: %s changes nothing", key, other[key])
		}
	}
}

// wiring is all that the broker, its journal, its register and an arbiter are told, as text.
func wiring(t *testing.T, flags map[string]any) string {
	t.Helper()
	cfg, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	log := journalOptions(cfg, nil, nil)
	log.Progress = nil
	options := brokerOptions(cfg, nil, nil)
	options.Progress = nil
	policy := options.Machine.Policy(destinations.Queue("a.b"))
	options.Machine.Policies = nil // an address
	register := registerOptions(cfg.Failover, cfg.Failover.Register.Token, false, nil)
	arbiter := arbiterOptions(cfg, cfg.Arbiter.Token, nil)
	node := nodeOptions(cfg, cfg.Failover.Secret, log, nil)
	node.Journal = journal.Options{} // which is log
	door := doorOptions(cfg, nil)
	fabric, err := fabricOptions(cfg.Network, nil)
	if err != nil {
		t.Fatal(err)
	}
	member, err := newMember(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	settings := member.settings("", "")
	settings.Forwards = nil // an address, of a method that goes by include and exclude
	bridges, err := bridgesOptions(cfg, nil, &net.TCPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v\n%+v\n%+v\n%v%v\n%+v\n%+v\n%+v\n%+v\n%+v\n%+v\n%+v", options, fabric, settings, member.include, member.exclude, policy, log, register, arbiter, node, door, bridges)
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		asked int
		files uint64
		want  int
	}{
		{asked: 7, files: 1024, want: 7},
		{files: 1024, want: 922},
		{files: 256, want: 192},
		{files: 10, want: 1},
		{files: 20_000, want: 18_000},
		{files: 1 << 20, want: 20_000},
		{files: 1<<64 - 1, want: 20_000},
	} {
		if got := maxConnections(tc.asked, tc.files); got != tc.want {
			t.Errorf("maxConnections(%d, %d) = %d, want %d", tc.asked, tc.files, got, tc.want)
		}
	}
}

// A lease of any length bears clocks of which one is a tenth faster than the other.
func TestLeaseBearsClocks(t *testing.T) {
	t.Parallel()
	for _, lease := range []time.Duration{300 * time.Millisecond, 1500 * time.Millisecond, 15 * time.Second} {
		o := terms(config.Failover{Lease: lease})
		if o.Guard != lease/10 {
			t.Errorf("of a lease of %s the master leaves %s", lease, o.Guard)
		}
	}
}

// A grace of 0 means that a frame may take as long as it likes; to the broker 0 is its default.
func TestNoFrameGraceIsNoDeadline(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Limits.FrameGrace = 0
	if got := brokerOptions(cfg, nil, nil).FrameGrace; got >= 0 {
		t.Errorf("without a rule, a frame has %s", got)
	}
}

// Scripts and tests read the address from this line.
func TestReadyLine(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711}
	want := "baton ready: STOMP on 127.0.0.1:4711, data in ./baton-data, no login asked (loopback only)"
	if got := readyLine(address, cfg); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	cfg.STOMP.AllowAnonymous = "anywhere"
	want = "baton ready: STOMP on 127.0.0.1:4711, data in ./baton-data, no login asked (of anybody who can reach it)"
	if got := readyLine(address, cfg); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
