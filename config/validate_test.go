package config_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"baton/config"
)

// Each case breaks one thing in the defaults and expects exactly one problem, at that key.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		key, want string
		change    func(*config.Config)
	}{
		{"data.dir", "empty", func(c *config.Config) { c.Data.Dir = "" }},
		{"log.level", "debug", func(c *config.Config) { c.Log.Level = "INFO" }},
		{"log.format", "console", func(c *config.Config) { c.Log.Format = "" }},
		{"stomp.listen", "HOST:PORT", func(c *config.Config) { c.STOMP.Listen = "localhost" }},
		{"stomp.listen", "65535", func(c *config.Config) { c.STOMP.Listen = "127.0.0.1:65536" }},
		{"stomp.listen", "allow_anonymous", func(c *config.Config) { c.STOMP.Listen = "0.0.0.0:61613" }},
		{"stomp.listen", "allow_anonymous", func(c *config.Config) { c.STOMP.Listen = ":61613" }},
		{"stomp.listen", "allow_anonymous", func(c *config.Config) { c.STOMP.Listen = "broker.example:61613" }},
		{"stomp.allow_anonymous", "anywhere", func(c *config.Config) { c.STOMP.AllowAnonymous = "yes" }},
		{"stomp.connect_timeout", "more than 0", func(c *config.Config) { c.STOMP.ConnectTimeout = 0 }},
		{"stomp.write_timeout", "more than 0", func(c *config.Config) { c.STOMP.WriteTimeout = -1 }},
		{"stomp.linger", "more than 0", func(c *config.Config) { c.STOMP.Linger = 0 }},
		{"stomp.idle_timeout", "negative", func(c *config.Config) { c.STOMP.IdleTimeout = -1 }},
		{"stomp.max_connections", "negative", func(c *config.Config) { c.STOMP.MaxConnections = -1 }},
		{"stomp.max_connections_per_ip", "more than 0", func(c *config.Config) { c.STOMP.MaxConnectionsPerIP = 0 }},
		{"stomp.heartbeat.send", "whole milliseconds", func(c *config.Config) { c.STOMP.Heartbeat.Send = time.Microsecond }},
		{"stomp.heartbeat.receive", "milliseconds", func(c *config.Config) { c.STOMP.Heartbeat.Receive = -time.Second }},
		{"stomp.heartbeat.grace", "1 to 100", func(c *config.Config) { c.STOMP.Heartbeat.Grace = 0 }},
		{"limits.header_line", "limits.destination_name", func(c *config.Config) { c.Limits.HeaderLine = 100 }},
		{"limits.headers", "more than 0", func(c *config.Config) { c.Limits.Headers = 0 }},
		{"limits.header_bytes", "limits.header_line", func(c *config.Config) { c.Limits.HeaderBytes = config.KiB }},
		{"limits.body", "more than 0", func(c *config.Config) { c.Limits.Body = 0 }},
		{"limits.connect_bytes", "more than 0", func(c *config.Config) { c.Limits.ConnectBytes = 0 }},
		{"limits.subscriptions", "more than 0", func(c *config.Config) { c.Limits.Subscriptions = 0 }},
		{"limits.min_rate", "more than 0", func(c *config.Config) { c.Limits.MinRate = 0 }},
		{"limits.frame_grace", "negative", func(c *config.Config) { c.Limits.FrameGrace = -1 }},
		{"limits.mailbox", "limits.body", func(c *config.Config) { c.Limits.Mailbox = config.MiB }},
		{"memory.budget", "limits.body of 16MiB", func(c *config.Config) { c.Memory.Budget = c.LeastBudget() - 1 }},
		{"memory.budget", "negative", func(c *config.Config) { c.Memory.Budget = -1 }},
		{"queues.prefetch", "1 to 65535", func(c *config.Config) { c.Queues.Prefetch = 0 }},
		{"queues.prefetch_bytes", "more than 0", func(c *config.Config) { c.Queues.PrefetchBytes = 0 }},
		{"queues.max_deliveries", "1 to 65535", func(c *config.Config) { c.Queues.MaxDeliveries = 0 }},
		{"queues.dead_letter_prefix", "1 to 32", func(c *config.Config) { c.Queues.DeadLetterPrefix = "" }},
		{"queues.dead_letter_prefix", "1 to 32", func(c *config.Config) { c.Queues.DeadLetterPrefix = "a/" }},
		{"queues.dead_letter_prefix", "1 to 32", func(c *config.Config) { c.Queues.DeadLetterPrefix = "a,*>" }},
		{"queues.dead_letter_prefix", "1 to 32", func(c *config.Config) { c.Queues.DeadLetterPrefix = strings.Repeat("a", 33) }},
		{"queues.prefetch", "1 to 65535", func(c *config.Config) { c.Queues.Prefetch = 65_536 }},
		{"queues.prefetch_bytes", "256MiB", func(c *config.Config) { c.Queues.PrefetchBytes = config.GiB }},
		{"queues.max_deliveries", "1 to 65535", func(c *config.Config) { c.Queues.MaxDeliveries = 65_536 }},
		{"topics.pending_messages", "more than 0", func(c *config.Config) { c.Topics.PendingMessages = 0 }},
		{"topics.pending_bytes", "limits.body", func(c *config.Config) { c.Topics.PendingBytes = config.MiB }},
		{"topics.pending_spill_bytes", "limits.body", func(c *config.Config) { c.Topics.PendingSpillBytes = config.MiB }},
		{"topics.pending_policy", "drop-oldest", func(c *config.Config) { c.Topics.PendingPolicy = "drop" }},
		{"transactions.max_open", "more than 0", func(c *config.Config) { c.Transactions.MaxOpen = 0 }},
		{"transactions.max_frames", "1 to 1000000", func(c *config.Config) { c.Transactions.MaxFrames = 0 }},
		{"transactions.max_bytes", "limits.body", func(c *config.Config) { c.Transactions.MaxBytes = config.MiB }},
		{"transactions.max_bytes", "at most 112MiB", func(c *config.Config) { c.Transactions.MaxBytes = 128 * config.MiB }},
		{"limits.header_bytes", "at most 1MiB", func(c *config.Config) { c.Limits.HeaderBytes = 2 * config.MiB }},
		{"limits.body", "at most 64MiB", func(c *config.Config) {
			c.Limits.Body, c.Limits.Mailbox = 65*config.MiB, config.GiB
			c.Topics.PendingBytes, c.Transactions.MaxBytes = config.GiB, 100*config.MiB
		}},
		{"transactions.idle_timeout", "more than 0", func(c *config.Config) { c.Transactions.IdleTimeout = 0 }},
		{"journal.segment", "64KiB", func(c *config.Config) { c.Journal.Segment = config.KiB }},
		{"journal.lazy_sync", "more than 0", func(c *config.Config) { c.Journal.LazySync = 0 }},
		{"journal.buffer", "more than 0", func(c *config.Config) { c.Journal.Buffer = 0 }},
		{"journal.cache", "1MiB", func(c *config.Config) { c.Journal.Cache = config.KiB }},
		{"journal.checkpoint_every", "more than 0", func(c *config.Config) { c.Journal.CheckpointEvery = 0 }},
		{"journal.clean_rate", "1MiB a second", func(c *config.Config) { c.Journal.CleanRate = config.KiB }},
		{"journal.amplification", "1.1 to 100", func(c *config.Config) { c.Journal.Amplification = 1 }},
		{"journal.amplification", "1.1 to 100", func(c *config.Config) { c.Journal.Amplification = math.NaN() }},
		{"journal.scrub_every", "negative", func(c *config.Config) { c.Journal.ScrubEvery = -1 }},
		{"journal.low_water", "negative", func(c *config.Config) { c.Journal.LowWater = -1 }},
		{"journal.on_disk_full", "refuse, wait", func(c *config.Config) { c.Journal.OnDiskFull = "stop" }},
		{"io.stall", "more than 0", func(c *config.Config) { c.IO.Stall = 0 }},
		{"shutdown.timeout", "more than 0", func(c *config.Config) { c.Shutdown.Timeout = 0 }},
	} {
		t.Run(tc.key+" "+tc.want, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
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

func TestListenersThatAreAllowed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ listen, anonymous string }{
		{"127.0.0.1:0", "loopback"}, {"127.8.9.10:1", "loopback"}, {"[::1]:61613", "loopback"},
		{"localhost:61613", "loopback"}, {"0.0.0.0:61613", "anywhere"}, {":61613", "anywhere"},
	} {
		cfg := config.Default()
		cfg.STOMP.Listen, cfg.STOMP.AllowAnonymous = tc.listen, tc.anonymous
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", tc.listen, err)
		}
	}
}
