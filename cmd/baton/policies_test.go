package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"baton/config"
	"baton/destinations"
)

// The defaults that `baton config policy` prints are those that the machine has.
func TestDefaultPolicyIsThatOfTheMachine(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Queues.MaxDeliveries, cfg.Topics.PendingPolicy = 3, "drop-new"
	var got destinations.Policy
	setPolicy(&got, cfg.DefaultPolicy())
	if want := machineOptions(cfg).Policy(destinations.Queue("a")); got != want {
		t.Errorf("config has\n%+v\nthe machine has\n%+v", got, want)
	}
}

// Every field of a rule changes the policy of what the rule matches, each in a way of its own: none is documented and then
// forgotten, or taken for another.
func TestEveryPolicyFieldIsWired(t *testing.T) {
	t.Parallel()
	other := map[string]string{
		"default_persistent": "false", "max_messages": "7", "max_bytes": "7MiB", "on_full": "drop-new", "message_ttl": "7s",
		"max_ttl": "7s", "expiry_queue": "/queue/old", "delivery_delay": "7s", "redelivery.max_deliveries": "7",
		"redelivery.delay": "7s", "redelivery.multiplier": "7", "redelivery.max_delay": "7s", "redelivery.jitter": "0.7",
		"redelivery.keep_order": "true", "dead_letter.shared": "/queue/dead", "dead_letter.prefix": "dead.", "ack_timeout": "7s",
		"exclusive": "true", "groups.rebalance": "true", "consumer_prefetch.messages": "7", "consumer_prefetch.bytes": "7MiB", "pending.messages": "7",
		"pending.bytes": "77MiB", "pending.spill_bytes": "77MiB", "pending.policy": "drop-new", "durable.offline_messages": "7", "durable.offline_bytes": "7MiB",
		"durable.offline_ttl": "7s", "dedup.count": "7", "dedup.window": "7s", "last_value": "true", "keep.messages": "7",
		"keep.bytes": "7MiB", "keep.age": "7s", "auto_create": "false", "gc_after": "7s", "selector_aware": "true", "priorities": "false",
	}
	seen := map[destinations.Policy]string{policyWith(t, ""): "the default"}
	for _, key := range policyKeys(reflect.TypeFor[config.Policy](), "") {
		section, field, nested := strings.Cut(key, ".")
		value := fmt.Sprintf("%s: %s", section, other[key])
		if nested {
			value = fmt.Sprintf("%s: {%s: %s}", section, field, other[key])
		}
		policy := policyWith(t, value)
		if same, ok := seen[policy]; ok {
			t.Errorf("%s: %q gives the same as %s", key, other[key], same)
		}
		seen[policy] = key
		delete(other, key)
	}
	if len(other) > 0 {
		t.Errorf("no fields: %v", other)
	}
}

// policyWith is the policy of a queue that a rule with this YAML matches.
func policyWith(t *testing.T, yaml string) destinations.Policy {
	t.Helper()
	cfg, err := config.Load(config.Sources{
		Env:   []string{"BATON_DESTINATIONS=[{match: '/queue/a.*', " + yaml + "}]"},
		Check: checkDestinations,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := machineOptions(cfg).Policy(destinations.Queue("b")); got != machineOptions(config.Default()).DefaultPolicy() {
		t.Errorf("%s: what the rule does not match has %+v", yaml, got)
	}
	return machineOptions(cfg).Policy(destinations.Queue("a.b"))
}

func policyKeys(section reflect.Type, prefix string) (keys []string) {
	for i := range section.NumField() {
		field := section.Field(i)
		key := prefix + field.Tag.Get("mapstructure")
		if field.Type.Kind() == reflect.Struct {
			keys = append(keys, policyKeys(field.Type, key+".")...)
		} else {
			keys = append(keys, key)
		}
	}
	return keys
}

// A more specific rule may take back what another says.
func TestRulesTakeBackNames(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(config.Sources{Check: checkDestinations, Env: []string{"BATON_DESTINATIONS=" +
		"[{match: /queue/>, dead_letter: {shared: /queue/dead}, expiry_queue: /queue/old}," +
		" {match: /queue/a, dead_letter: {shared: ''}, expiry_queue: ''}]"}})
	if err != nil {
		t.Fatal(err)
	}
	o := machineOptions(cfg)
	if got := o.Policy(destinations.Queue("b")); got.DeadLetter.Shared != destinations.Queue("dead") || got.ExpiryQueue != destinations.Queue("old") {
		t.Errorf("/queue/b has %+v", got)
	}
	if got := o.Policy(destinations.Queue("a")); got != o.DefaultPolicy() {
		t.Errorf("/queue/a has %+v", got)
	}
}

func TestRoutesAreWired(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(config.Sources{Check: checkDestinations, Env: []string{"BATON_ROUTES=" +
		"[{from: /queue/a.#, to: [/queue/b, /topic/c], selector: x = 1}, {from: /topic/d, to: [/queue/e], mode: move}]"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range machineOptions(cfg).Routes {
		got = append(got, fmt.Sprint(r.From, r.To, r.Move, " ", r.Selector))
	}
	want := []string{"/queue/a.> [/queue/b /topic/c] false x = 1", "/topic/d [/queue/e] true "}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// What a member forwards is checked as other patterns and names are; a broker without a network may have anything there.
func TestPatternsOfANetworkAreChecked(t *testing.T) {
	t.Parallel()
	env := []string{
		"BATON_NETWORK_INCLUDE=[/queue/a.>, /queue/a*b]", "BATON_NETWORK_EXCLUDE=[a]",
		"BATON_NETWORK_STATIC=[{destination: /queue/a, to: paris}, {destination: a.>, to: paris}, {destination: /topic/a, to: paris}]",
	}
	if _, err := config.Load(config.Sources{Check: checkDestinations, Env: env}); err != nil {
		t.Errorf("without a network: %v", err)
	}
	_, err := config.Load(config.Sources{Check: checkDestinations, Env: append(env, "BATON_NETWORK_NAME=berlin")})
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, problem := range problems {
		got = append(got, problem.Source+" "+problem.Key)
	}
	want := []string{
		"BATON_NETWORK_INCLUDE network.include[1]", "BATON_NETWORK_EXCLUDE network.exclude[0]",
		"BATON_NETWORK_STATIC network.static[1].destination", "BATON_NETWORK_STATIC network.static[2].destination",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q\n%v", got, want, err)
	}
}

// The dead letters of a destination with the longest name can be fetched, whichever rule gives their queue its prefix.
func TestNamesOfDeadLetterQueues(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Destinations = []config.Destination{{Match: "/queue/a", Policy: config.Policy{DeadLetter: config.DeadLetter{Prefix: new("dead.")}}}}
	longest := strings.Repeat("a", cfg.Limits.DestinationName)
	for _, prefix := range []string{"DLQ.", "dead."} {
		if _, err := names(cfg).Parse("/queue/" + prefix + longest); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	if _, err := names(cfg).Parse("/queue/other" + longest); err == nil {
		t.Error("any other name may be longer too")
	}
}
