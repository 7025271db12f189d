package config_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/config"
)

const policies = `
destinations:
  - match: /queue/Orders.>
    max_messages: 100000
    max_bytes: 1GiB
    on_full: drop-oldest
    redelivery: {max_deliveries: 5, delay: 10s, multiplier: 2, jitter: 0.5}
    keep:
  - match: "/topic/a: #"
    pending:
      policy: disconnect
    auto_create: false
routes:
  - {from: /queue/a, to: [/queue/b, /topic/c], selector: "a = 'b' # c"}
  - {from: /queue/b, to: [/queue/c], mode: move}
`

func TestLoadDestinations(t *testing.T) {
	t.Parallel()
	path := file(t, policies)
	got, err := config.Load(config.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Destinations = []config.Destination{
		{Match: "/queue/Orders.>", Policy: config.Policy{
			MaxMessages: new(100_000), MaxBytes: new(config.GiB), OnFull: new("drop-oldest"),
			Redelivery: config.Redelivery{
				MaxDeliveries: new(5), Delay: new(10 * time.Second), Multiplier: new(2.0), Jitter: new(0.5),
			},
		}},
		{Match: "/topic/a: #", Policy: config.Policy{Pending: config.Pending{Policy: new("disconnect")}, AutoCreate: new(false)}},
	}
	want.Routes = []config.Route{
		{From: "/queue/a", To: []string{"/queue/b", "/topic/c"}, Selector: "a = 'b' # c"},
		{From: "/queue/b", To: []string{"/queue/c"}, Mode: "move"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}

	described, err := config.Describe(config.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	text := "\ndestinations: # from " + path + `
  - match: "/queue/Orders.>"
    max_messages: 100000
    max_bytes: 1GiB
    on_full: "drop-oldest"
    redelivery:
      max_deliveries: 5
      delay: 10s
      multiplier: 2
      jitter: 0.5
  - match: "/topic/a: #"
    pending:
      policy: "disconnect"
    auto_create: false
routes: # from `
	if !strings.Contains(described, text) {
		t.Errorf("missing\n%s\nin\n%s", text, described)
	}
	again, err := config.Load(config.Sources{File: file(t, described)})
	if err != nil || !strings.Contains(described, `selector: "a = 'b' # c"`) {
		t.Fatalf("%v\n%s", err, described)
	}
	if !reflect.DeepEqual(again, want) {
		want.Routes[0].Mode = again.Routes[0].Mode
		if !reflect.DeepEqual(again, want) {
			t.Errorf("read back it is\n%+v\nwant\n%+v", again, want)
		}
	}
}

// A list may be given where there is no file, in one line of YAML.
func TestDestinationsFromTheEnvironment(t *testing.T) {
	t.Parallel()
	got, err := config.Load(config.Sources{
		File: file(t, policies),
		Env:  []string{"BATON_DESTINATIONS=[{match: /queue/a, exclusive: true}]", "BATON_ROUTES=[]"},
	})
	want := []config.Destination{{Match: "/queue/a", Policy: config.Policy{Exclusive: new(true)}}}
	if err != nil || !reflect.DeepEqual(got.Destinations, want) || len(got.Routes) != 0 {
		t.Errorf("%v, %+v", err, got)
	}
}

// What is wrong with that line is said, and nothing in it is passed over.
func TestDestinationsFromTheEnvironmentWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[{match: /queue/a": "did not find expected",
		"[]\ntopics: []":    "and nothing else",
		"match: /queue/a":   "mapping values are not allowed",
		"/queue/a":          "/queue/a: want a list",
	} {
		_, err := config.Load(config.Sources{Env: []string{"BATON_DESTINATIONS=" + text}})
		if err == nil || !strings.Contains(err.Error(), "want a list") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestProblemsOfLists(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ yaml, want string }{
		{"destinations: 7", `destinations: 7: want a list, such as [] or [a, b]`},
		{"destinations: /queue/a", `destinations: /queue/a: want a list, such as [] or [a, b]`},
		{"destinations: {queue.a: {exclusive: true}}", `destinations.queue.a.exclusive: unknown key; destinations takes one value`},
		{"destinations: [7]", `destinations[0]: 7: want keys with values`},
		{"destinations: [{match: /queue/a}, {exclusive: true}]", `destinations[1].match: must not be empty`},
		{"destinations: [{match: /queue/a, exclusiv: true}]", `destinations[0].exclusiv: unknown key; did you mean exclusive?`},
		{"destinations: [{match: /queue/a, frob: 1}]", `destinations[0].frob: unknown key`},
		{"destinations: [{match: /queue/a, redelivery: {dely: 1s}}]", `destinations[0].redelivery.dely: unknown key; did you mean redelivery.delay?`},
		{"destinations: [{match: /queue/a, redelivery: 7}]", `destinations[0].redelivery: 7: want keys with values`},
		{"destinations: [{match: /queue/a, message_ttl: 5}]", `destinations[0].message_ttl: "5": want a duration with its unit, such as 5s, 100ms or 5m`},
		{"destinations: [{match: /queue/a, exclusive: maybe}]", `destinations[0].exclusive: "maybe": want true or false`},
		{"destinations: [{match: /queue/a, exclusive: [true]}]", `destinations[0].exclusive: "[true]": want true or false`},
		{"routes: [{from: /queue/a, to: /queue/b}]", `routes[0].to: /queue/b: want a list, such as [] or [a, b]`},
		{"routes: [{from: /queue/a}]", `routes[0].to: must name at least one destination`},
		{"routes: [{from: /queue/a, to: [/queue/b, '']}]", `routes[0].to[1]: must not be empty`},
		{"network: {static: [{destination: /queue/a, too: b}]}", `network.static[0].too: unknown key; did you mean to?`},
		{"network: {static: /queue/a}", `network.static: /queue/a: want a list, such as [] or [a, b]`},
		{"routes: [{to: [/queue/b]}]", `routes[0].from: must not be empty`},
		{"routes: [{from: /queue/a, to: [/queue/b], mode: divert}]", `routes[0].mode: "divert": want copy, move`},
	} {
		t.Run(tc.yaml, func(t *testing.T) {
			t.Parallel()
			path := file(t, tc.yaml+"\n")
			_, err := config.Load(config.Sources{File: path})
			if err == nil || err.Error() != path+": "+tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// Each case gives one bad value to the second of two rules.
func TestValidatePolicy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		key, want string
		policy    config.Policy
	}{
		{"max_messages", "negative", config.Policy{MaxMessages: new(-1)}},
		{"max_bytes", "negative", config.Policy{MaxBytes: new(config.Bytes(-1))}},
		{"on_full", "page, block, reject, drop-oldest, drop-new", config.Policy{OnFull: new("drop")}},
		{"message_ttl", "whole milliseconds", config.Policy{MessageTTL: new(time.Microsecond)}},
		{"message_ttl", "1h is longer than max_ttl (1m)", config.Policy{MessageTTL: new(time.Hour), MaxTTL: new(time.Minute)}},
		{"max_ttl", "whole milliseconds", config.Policy{MaxTTL: new(-time.Second)}},
		{"delivery_delay", "whole milliseconds", config.Policy{DeliveryDelay: new(-time.Second)}},
		{"redelivery.max_deliveries", "1 to 65535", config.Policy{Redelivery: config.Redelivery{MaxDeliveries: new(0)}}},
		{"redelivery.delay", "2s is longer than redelivery.max_delay (1s)", config.Policy{
			Redelivery: config.Redelivery{Delay: new(2 * time.Second), MaxDelay: new(time.Second)}}},
		{"redelivery.multiplier", "1 to 100", config.Policy{Redelivery: config.Redelivery{Multiplier: new(0.5)}}},
		{"redelivery.jitter", "0 to 1", config.Policy{Redelivery: config.Redelivery{Jitter: new(1.5)}}},
		{"dead_letter.prefix", "1 to 32 letters", config.Policy{DeadLetter: config.DeadLetter{Prefix: new("")}}},
		{"ack_timeout", "whole milliseconds", config.Policy{AckTimeout: new(-time.Second)}},
		{"consumer_prefetch.messages", "1 to 65535", config.Policy{ConsumerPrefetch: config.Prefetch{Messages: new(0)}}},
		{"consumer_prefetch.bytes", "256MiB", config.Policy{ConsumerPrefetch: config.Prefetch{Bytes: new(config.GiB)}}},
		{"consumer_prefetch.bytes", "more than 0", config.Policy{ConsumerPrefetch: config.Prefetch{Bytes: new(config.Bytes(0))}}},
		{"pending.messages", "more than 0", config.Policy{Pending: config.Pending{Messages: new(0)}}},
		{"pending.bytes", "limits.body", config.Policy{Pending: config.Pending{Bytes: new(config.MiB)}}},
		{"pending.spill_bytes", "limits.body", config.Policy{Pending: config.Pending{SpillBytes: new(config.MiB)}}},
		{"pending.policy", "drop-oldest, drop-new, spill, disconnect", config.Policy{Pending: config.Pending{Policy: new("page")}}},
		{"durable.offline_messages", "negative", config.Policy{Durable: config.Durable{OfflineMessages: new(-1)}}},
		{"dedup.window", "whole milliseconds", config.Policy{Dedup: config.Dedup{Window: new(-time.Second)}}},
		{"keep.messages", "negative", config.Policy{Keep: config.Keep{Messages: new(-1)}}},
		{"gc_after", "whole milliseconds", config.Policy{GCAfter: new(-time.Second)}},
	} {
		t.Run(tc.key+" "+tc.want, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			cfg.Destinations = []config.Destination{{Match: "/queue/a"}, {Match: "/queue/b", Policy: tc.policy}}
			var problems config.Problems
			if !errors.As(cfg.Validate(), &problems) || len(problems) != 1 {
				t.Fatalf("got %v, want one problem", problems)
			}
			if problems[0].Key != "destinations[1]."+tc.key || !strings.Contains(problems[0].Text, tc.want) {
				t.Errorf("got %q, want %q with %q", problems[0], tc.key, tc.want)
			}
		})
	}
}

// What holds by default may be written down too.
func TestDefaultPolicyIsValidAndWhole(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Destinations = []config.Destination{
		{Match: "/queue/a", Policy: cfg.DefaultPolicy()},
		{Match: "/queue/b", Policy: config.Policy{MessageTTL: new(time.Hour), MaxTTL: new(time.Duration(0))}}, // 0: no limit
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if text := cfg.DescribePolicy(nil); strings.Contains(text, "nil") {
		t.Errorf("a field has no default:\n%s", text)
	}
}

func TestDescribePolicy(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Queues.MaxDeliveries = 7
	cfg.Destinations = []config.Destination{
		{Match: "/queue/>", Policy: config.Policy{MaxMessages: new(1), MaxBytes: new(config.MiB)}},
		{Match: "/queue/other", Policy: config.Policy{Exclusive: new(true)}},
		{Match: "/queue/a", Policy: config.Policy{MaxMessages: new(0), ExpiryQueue: new("/queue/old")}},
	}
	got := cfg.DescribePolicy([]int{0, 2})
	for _, want := range []string{
		"max_messages: 0 # from destinations[2], /queue/a\n",
		"max_bytes: 1MiB # from destinations[0], /queue/>\n",
		"expiry_queue: \"/queue/old\" # from destinations[2], /queue/a\n",
		"exclusive: false # default\n",
		"\nredelivery:\n  max_deliveries: 7 # from queues.max_deliveries\n  delay: 0s # default\n",
		"\nconsumer_prefetch:\n  messages: 100 # from queues.prefetch\n  bytes: 8MiB # from queues.prefetch_bytes\n",
	} {
		if !strings.Contains("\n"+got, "\n"+strings.TrimPrefix(want, "\n")) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
}

// What Check finds is a problem like others, with the source of its key, unless its key has one already.
func TestCheckAddsProblems(t *testing.T) {
	t.Parallel()
	path := file(t, "destinations: [{match: ''}]\n")
	_, err := config.Load(config.Sources{File: path, Check: func(c config.Config) config.Problems {
		var found config.Problems
		for i := range c.Destinations {
			found = append(found, config.Problem{Key: fmt.Sprintf("destinations[%d].match", i), Text: "frob"})
		}
		return append(found, config.Problem{Key: "destinations[0].expiry_queue", Text: "nonsense"})
	}})
	want := path + ": destinations[0].match: must not be empty\n" + path + ": destinations[0].expiry_queue: nonsense"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// The page has a row for every field, with its default and the key that holds it.
func TestPageOfPoliciesHasEveryField(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	for key, line := range entries(config.Default().DescribePolicy(nil)) {
		value, from, _ := strings.Cut(line, " # ")
		row := fmt.Sprintf("\n| `%s` | `%s` ", key, value)
		if inherited, ok := strings.CutPrefix(from, "from "); ok {
			row += fmt.Sprintf("(`%s`) ", inherited)
		}
		if !strings.Contains(string(page), row+"| ") {
			t.Errorf("missing: %s", row)
		}
		fields++
	}
	if rows := strings.Count(string(page), "\n| `"); rows != fields+reflect.TypeFor[config.Route]().NumField() {
		t.Errorf("the page has %d rows for %d fields of policies and those of routes", rows, fields)
	}
}
