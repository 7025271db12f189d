package destinations

import (
	"slices"
	"strings"
	"time"
)

// A Policy is how a destination treats its messages and consumers. It is
// comparable: destinations with equal policies share one.
type Policy struct {
	// What is stored, and how much.

	DefaultPersistent bool  // a message that does not say is stored
	MaxMessages       int   // in the queue; 0: as many as there is room for
	MaxBytes          int64 // of messages in the queue; 0: as many as there is room for
	OnFull            OnFull
	MessageTTL        time.Duration // of a message that does not say; 0: it never expires
	MaxTTL            time.Duration // of any message; 0: no limit
	ExpiryQueue       Destination   // where expired messages go; zero: away
	DeliveryDelay     time.Duration // of a message that does not say
	DedupCount        int           // so many deduplication ids are remembered; 0: none
	DedupWindow       time.Duration // for so long
	LastValue         bool          // of the messages with one last-value-key only the newest stays
	Priorities        bool          // messages of higher priority go first

	// How it is delivered, and what becomes of deliveries in vain.

	Redelivery      Redelivery
	DeadLetter      DeadLetterTo
	AckTimeout      time.Duration // after which a delivery was in vain; 0: never
	Exclusive       bool          // one consumer at a time gets messages, the others stand by
	RebalanceGroups bool          // a consumer that joins a queue gets its share of the groups that there are
	Prefetch        int           // most messages in flight to a consumer that does not say
	PrefetchBytes   int64         // the same in octets

	// Topics.

	Pending Pending // for each subscriber
	Durable Offline // for each durable subscription
	Keep    Keep    // for retroactive subscribers

	// The life of the destination.

	AutoCreate    bool          // a SEND or SUBSCRIBE makes it
	GCAfter       time.Duration // after it has been empty and without consumers for so long, it is forgotten; 0: at once, but never if it is of a virtual topic
	SelectorAware bool          // of a virtual topic it takes, while it has consumers, only what one of them selects
}

// plain says that a queue takes any message as it is, and at any time.
func (p *Policy) plain() bool {
	return (p.OnFull == FullPage || p.MaxMessages == 0 && p.MaxBytes == 0) && p.MessageTTL == 0 && p.MaxTTL == 0 && p.DeliveryDelay == 0
}

// OnFull says what a queue does with a message for which MaxMessages or
// MaxBytes leave no place.
type OnFull uint8

// The ways.
const (
	FullPage       OnFull = iota // keep it, with its content in the log only
	FullBlock                    // let the producer wait for its receipt until there is place
	FullReject                   // refuse it: the producer gets an ERROR
	FullDropOldest               // the oldest that no consumer has goes
	FullDropNew                  // the message itself goes
)

// Redelivery says when a message returns after a delivery in vain.
type Redelivery struct {
	MaxDeliveries int           // in vain, before the message is dead-lettered; 1 to 65,535
	Delay         time.Duration // before the second delivery; 0: at once
	Multiplier    float64       // each further delay is so many times the one before; 1: the same
	MaxDelay      time.Duration // of what Multiplier makes; 0: no limit
	Jitter        float64       // a delay is up to this part of it longer or shorter; 0 to 1
	KeepOrder     bool          // the messages behind it wait for it
}

// A DeadLetterTo says which queue the dead letters of a destination go to.
type DeadLetterTo struct {
	Shared Destination // one for all; zero: one of its own, called by Prefix
	Prefix string      // the queue of /queue/NAME is /queue/ + Prefix + NAME
}

// queue is the name of the queue for the dead letters of the destination name.
func (d DeadLetterTo) queue(name string) string {
	if d.Shared != (Destination{}) {
		return d.Shared.Name
	}
	return d.Prefix + name
}

// Pending bounds the copies that wait for one topic subscriber beyond its
// credit, and says what happens when there are more.
type Pending struct {
	Messages   int   // 0: 10,000
	Bytes      int64 // 0: 16 MiB
	Policy     PendingPolicy
	SpillBytes int64 // with Spill: of all that wait, in memory and in the log; beyond it the oldest are dropped. 0: 1 GiB
}

// A PendingPolicy says what a topic does for a subscriber that is too slow.
type PendingPolicy uint8

// The policies.
const (
	DropOldest        PendingPolicy = iota // of the waiting copies, the oldest are dropped
	DropNew                                // the new copy is dropped
	DisconnectPending                      // the subscriber's connection is closed
	Spill                                  // the new copy waits in the log only
)

// Offline bounds what waits for a durable subscription while nobody uses it. In
// each, 0 is no limit.
type Offline struct {
	Messages int
	Bytes    int64
	TTL      time.Duration // after which the subscription is forgotten
}

// Keep says which messages a topic keeps for those who subscribe later: without
// any of these, none; with several, those that fulfil all.
type Keep struct {
	Messages int           // the newest so many; 0: any number
	Bytes    int64         // the newest that take so many octets, each with messageOverhead; 0: any size
	Age      time.Duration // those not older; 0: of any age
}

