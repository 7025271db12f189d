package config

import (
	"fmt"
	"regexp"
	"time"
)

// Destination is a rule of the list destinations: how the destinations that Match differ.
type Destination struct {
	Match  string `mapstructure:"match"` // /queue/ or /topic/ and a name with wildcards
	Policy `mapstructure:",squash"`
}

// Policy is how a destination treats its messages and consumers. What is nil is as less specific rules and the defaults
// have it. docs/policies.md says what each field means.
type Policy struct {
	DefaultPersistent *bool          `mapstructure:"default_persistent"`
	MaxMessages       *int           `mapstructure:"max_messages"` // 0: no limit
	MaxBytes          *Bytes         `mapstructure:"max_bytes"`    // 0: no limit
	OnFull            *string        `mapstructure:"on_full"`      // page, block, reject, drop-oldest or drop-new
	MessageTTL        *time.Duration `mapstructure:"message_ttl"`  // 0: never
	MaxTTL            *time.Duration `mapstructure:"max_ttl"`      // 0: no limit
	ExpiryQueue       *string        `mapstructure:"expiry_queue"` // empty: away
	DeliveryDelay     *time.Duration `mapstructure:"delivery_delay"`
	Redelivery        Redelivery     `mapstructure:"redelivery"`
	DeadLetter        DeadLetter     `mapstructure:"dead_letter"`
	AckTimeout        *time.Duration `mapstructure:"ack_timeout"` // 0: never
	Exclusive         *bool          `mapstructure:"exclusive"`
	Groups            Groups         `mapstructure:"groups"`
	ConsumerPrefetch  Prefetch       `mapstructure:"consumer_prefetch"`
	Pending           Pending        `mapstructure:"pending"`
	Durable           Durable        `mapstructure:"durable"`
	Dedup             Dedup          `mapstructure:"dedup"`
	LastValue         *bool          `mapstructure:"last_value"`
	Keep              Keep           `mapstructure:"keep"`
	AutoCreate        *bool          `mapstructure:"auto_create"`
	GCAfter           *time.Duration `mapstructure:"gc_after"`
	SelectorAware     *bool          `mapstructure:"selector_aware"`
	Priorities        *bool          `mapstructure:"priorities"`
}

// Redelivery is what happens to a message after a delivery in vain.
type Redelivery struct {
	MaxDeliveries *int           `mapstructure:"max_deliveries"`
	Delay         *time.Duration `mapstructure:"delay"`
	Multiplier    *float64       `mapstructure:"multiplier"`
	MaxDelay      *time.Duration `mapstructure:"max_delay"` // 0: no limit
	Jitter        *float64       `mapstructure:"jitter"`    // part of the delay
	KeepOrder     *bool          `mapstructure:"keep_order"`
}

// DeadLetter says where dead letters go.
type DeadLetter struct {
	Shared *string `mapstructure:"shared"` // a queue; empty: one for each destination, by Prefix
	Prefix *string `mapstructure:"prefix"`
}

// Groups is how the message groups of a queue are shared among its consumers.
type Groups struct {
	Rebalance *bool `mapstructure:"rebalance"` // a consumer that comes later gets its share
}

// Prefetch is what a consumer may hold unacknowledged, when its SUBSCRIBE does not say.
type Prefetch struct {
	Messages *int   `mapstructure:"messages"`
	Bytes    *Bytes `mapstructure:"bytes"`
}

// Pending bounds what waits for one topic subscriber.
type Pending struct {
	Messages   *int    `mapstructure:"messages"`
	Bytes      *Bytes  `mapstructure:"bytes"`
	Policy     *string `mapstructure:"policy"` // drop-oldest, drop-new, spill or disconnect
	SpillBytes *Bytes  `mapstructure:"spill_bytes"`
}

// Durable bounds what waits for a durable subscription that nobody uses; 0: no limit.
type Durable struct {
	OfflineMessages *int           `mapstructure:"offline_messages"`
	OfflineBytes    *Bytes         `mapstructure:"offline_bytes"`
	OfflineTTL      *time.Duration `mapstructure:"offline_ttl"`
}

// Dedup is how many deduplication ids are remembered, and how long.
type Dedup struct {
	Count  *int           `mapstructure:"count"`
	Window *time.Duration `mapstructure:"window"`
}

// Keep is what a topic keeps for those who subscribe later; 0: no limit, all 0: nothing.
type Keep struct {
	Messages *int           `mapstructure:"messages"`
	Bytes    *Bytes         `mapstructure:"bytes"`
	Age      *time.Duration `mapstructure:"age"`
}

// Route is an entry of the list routes: what is sent to some destinations goes to others too.
type Route struct {
	From     string   `mapstructure:"from"` // as Destination.Match
	To       []string `mapstructure:"to"`
	Mode     string   `mapstructure:"mode"`     // copy (empty too) or move
	Selector string   `mapstructure:"selector"` // empty: all messages
}

