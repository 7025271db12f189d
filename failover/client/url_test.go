package client

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func defaults(change func(*URL), addresses ...string) *URL {
	u := &URL{
		Addresses: addresses, Randomize: true, InitialDelay: 10 * time.Millisecond, MaxDelay: 30 * time.Second, Exponential: true, Exponent: 2,
		MaxAttempts: -1, StartupMaxAttempts: -1, MaxCacheBytes: 1 << 20, UpdateURIs: true, WarnAfter: 10,
		ConnectTimeout: 5 * time.Second, NoDelay: true, KeepAlive: true,
	}
	if change != nil {
		change(u)
	}
	return u
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	once := func(u *URL) { u.MaxAttempts, u.UpdateURIs = 0, false }
	for text, want := range map[string]*URL{
		"a:1":               defaults(once, "a:1"),
		"a":                 defaults(once, "a:61613"),
		"tcp://a:1":         defaults(once, "a:1"),
		"tcp://a/":          defaults(once, "a:61613"),
		"stomp://127.0.0.1": defaults(once, "127.0.0.1:61613"),
		"::1":               defaults(once, "[::1]:61613"),
		"[::1]":             defaults(once, "[::1]:61613"),
		"tcp://[fe80::1]:7": defaults(once, "[fe80::1]:7"),

		"failover:(tcp://a:1,tcp://b)":                           defaults(nil, "a:1", "b:61613"),
		"failover://( tcp://a:1 , [::1]:2 )":                     defaults(nil, "a:1", "[::1]:2"),
		"failover:tcp://a:1,tcp://b:2":                           defaults(nil, "a:1", "b:2"),
		"failover:(a,tcp://a,a:61613)?":                          defaults(nil, "a:61613"),
		"failover:a?randomize=false":                             defaults(func(u *URL) { u.Randomize = false }, "a:61613"),
		"failover:(a)?backOffMultiplier=1.5":                     defaults(func(u *URL) { u.Exponent = 1.5 }, "a:61613"),
		"failover:(a)?timeout=-1":                                defaults(nil, "a:61613"),
		"failover:(a)?nested.wireFormat.maxInactivityDuration=0": defaults(func(u *URL) { u.HeartBeat = -1 }, "a:61613"),
		"failover:(a)?randomize=false&initialReconnectDelay=1&maxReconnectDelay=2&useExponentialBackOff=false&reconnectDelayExponent=3" +
			"&maxReconnectAttempts=4&startupMaxReconnectAttempts=5&timeout=6&maxCacheSize=7&updateURIsSupported=false&warnAfterReconnectAttempts=8" +
			"&nested.connectionTimeout=9&nested.wireFormat.maxInactivityDuration=10&nested.tcpNoDelay=false&nested.keepAlive=false": {
			Addresses: []string{"a:61613"}, InitialDelay: time.Millisecond, MaxDelay: 2 * time.Millisecond, Exponent: 3,
			MaxAttempts: 4, StartupMaxAttempts: 5, Timeout: 6 * time.Millisecond, MaxCacheBytes: 7, WarnAfter: 8,
			ConnectTimeout: 9 * time.Millisecond, HeartBeat: 5 * time.Millisecond,
		},
	} {
		got, err := ParseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", text, got, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                        `address "": no host`,
		"tcp://":                                  `address "tcp://": no host`,
		"a b:1":                                   `address "a b:1": no host`,
		"a:0":                                     `port "0" is not within 1 and 65535`,
		"a:65536":                                 `port "65536" is not within 1 and 65535`,
		"a:stomp":                                 `port "stomp" is not within 1 and 65535`,
		"a:1:2":                                   `address "a:1:2": want HOST:PORT`,
		"http://a":                                `"http" is not tcp`,
		"ssl://a:61614":                           `TLS is not supported yet`,
		"stomp+ssl://a:61614":                     `TLS is not supported yet`,
		"failover:(tcp://u:secret@a:1)":           `an address with a user in it`,
		"failover:()":                             `address "": no host`,
		"failover:(a,,b)":                         `address "": no host`,
		"failover:(a":                             `no ) after the list`,
		"failover:(a)randomize=false":             `"randomize=false" after the list of addresses`,
		"failover:(tcp://a?soTimeout=1)":          `options of an address are not supported`,
		"failover:(a)?randomise=false":            `there is no option "randomise"`,
		"failover:(a)?nested.soTimeout=1":         `there is no option "nested.soTimeout"`,
		"failover:(a)?backup=true":                `backup is not supported: only one connection is kept`,
		"failover:(a)?priorityURIs=a":             `priorityURIs is not supported`,
		"failover:(a)?randomize=yes":              `randomize: "yes" is not true or false`,
		"failover:(a)?randomize=":                 `randomize: "" is not true or false`,
		"failover:(a)?timeout=1s":                 `timeout: "1s" is not a number within -1 and 86400000`,
		"failover:(a)?maxCacheSize=0":             `maxCacheSize: "0" is not a number within 1 and`,
		"failover:(a)?maxReconnectAttempts=-2":    `maxReconnectAttempts: "-2" is not a number within -1 and`,
		"failover:(a)?initialReconnectDelay=-1":   `initialReconnectDelay: "-1" is not a number`,
		"failover:(a)?reconnectDelayExponent=0.5": `reconnectDelayExponent: "0.5" is not a number within 1 and 1000`,
		"failover:(a)?reconnectDelayExponent=NaN": `reconnectDelayExponent: "NaN" is not a number within 1 and 1000`,
		"failover:(a)?reconnectDelayExponent=2&backOffMultiplier=2":   `are the same; give one`,
		"failover:(a)?initialReconnectDelay=100&maxReconnectDelay=99": `initialReconnectDelay 100ms is more than maxReconnectDelay 99ms`,
		"failover:(a)?randomize=true&randomize=false":                 `randomize is there 2 times`,
		"failover:(a)?a=%zz": `options: invalid URL escape`,
		"failover:(" + strings.Repeat("a:1,", 3) + manyAddresses() + ")": `65 addresses are more than 64`,
	} {
		_, err := ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v shows the password", err)
		}
	}
}

func manyAddresses() string {
	var all []string
	for i := range 64 {
		all = append(all, "b:"+string(rune('1'+i/10))+string(rune('0'+i%10)))
	}
	return strings.Join(all, ",")
}

// Each option is in the documentation of URL.
func TestOptionsAreKnown(t *testing.T) {
	t.Parallel()
	for name := range (&URL{}).optionReaders() {
		if _, refused := unsupported[name]; refused {
			t.Errorf("%s is supported, and is not", name)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("failover:(tcp://a:1,tcp://[::1]:2)?randomize=false")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURL(text)
		if err != nil {
			return
		}
		if len(u.Addresses) == 0 || slices.Contains(u.Addresses, "") {
			t.Errorf("%q has the addresses %q", text, u.Addresses)
		}
		again, err := ParseURL("failover:(" + strings.Join(u.Addresses, ",") + ")")
		if err != nil || !slices.Equal(again.Addresses, u.Addresses) {
			t.Errorf("%q: %q becomes %q, %v", text, u.Addresses, again.Addresses, err)
		}
	})
}
