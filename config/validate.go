package config

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxFrame and maxTransaction keep what must be written to the journal at once within one of its batches (128MiB).
	maxFrame       = 64 * MiB
	maxTransaction = 112 * MiB

	minSegment   = 64 * KiB
	minCache     = MiB
	minCleanRate = MiB
)

// Validate looks for values out of range and for contradictions. The error is a [Problems] with all of them.
func (c Config) Validate() error {
	return c.problems().orNil()
}

func (c Config) problems() Problems {
	var v validation
	v.text("data.dir", c.Data.Dir)
	v.choice("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.choice("log.format", c.Log.Format, "auto", "console", "json")
	v.stomp(c.STOMP)
	v.limits(c.Limits)
	v.queues(c.Queues)
	v.topics(c.Topics, c.Limits)
	v.destinations(c.Destinations, c.Limits)
	v.routes(c.Routes)
	v.bridges(c.Bridges)
	v.transactions(c.Transactions, c.Limits)
	v.journal(c.Journal)
	v.memory(c)
	v.positive("io.stall", int64(c.IO.Stall))
	v.positive("shutdown.timeout", int64(c.Shutdown.Timeout))
	v.failover(c.Failover, c.STOMP.Listen)
	v.arbiter(c.Arbiter)
	v.network(c.Network)
	return v.problems
}

func (v *validation) stomp(s STOMP) {
	v.choice("stomp.allow_anonymous", s.AllowAnonymous, "loopback", "anywhere")
	v.listen(s)
	v.positive("stomp.connect_timeout", int64(s.ConnectTimeout))
	v.positive("stomp.write_timeout", int64(s.WriteTimeout))
	v.positive("stomp.linger", int64(s.Linger))
	v.notNegative("stomp.idle_timeout", int64(s.IdleTimeout))
	v.notNegative("stomp.max_connections", int64(s.MaxConnections))
	v.positive("stomp.max_connections_per_ip", int64(s.MaxConnectionsPerIP))
	v.interval("stomp.heartbeat.send", s.Heartbeat.Send)
	v.interval("stomp.heartbeat.receive", s.Heartbeat.Receive)
	if g := s.Heartbeat.Grace; !(g >= 1 && g <= 100) {
		v.add("stomp.heartbeat.grace", "%v: want 1 to 100, or clients would be cut before their heart-beat is due", g)
	}
}

// listen checks the address, and that nobody unknown can reach it unless that is asked for.
func (v *validation) listen(s STOMP) {
	host, ok := v.address("stomp.listen", s.Listen)
	if ok && s.AllowAnonymous == "loopback" && !isLoopback(host) {
		v.add("stomp.listen", "%s can be reached from other machines and no login is asked yet: "+
			"listen on 127.0.0.1, or set stomp.allow_anonymous to anywhere", s.Listen)
	}
}

// address checks HOST:PORT and returns the host.
func (v *validation) address(key, value string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		v.add(key, "%q: want HOST:PORT, such as 127.0.0.1:61613", value)
		return "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		v.add(key, "%q: port %q: want 0 to 65535 (0: any free port)", value, port)
		return "", false
	}
	return host, true
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (v *validation) limits(l Limits) {
	v.positive("limits.header_line", int64(l.HeaderLine))
	v.positive("limits.headers", int64(l.Headers))
	v.positive("limits.header_bytes", int64(l.HeaderBytes))
	v.positive("limits.body", int64(l.Body))
	v.positive("limits.connect_bytes", int64(l.ConnectBytes))
	v.positive("limits.subscriptions", int64(l.Subscriptions))
	v.positive("limits.destination_name", int64(l.DestinationName))
	v.positive("limits.min_rate", int64(l.MinRate))
	v.notNegative("limits.frame_grace", int64(l.FrameGrace))
	v.atMost("limits.body", l.Body, maxFrame)
	v.atMost("limits.header_bytes", l.HeaderBytes, MiB)
	v.atLeast("limits.header_bytes", l.HeaderBytes, "limits.header_line", l.HeaderLine, "the longest header line")
	v.atLeast("limits.header_line", l.HeaderLine, "limits.destination_name", Bytes(l.DestinationName), "the longest destination")
	v.atLeast("limits.mailbox", l.Mailbox, "limits.body", l.Body, "the largest message")
}

func (v *validation) queues(q Queues) {
	v.between("queues.prefetch", q.Prefetch, 1, 65_535)
	v.prefetchBytes("queues.prefetch_bytes", q.PrefetchBytes)
	v.between("queues.max_deliveries", q.MaxDeliveries, 1, 65_535)
	v.deadLetterPrefix("queues.dead_letter_prefix", q.DeadLetterPrefix)
}

func (v *validation) topics(t Topics, l Limits) {
	v.positive("topics.pending_messages", int64(t.PendingMessages))
	v.choice("topics.pending_policy", t.PendingPolicy, "drop-oldest", "drop-new", "spill", "disconnect")
	v.atLeast("topics.pending_bytes", t.PendingBytes, "limits.body", l.Body, "the largest message")
	v.atLeast("topics.pending_spill_bytes", t.PendingSpillBytes, "limits.body", l.Body, "the largest message")
}

func (v *validation) transactions(t Transactions, l Limits) {
	v.positive("transactions.max_open", int64(t.MaxOpen))
	v.between("transactions.max_frames", t.MaxFrames, 1, 1_000_000)
	v.atLeast("transactions.max_bytes", t.MaxBytes, "limits.body", l.Body, "the largest message")
	v.atMost("transactions.max_bytes", t.MaxBytes, maxTransaction)
	v.positive("transactions.idle_timeout", int64(t.IdleTimeout))
}

func (v *validation) journal(j Journal) {
	if j.Segment < minSegment {
		v.add("journal.segment", "%s: want at least %s", j.Segment, minSegment)
	}
	v.positive("journal.lazy_sync", int64(j.LazySync))
	v.positive("journal.buffer", int64(j.Buffer))
	if j.Cache < minCache {
		v.add("journal.cache", "%s: want at least %s", j.Cache, minCache)
	}
	v.positive("journal.checkpoint_every", int64(j.CheckpointEvery))
	if j.CleanRate < minCleanRate {
		v.add("journal.clean_rate", "%s: want at least %s a second, or space is not given back as fast as it is taken", j.CleanRate, minCleanRate)
	}
	if a := j.Amplification; !(a >= 1.1 && a <= 100) {
		v.add("journal.amplification", "%v: want 1.1 to 100 bytes on disk for each that is needed", a)
	}
	v.notNegative("journal.scrub_every", int64(j.ScrubEvery))
	v.notNegative("journal.low_water", int64(j.LowWater))
	v.choice("journal.on_disk_full", j.OnDiskFull, "refuse", "wait")
}

// memory checks the budget that is asked for against what must fit into it.
func (v *validation) memory(c Config) {
	v.notNegative("memory.budget", int64(c.Memory.Budget))
	if least := c.LeastBudget(); c.Memory.Budget > 0 && c.Memory.Budget < least {
		v.add("memory.budget", "%s: want at least %s for a limits.body of %s, a journal.cache of %s and a journal.buffer of %s, or 0 to let the broker choose",
			c.Memory.Budget, least, c.Limits.Body, c.Journal.Cache, c.Journal.Buffer)
	}
}

// validation collects problems. Each check is given the key that it speaks of.
type validation struct {
	problems Problems
}

func (v *validation) add(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

func (v *validation) text(key, value string) {
	if value == "" {
		v.add(key, "must not be empty")
	}
}

func (v *validation) choice(key, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		v.add(key, "%q: want %s", value, strings.Join(choices, ", "))
	}
}

func (v *validation) positive(key string, value int64) {
	if value <= 0 {
		v.add(key, "must be more than 0")
	}
}

func (v *validation) between(key string, value, least, most int) {
	if value < least || value > most {
		v.add(key, "%d: want %d to %d", value, least, most)
	}
}

func (v *validation) notNegative(key string, value int64) {
	if value < 0 {
		v.add(key, "must not be negative")
	}
}

func (v *validation) atMost(key string, value, limit Bytes) {
	if value > limit {
		v.add(key, "%s: want at most %s", value, limit)
	}
}

// interval checks a heart-beat, which STOMP writes in whole milliseconds, and every client reads as a 32-bit number.
func (v *validation) interval(key string, value time.Duration) {
	if value < 0 || value%time.Millisecond != 0 || value.Milliseconds() > math.MaxInt32 {
		v.add(key, "%s: want 0 or whole milliseconds, at most %s", value, math.MaxInt32*time.Millisecond)
	}
}

// atLeast finds the contradiction of a room that is smaller than what must fit into it.
func (v *validation) atLeast(key string, room Bytes, otherKey string, content Bytes, what string) {
	if room <= 0 {
		if !v.problems.has(key) {
			v.add(key, "must be more than 0")
		}
		return
	}
	if room < content {
		v.add(key, "%s is less than %s (%s): %s must fit", room, otherKey, content, what)
	}
}
