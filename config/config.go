package config

import "time"

// Config is every setting of a broker. The tag of a field is its part of the key: Config.STOMP.Heartbeat.Send is
// stomp.heartbeat.send in the file and BATON_STOMP_HEARTBEAT_SEND in the environment. What each means is written in
// config/baton.yml.
type Config struct {
	Data         Data          `mapstructure:"data"`
	Log          Log           `mapstructure:"log"`
	STOMP        STOMP         `mapstructure:"stomp"`
	Memory       Memory        `mapstructure:"memory"`
	Limits       Limits        `mapstructure:"limits"`
	Queues       Queues        `mapstructure:"queues"`
	Topics       Topics        `mapstructure:"topics"`
	Destinations []Destination `mapstructure:"destinations"`
	Routes       []Route       `mapstructure:"routes"`
	Bridges      []Bridge      `mapstructure:"bridges"`
	Transactions Transactions  `mapstructure:"transactions"`
	Journal      Journal       `mapstructure:"journal"`
	IO           IO            `mapstructure:"io"`
	Shutdown     Shutdown      `mapstructure:"shutdown"`
	Failover     Failover      `mapstructure:"failover"`
	Arbiter      Arbiter       `mapstructure:"arbiter"`
	Network      Network       `mapstructure:"network"`
}

// Data says where the broker keeps what must survive.
type Data struct {
	Dir string `mapstructure:"dir"`
}

// Log says what the broker writes to standard error.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warn or error
	Format string `mapstructure:"format"` // auto, console or json
}

// STOMP is the listener and what it asks of connections.
type STOMP struct {
	Listen              string        `mapstructure:"listen"`
	AllowAnonymous      string        `mapstructure:"allow_anonymous"` // loopback or anywhere
	ConnectTimeout      time.Duration `mapstructure:"connect_timeout"`
	WriteTimeout        time.Duration `mapstructure:"write_timeout"`
	Linger              time.Duration `mapstructure:"linger"`
	IdleTimeout         time.Duration `mapstructure:"idle_timeout"`    // 0: off
	MaxConnections      int           `mapstructure:"max_connections"` // 0: as many as open files allow
	MaxConnectionsPerIP int           `mapstructure:"max_connections_per_ip"`
	HideServer          bool          `mapstructure:"hide_server"`
	Heartbeat           Heartbeat     `mapstructure:"heartbeat"`
}

// Heartbeat is what we offer in the heart-beat header (STOMP 1.2, "Heart-beating").
type Heartbeat struct {
	Send    time.Duration `mapstructure:"send"`    // smallest interval we promise; 0: none
	Receive time.Duration `mapstructure:"receive"` // smallest interval we ask for; 0: none
	Grace   float64       `mapstructure:"grace"`   // a silent client is cut after grace × interval
}

// Memory bounds what the broker takes of the machine.
type Memory struct {
	Budget Bytes `mapstructure:"budget"` // 0: a share of what this process may have
}

// Limits bound what one connection and one frame may take.
type Limits struct {
	HeaderLine      Bytes         `mapstructure:"header_line"`
	Headers         int           `mapstructure:"headers"`
	HeaderBytes     Bytes         `mapstructure:"header_bytes"`
	Body            Bytes         `mapstructure:"body"`
	ConnectBytes    Bytes         `mapstructure:"connect_bytes"` // the whole CONNECT frame
	Subscriptions   int           `mapstructure:"subscriptions"` // per connection
	DestinationName int           `mapstructure:"destination_name"`
	FrameGrace      time.Duration `mapstructure:"frame_grace"` // 0: off
	MinRate         Bytes         `mapstructure:"min_rate"`    // per second, after FrameGrace
	Mailbox         Bytes         `mapstructure:"mailbox"`
}

// Queues are the defaults of every queue; the rules of Config.Destinations override them.
type Queues struct {
	Prefetch         int    `mapstructure:"prefetch"` // messages
	PrefetchBytes    Bytes  `mapstructure:"prefetch_bytes"`
	MaxDeliveries    int    `mapstructure:"max_deliveries"`
	DeadLetterPrefix string `mapstructure:"dead_letter_prefix"`
}

// Topics are the defaults of every topic's subscriptions; the rules of Config.Destinations override them.
type Topics struct {
	PendingMessages   int    `mapstructure:"pending_messages"`
	PendingBytes      Bytes  `mapstructure:"pending_bytes"`
	PendingPolicy     string `mapstructure:"pending_policy"` // drop-oldest, drop-new, spill or disconnect
	PendingSpillBytes Bytes  `mapstructure:"pending_spill_bytes"`
}