// DefaultPolicy is that of a destination that no rule matches. No field is nil.
func (c Config) DefaultPolicy() Policy {
	return Policy{
		DefaultPersistent: new(true),
		MaxMessages:       new(0),
		MaxBytes:          new(Bytes(0)),
		OnFull:            new("page"),
		MessageTTL:        new(time.Duration(0)),
		MaxTTL:            new(time.Duration(0)),
		ExpiryQueue:       new(""),
		DeliveryDelay:     new(time.Duration(0)),
		Redelivery: Redelivery{
			MaxDeliveries: &c.Queues.MaxDeliveries,
			Delay:         new(time.Duration(0)),
			Multiplier:    new(1.0),
			MaxDelay:      new(time.Duration(0)),
			Jitter:        new(0.0),
			KeepOrder:     new(false),
		},
		DeadLetter:       DeadLetter{Shared: new(""), Prefix: &c.Queues.DeadLetterPrefix},
		AckTimeout:       new(time.Duration(0)),
		Exclusive:        new(false),
		Groups:           Groups{new(false)},
		ConsumerPrefetch: Prefetch{&c.Queues.Prefetch, &c.Queues.PrefetchBytes},
		Pending:          Pending{&c.Topics.PendingMessages, &c.Topics.PendingBytes, &c.Topics.PendingPolicy, &c.Topics.PendingSpillBytes},
		Durable:          Durable{new(0), new(Bytes(0)), new(time.Duration(0))},
		Dedup:            Dedup{new(20_000), new(10 * time.Minute)},
		LastValue:        new(false),
		Keep:             Keep{new(0), new(Bytes(0)), new(time.Duration(0))},
		AutoCreate:       new(true),
		GCAfter:          new(time.Duration(0)),
		SelectorAware:    new(false),
		Priorities:       new(true),
	}
}

// defaultKeys are the keys of the configuration that have the defaults of some of the fields.
var defaultKeys = map[string]string{
	"redelivery.max_deliveries":  "queues.max_deliveries",
	"dead_letter.prefix":         "queues.dead_letter_prefix",
	"consumer_prefetch.messages": "queues.prefetch",
	"consumer_prefetch.bytes":    "queues.prefetch_bytes",
	"pending.messages":           "topics.pending_messages",
	"pending.bytes":              "topics.pending_bytes",
	"pending.policy":             "topics.pending_policy",
	"pending.spill_bytes":        "topics.pending_spill_bytes",
}

func (v *validation) destinations(list []Destination, l Limits) {
	for i, rule := range list {
		at := fmt.Sprintf("destinations[%d].", i)
		v.text(at+"match", rule.Match)
		for _, field := range present(&rule.Policy) {
			v.field(field.key, at+field.key, field.value.Elem().Interface(), l)
		}
		v.notLonger(at+"message_ttl", rule.MessageTTL, "max_ttl", rule.MaxTTL)
		v.notLonger(at+"redelivery.delay", rule.Redelivery.Delay, "redelivery.max_delay", rule.Redelivery.MaxDelay)
	}
}

// field checks one field of a policy; at is its key in the whole configuration.
func (v *validation) field(name, at string, value any, l Limits) {
	switch name {
	case "on_full":
		v.choice(at, value.(string), "page", "block", "reject", "drop-oldest", "drop-new")
	case "redelivery.max_deliveries":
		v.between(at, value.(int), 1, 65_535)
	case "redelivery.multiplier":
		if m := value.(float64); !(m >= 1 && m <= 100) {
			v.add(at, "%v: want 1 to 100: each delay is so many times the one before", m)
		}
	case "redelivery.jitter":
		if j := value.(float64); !(j >= 0 && j <= 1) {
			v.add(at, "%v: want 0 to 1, the part of a delay by which it may be longer or shorter", j)
		}
	case "dead_letter.prefix":
		v.deadLetterPrefix(at, value.(string))
	case "consumer_prefetch.messages":
		v.between(at, value.(int), 1, 65_535)
	case "consumer_prefetch.bytes":
		v.prefetchBytes(at, value.(Bytes))
	case "pending.messages":
		v.positive(at, int64(value.(int)))
	case "pending.bytes", "pending.spill_bytes":
		v.atLeast(at, value.(Bytes), "limits.body", l.Body, "the largest message")
	case "pending.policy":
		v.choice(at, value.(string), "drop-oldest", "drop-new", "spill", "disconnect")
	default:
		v.amount(at, value)
	}
}

// amount checks a number, size or time of which 0 means none.
func (v *validation) amount(key string, value any) {
	switch value := value.(type) {
	case int:
		v.notNegative(key, int64(value))
	case Bytes:
		v.notNegative(key, int64(value))
	case time.Duration:
		if value < 0 || value%time.Millisecond != 0 {
			v.add(key, "%s: want 0 or whole milliseconds", value)
		}
	}
}

// notLonger finds the contradiction of a time that is longer than its limit.
func (v *validation) notLonger(key string, value *time.Duration, limitKey string, limit *time.Duration) {
	if value != nil && limit != nil && *limit > 0 && *value > *limit {
		v.add(key, "%s is longer than %s (%s)", durationText(*value), limitKey, durationText(*limit))
	}
}

func (v *validation) prefetchBytes(key string, value Bytes) {
	v.positive(key, int64(value))
	v.atMost(key, value, 256*MiB)
}

func (v *validation) deadLetterPrefix(key, value string) {
	if !deadLetterPrefix.MatchString(value) {
		v.add(key, `%q: want 1 to 32 letters, digits, ".", "_" and "-"`, value)
	}
}

var deadLetterPrefix = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

func (v *validation) routes(list []Route) {
	for i, route := range list {
		at := fmt.Sprintf("routes[%d].", i)
		v.text(at+"from", route.From)
		if len(route.To) == 0 {
			v.add(at+"to", "must name at least one destination")
		}
		for j, to := range route.To {
			v.text(fmt.Sprintf("%sto[%d]", at, j), to)
		}
		if route.Mode != "" {
			v.choice(at+"mode", route.Mode, "copy", "move")
		}
	}
}