// Policy is that of d: the defaults, as Policies change them.
func (o Options) Policy(d Destination) Policy { return o.Policies.For(d, o.DefaultPolicy()) }

// DefaultPolicy is that of a destination that no rule matches.
func (o Options) DefaultPolicy() Policy {
	o = o.WithDefaults()
	return Policy{
		DefaultPersistent: true,
		DedupCount:        20_000,
		DedupWindow:       10 * time.Minute,
		Priorities:        true,
		Redelivery:        Redelivery{MaxDeliveries: o.MaxDeliveries, Multiplier: 1},
		DeadLetter:        DeadLetterTo{Prefix: o.DeadLetterPrefix},
		Prefetch:          o.Prefetch,
		PrefetchBytes:     o.PrefetchBytes,
		Pending:           o.Pending,
		AutoCreate:        true,
	}
}

// DeadLetterPrefixes are those of all rules: what the name of a dead-letter
// queue may begin with, unless it is a shared one.
func (o Options) DeadLetterPrefixes() []string {
	var prefixes []string
	for _, to := range o.deadLetterTos() {
		if to.Prefix != "" && !slices.Contains(prefixes, to.Prefix) {
			prefixes = append(prefixes, to.Prefix)
		}
	}
	return prefixes
}

// deadLetterTos are what the defaults and the rules say, each once.
func (o Options) deadLetterTos() []DeadLetterTo {
	defaults := o.DefaultPolicy()
	list := []DeadLetterTo{defaults.DeadLetter}
	for _, rule := range o.Policies.all() {
		policy := defaults
		rule.Set(&policy)
		if !slices.Contains(list, policy.DeadLetter) {
			list = append(list, policy.DeadLetter)
		}
	}
	return list
}

// A Rule says how the policy of the destinations that Match differs from what
// less specific rules and the defaults make it.
type Rule struct {
	Match Pattern
	Set   func(*Policy) // sets some fields and leaves the others as they are
}

// Policies are rules by which destinations differ. They do not change once they
// are made, and may be used by many at a time. Nil are none.
type Policies struct {
	rules    []Rule
	patterns patternSet[int] // for the indices of rules
}

// NewPolicies makes policies of rules in any order. Of two with the same Match
// the later is the more specific.
func NewPolicies(rules []Rule) *Policies {
	p := &Policies{rules: rules}
	for i, rule := range rules {
		p.patterns.add(rule.Match, i)
	}
	return p
}

// For is the policy of d: in each field what the most specific rule says that
// sets it. Where two patterns match one name, the more specific has, in the
// first part where they differ, a word where the other has a wildcard, or *
// where the other has >, or nothing where the other has >.
func (p *Policies) For(d Destination, defaults Policy) Policy {
	for _, i := range p.Rules(d) {
		p.rules[i].Set(&defaults)
	}
	return defaults
}

// Rules are the indices of the rules that match d, the least specific first.
func (p *Policies) Rules(d Destination) (indices []int) {
	if p != nil {
		p.patterns.each(d, func(i int) { indices = append(indices, i) })
	}
	return indices
}

func (p *Policies) all() []Rule {
	if p == nil {
		return nil
	}
	return p.rules
}

// A policyBook has the policies of a machine's destinations, equal ones once.
type policyBook struct {
	policies      *Policies
	plain         *Policy // of the destinations that no rule matches
	shared        map[Policy]*Policy
	deadLetterTos []DeadLetterTo
	closed        bool // some destinations are not made by clients
	keeps         bool // some topics keep messages
	spills        bool // some topics spill
}

func newPolicyBook(o Options) policyBook {
	plain := o.DefaultPolicy()
	b := policyBook{policies: o.Policies, plain: &plain, shared: map[Policy]*Policy{}, deadLetterTos: o.deadLetterTos(), spills: plain.Pending.Policy == Spill}
	for _, rule := range o.Policies.all() {
		policy := plain
		rule.Set(&policy)
		b.closed = b.closed || !policy.AutoCreate
		b.keeps = b.keeps || policy.Keep.any()
		b.spills = b.spills || policy.Pending.Policy == Spill
	}
	return b
}

// of returns the policy of d. It stays as it is.
func (b *policyBook) of(d Destination) *Policy {
	if strings.HasPrefix(d.Name, NetworkPrefix) || len(b.policies.Rules(d)) == 0 {
		return b.plain
	}
	policy := b.policies.For(d, *b.plain)
	if b.shared[policy] == nil {
		b.shared[policy] = &policy
	}
	return b.shared[policy]
}

// isDeadLetterQueue says whether dead letters of anything go to d.
func (b *policyBook) isDeadLetterQueue(d Destination) bool {
	return !d.Topic && slices.ContainsFunc(b.deadLetterTos, func(to DeadLetterTo) bool {
		return d == to.Shared || to.Prefix != "" && strings.HasPrefix(d.Name, to.Prefix)
	})
}
