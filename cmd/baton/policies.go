package main

import (
	"fmt"
	"slices"
	"strings"

	"baton/config"
	"baton/destinations"
	"baton/destinations/selector"
)

// names says which names destinations may have, those of dead-letter queues included.
func names(cfg config.Config) destinations.Names {
	n := destinations.Names{MaxBytes: cfg.Limits.DestinationName, DeadLetterPrefixes: []string{cfg.Queues.DeadLetterPrefix}}
	for _, rule := range cfg.Destinations {
		if prefix := rule.DeadLetter.Prefix; prefix != nil && !slices.Contains(n.DeadLetterPrefixes, *prefix) {
			n.DeadLetterPrefixes = append(n.DeadLetterPrefixes, *prefix)
		}
	}
	return n
}

// checkDestinations finds what is wrong with the patterns, the names and the selectors in a configuration.
func checkDestinations(cfg config.Config) config.Problems {
	c := nameCheck{names: names(cfg)}
	first := map[destinations.Pattern]int{}
	for i, rule := range cfg.Destinations {
		at := fmt.Sprintf("destinations[%d].", i)
		match := c.pattern(at+"match", rule.Match)
		if other, twice := first[match]; twice { // one that cannot be read has a problem already
			c.add(at+"match", "%s is what destinations[%d] matches: write one rule for both", match, other)
		} else {
			first[match] = i
		}
		c.queue(at+"expiry_queue", rule.ExpiryQueue)
		c.queue(at+"dead_letter.shared", rule.DeadLetter.Shared)
	}
	for i, route := range cfg.Routes {
		c.pattern(fmt.Sprintf("routes[%d].from", i), route.From)
		for j, to := range route.To {
			c.destination(fmt.Sprintf("routes[%d].to[%d]", i, j), to)
		}
		if _, err := selector.Parse(route.Selector); err != nil {
			c.add(fmt.Sprintf("routes[%d].selector", i), "%s", err)
		}
	}
	c.network(cfg.Network)
	c.bridges(cfg.Bridges)
	return c.problems
}

// nameCheck collects problems. Each check is given the key that it speaks of.
type nameCheck struct {
	names    destinations.Names
	problems config.Problems
}