// Transactions bound what one connection may hold open.
type Transactions struct {
	MaxOpen     int           `mapstructure:"max_open"`
	MaxFrames   int           `mapstructure:"max_frames"`
	MaxBytes    Bytes         `mapstructure:"max_bytes"`
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`
}

// Journal shapes the log on disk.
type Journal struct {
	Segment         Bytes         `mapstructure:"segment"`
	LazySync        time.Duration `mapstructure:"lazy_sync"`
	Buffer          Bytes         `mapstructure:"buffer"`
	Cache           Bytes         `mapstructure:"cache"`
	CheckpointEvery time.Duration `mapstructure:"checkpoint_every"`
	CleanRate       Bytes         `mapstructure:"clean_rate"`    // per second
	Amplification   float64       `mapstructure:"amplification"` // bytes on disk to bytes needed
	ScrubEvery      time.Duration `mapstructure:"scrub_every"`   // 0: never
	LowWater        Bytes         `mapstructure:"low_water"`     // 0: 1 GiB or a twentieth of the disk
	OnDiskFull      string        `mapstructure:"on_disk_full"`  // refuse or wait
}

// IO says what to expect of the disk.
type IO struct {
	Stall time.Duration `mapstructure:"stall"`
}

// Shutdown bounds the graceful end.
type Shutdown struct {
	Timeout time.Duration `mapstructure:"timeout"`
}

// Default is the configuration of a broker that was told nothing: safe on a developer's machine, open to that machine
// alone.
func Default() Config {
	return Config{
		Data: Data{Dir: "./baton-data"},
		Log:  Log{Level: "info", Format: "auto"},
		STOMP: STOMP{
			Listen:              "127.0.0.1:61613",
			AllowAnonymous:      "loopback",
			ConnectTimeout:      5 * time.Second,
			WriteTimeout:        10 * time.Second,
			Linger:              2 * time.Second,
			MaxConnectionsPerIP: 1000,
			Heartbeat:           Heartbeat{Send: time.Second, Receive: 10 * time.Second, Grace: 2},
		},
		Limits: Limits{
			HeaderLine:      8 * KiB,
			Headers:         128,
			HeaderBytes:     64 * KiB,
			Body:            16 * MiB,
			ConnectBytes:    8 * KiB,
			Subscriptions:   1000,
			DestinationName: 255,
			FrameGrace:      30 * time.Second,
			MinRate:         KiB,
			Mailbox:         32 * MiB,
		},
		Queues:       Queues{Prefetch: 100, PrefetchBytes: 8 * MiB, MaxDeliveries: 10, DeadLetterPrefix: "DLQ."},
		Topics:       Topics{PendingMessages: 10000, PendingBytes: 16 * MiB, PendingPolicy: "drop-oldest", PendingSpillBytes: GiB},
		Destinations: []Destination{},
		Routes:       []Route{},
		Bridges:      []Bridge{},
		Transactions: Transactions{MaxOpen: 16, MaxFrames: 10000, MaxBytes: 64 * MiB, IdleTimeout: 5 * time.Minute},
		Journal: Journal{
			Segment:         64 * MiB,
			LazySync:        100 * time.Millisecond,
			Buffer:          16 * MiB,
			Cache:           32 * MiB,
			CheckpointEvery: 10 * time.Second,
			CleanRate:       64 * MiB,
			Amplification:   2,
			ScrubEvery:      24 * time.Hour,
			OnDiskFull:      "refuse",
		},
		IO:       IO{Stall: 5 * time.Second},
		Shutdown: Shutdown{Timeout: 10 * time.Second},
		Failover: defaultFailover(),
		Arbiter:  defaultArbiter(),
		Network:  defaultNetwork(),
	}
}

// MessageMemory is the part of a memory budget that messages may take: half of it less journal.cache and journal.buffer. The
// other half is what the garbage collector needs.
func (c Config) MessageMemory(budget Bytes) Bytes {
	return budget/2 - c.Journal.Cache - c.Journal.Buffer
}

// LeastBudget is the smallest memory.budget: a quarter of what messages may take must hold the largest of them.
func (c Config) LeastBudget() Bytes {
	return 2 * (4*c.Limits.Body + c.Journal.Cache + c.Journal.Buffer)
}