func (c *nameCheck) add(key, format string, args ...any) {
	c.problems = append(c.problems, config.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

func (c *nameCheck) pattern(key, text string) destinations.Pattern {
	p, err := c.names.ParsePattern(text)
	if err != nil {
		c.add(key, "%s", err)
	}
	return p
}

func (c *nameCheck) destination(key, text string) destinations.Destination {
	d, err := c.names.Parse(text)
	if err != nil {
		c.add(key, "%s", err)
	}
	return d
}

// network checks what a member forwards; a broker without a network may have anything there.
func (c *nameCheck) network(n config.Network) {
	if !n.Enabled() {
		return
	}
	for i, text := range n.Include {
		c.pattern(fmt.Sprintf("network.include[%d]", i), text)
	}
	for i, text := range n.Exclude {
		c.pattern(fmt.Sprintf("network.exclude[%d]", i), text)
	}
	for i, s := range n.Static {
		at := fmt.Sprintf("network.static[%d].destination", i)
		if p := c.pattern(at, s.Destination); strings.HasPrefix(p.String(), "/topic/") {
			c.add(at, "%s is a topic: what is published goes to its subscribers wherever they are; static is for queues", p)
		}
	}
}

// queue checks the name of a queue that may be left out, or empty for none.
func (c *nameCheck) queue(key string, text *string) {
	if text != nil && *text != "" && c.destination(key, *text).Topic {
		c.add(key, "%q: want a queue, such as /queue/NAME", *text)
	}
}

// policies are the rules of a configuration without problems.
func policies(cfg config.Config) *destinations.Policies {
	n, rules := names(cfg), make([]destinations.Rule, len(cfg.Destinations))
	for i, rule := range cfg.Destinations {
		rules[i] = destinations.Rule{
			Match: checked(n.ParsePattern(rule.Match)),
			Set:   func(p *destinations.Policy) { setPolicy(p, rule.Policy) },
		}
	}
	return destinations.NewPolicies(rules)
}

// routes are those of a configuration without problems.
func routes(cfg config.Config) []destinations.Route {
	n, list := names(cfg), []destinations.Route(nil)
	for _, route := range cfg.Routes {
		made := destinations.Route{From: checked(n.ParsePattern(route.From)), Move: route.Mode == "move"}
		for _, to := range route.To {
			made.To = append(made.To, checked(n.Parse(to)))
		}
		if route.Selector != "" {
			made.Selector = checked(selector.Parse(route.Selector))
		}
		list = append(list, made)
	}
	return list
}

func checked[T any](value T, err error) T {
	if err != nil {
		panic("BUG: a configuration that was not checked: " + err.Error())
	}
	return value
}

// setPolicy says what is given in the words of package destinations.
func setPolicy(p *destinations.Policy, given config.Policy) {
	set(&p.DefaultPersistent, given.DefaultPersistent)
	set(&p.MaxMessages, given.MaxMessages)
	setBytes(&p.MaxBytes, given.MaxBytes)
	setChoice(&p.OnFull, given.OnFull, onFull)
	set(&p.MessageTTL, given.MessageTTL)
	set(&p.MaxTTL, given.MaxTTL)
	setQueue(&p.ExpiryQueue, given.ExpiryQueue)
	set(&p.DeliveryDelay, given.DeliveryDelay)
	set(&p.Redelivery.MaxDeliveries, given.Redelivery.MaxDeliveries)
	set(&p.Redelivery.Delay, given.Redelivery.Delay)
	set(&p.Redelivery.Multiplier, given.Redelivery.Multiplier)
	set(&p.Redelivery.MaxDelay, given.Redelivery.MaxDelay)
	set(&p.Redelivery.Jitter, given.Redelivery.Jitter)
	set(&p.Redelivery.KeepOrder, given.Redelivery.KeepOrder)
	setQueue(&p.DeadLetter.Shared, given.DeadLetter.Shared)
	set(&p.DeadLetter.Prefix, given.DeadLetter.Prefix)
	set(&p.AckTimeout, given.AckTimeout)
	set(&p.Exclusive, given.Exclusive)
	set(&p.RebalanceGroups, given.Groups.Rebalance)
	set(&p.Prefetch, given.ConsumerPrefetch.Messages)
	setBytes(&p.PrefetchBytes, given.ConsumerPrefetch.Bytes)
	set(&p.Pending.Messages, given.Pending.Messages)
	setBytes(&p.Pending.Bytes, given.Pending.Bytes)
	setBytes(&p.Pending.SpillBytes, given.Pending.SpillBytes)
	setChoice(&p.Pending.Policy, given.Pending.Policy, pendingPolicies)
	set(&p.Durable.Messages, given.Durable.OfflineMessages)
	setBytes(&p.Durable.Bytes, given.Durable.OfflineBytes)
	set(&p.Durable.TTL, given.Durable.OfflineTTL)
	set(&p.DedupCount, given.Dedup.Count)
	set(&p.DedupWindow, given.Dedup.Window)
	set(&p.LastValue, given.LastValue)
	set(&p.Keep.Messages, given.Keep.Messages)
	setBytes(&p.Keep.Bytes, given.Keep.Bytes)
	set(&p.Keep.Age, given.Keep.Age)
	set(&p.AutoCreate, given.AutoCreate)
	set(&p.GCAfter, given.GCAfter)
	set(&p.SelectorAware, given.SelectorAware)
	set(&p.Priorities, given.Priorities)
}

func set[T any](to, given *T) {
	if given != nil {
		*to = *given
	}
}

func setBytes(to *int64, given *config.Bytes) {
	if given != nil {
		*to = int64(*given)
	}
}

func setChoice[T any](to *T, given *string, choices map[string]T) {
	if given != nil {
		*to = choices[*given]
	}
}

func setQueue(to *destinations.Destination, given *string) {
	if given != nil {
		*to = destinations.Queue(strings.TrimPrefix(*given, "/queue/")) // of an empty text: none
	}
}

var onFull = map[string]destinations.OnFull{
	"page":        destinations.FullPage,
	"block":       destinations.FullBlock,
	"reject":      destinations.FullReject,
	"drop-oldest": destinations.FullDropOldest,
	"drop-new":    destinations.FullDropNew,
}

var pendingPolicies = map[string]destinations.PendingPolicy{
	"drop-oldest": destinations.DropOldest,
	"drop-new":    destinations.DropNew,
	"spill":       destinations.Spill,
	"disconnect":  destinations.DisconnectPending,
}
