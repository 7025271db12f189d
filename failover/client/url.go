package client

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A URL is where brokers are and how stubbornly they are looked for, with ActiveMQ's names:
//
//	failover:(tcp://a:61613,tcp://b)?randomize=false&maxReconnectDelay=1000
//	tcp://a:61613                     tried once, and not again when it is lost
//	[::1]:61613
//
// A delay of 0 is none, an attempt is one on each address, and -1 of them is no bound.
type URL struct {
	Addresses []string // host:port, as net.Dial wants them

	Randomize          bool          // randomize: the order of the addresses, each time; true
	InitialDelay       time.Duration // initialReconnectDelay, ms: after the first attempt in vain; 10
	MaxDelay           time.Duration // maxReconnectDelay, ms; 30000
	Exponential        bool          // useExponentialBackOff: each delay is longer; true
	Exponent           float64       // reconnectDelayExponent or backOffMultiplier: so many times; 2
	MaxAttempts        int           // maxReconnectAttempts; 0: a lost connection is the end; -1
	StartupMaxAttempts int           // startupMaxReconnectAttempts: for the first connection; -1: as MaxAttempts; -1
	Timeout            time.Duration // timeout, ms: longest wait of a SEND or COMMIT for its receipt; -1 and 0: no bound; -1
	MaxCacheBytes      int64         // maxCacheSize: octets that wait for their receipts; 1 MiB
	UpdateURIs         bool          // updateURIsSupported: also use the addresses that brokers tell; true
	WarnAfter          int           // warnAfterReconnectAttempts: Options.OnRetry is called so often; 0: never; 10

	ConnectTimeout time.Duration // nested.connectionTimeout, ms: until CONNECTED must have come; 5000
	HeartBeat      time.Duration // nested.wireFormat.maxInactivityDuration, ms, halved: see Options.HeartBeat; 0
	NoDelay        bool          // nested.tcpNoDelay; true
	KeepAlive      bool          // nested.keepAlive: of TCP; true
}

// DefaultPort is that of an address without one.
const DefaultPort = "61613"

const (
	maxAddresses = 64
	maxDuration  = 24 * time.Hour
	maxCache     = 1 << 30
)

// ParseURL reads one. The error names what is wrong, and shows no password that stands in it.
func ParseURL(text string) (*URL, error) {
	u := &URL{
		Randomize: true, InitialDelay: 10 * time.Millisecond, MaxDelay: 30 * time.Second, Exponential: true, Exponent: 2,
		MaxAttempts: -1, StartupMaxAttempts: -1, MaxCacheBytes: 1 << 20, UpdateURIs: true, WarnAfter: 10,
		ConnectTimeout: 5 * time.Second, NoDelay: true, KeepAlive: true,
	}
	list, ok := strings.CutPrefix(strings.TrimSpace(text), "failover:")
	if !ok {
		u.MaxAttempts, u.UpdateURIs = 0, false
		return u, u.readAddresses(list)
	}
	list, options, err := cutList(strings.TrimPrefix(list, "//"))
	if err != nil {
		return nil, err
	}
	if err := u.readAddresses(list); err != nil {
		return nil, err
	}
	return u, u.readOptions(options)
}

// cutList parts (a,b)?options or a,b?options.
func cutList(text string) (list, options string, err error) {
	rest, ok := strings.CutPrefix(text, "(")
	if !ok {
		list, options, _ = strings.Cut(text, "?")
		return list, options, nil
	}
	list, rest, ok = strings.Cut(rest, ")")
	if !ok {
		return "", "", errors.New("failover URL: no ) after the list of addresses")
	}
	options, ok = strings.CutPrefix(rest, "?")
	if !ok && rest != "" {
		return "", "", fmt.Errorf("failover URL: %q after the list of addresses; options begin with ?", rest)
	}
	return list, options, nil
}

func (u *URL) readAddresses(list string) error {
	for text := range strings.SplitSeq(list, ",") {
		address, err := parseAddress(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		if !slices.Contains(u.Addresses, address) {
			u.Addresses = append(u.Addresses, address)
		}
	}
	if len(u.Addresses) > maxAddresses {
		return fmt.Errorf("%d addresses are more than %d", len(u.Addresses), maxAddresses)
	}
	return nil
}

// parseAddress makes host:port of tcp://host:port, host:port, host, and the same with [IPv6].
func parseAddress(text string) (string, error) {
	if strings.Contains(text, "@") {
		return "", errors.New("an address with a user in it: login and passcode are options of their own")
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "tcp", text
	}
	switch {
	case scheme == "ssl" || scheme == "tls" || strings.HasSuffix(scheme, "+ssl"):
		return "", fmt.Errorf("address %q: TLS is not supported yet", text)
	case scheme != "tcp" && scheme != "stomp":
		return "", fmt.Errorf("address %q: %q is not tcp", text, scheme)
	case strings.ContainsAny(rest, "?&"):
		return "", fmt.Errorf("address %q: options of an address are not supported; write them once, as nested.NAME behind the list", text)
	}
	return withPort(strings.TrimSuffix(rest, "/"), text)
}

func withPort(hostport, text string) (string, error) {
	if bare := strings.Trim(hostport, "[]"); net.ParseIP(bare) != nil || !strings.Contains(hostport, ":") {
		hostport = net.JoinHostPort(bare, DefaultPort)
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", fmt.Errorf("address %q: want HOST:PORT, [IPv6]:PORT or HOST", text)
	}
	if host == "" || strings.ContainsAny(host, "/()[] \t\r\n\x00") {
		return "", fmt.Errorf("address %q: no host", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("address %q: port %q is not within 1 and 65535", text, port)
	}
	return net.JoinHostPort(host, port), nil
}

// unsupported are options of ActiveMQ's that cannot be had here, and why.
var unsupported = map[string]string{
	"backup":               "only one connection is kept",
	"backupPoolSize":       "only one connection is kept",
	"priorityBackup":       "whichever broker serves is as good",
	"priorityURIs":         "whichever broker serves is as good",
	"trackMessages":        "what has no receipt is always sent again",
	"reconnectSupported":   "brokers do not ask clients to move; set maxReconnectAttempts=0 for no reconnecting",
	"updateURIsURL":        "addresses come from the URL and from the brokers",
	"useInactivityMonitor": "set nested.wireFormat.maxInactivityDuration",
}

func (u *URL) readOptions(text string) error {
	values, err := url.ParseQuery(text)
	if err != nil {
		return fmt.Errorf("failover URL: options: %w", err)
	}
	readers := u.optionReaders()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		read, ok := readers[name]
		switch why, known := unsupported[name]; {
		case known:
			return fmt.Errorf("failover URL: %s is not supported: %s", name, why)
		case !ok:
			return fmt.Errorf("failover URL: there is no option %s", strconv.Quote(name))
		case len(values[name]) > 1:
			return fmt.Errorf("failover URL: %s is there %d times", name, len(values[name]))
		}
		if err := read(values[name][0]); err != nil {
			return fmt.Errorf("failover URL: %s: %w", name, err)
		}
	}
	return u.check(values)
}

func (u *URL) optionReaders() map[string]func(string) error {
	return map[string]func(string) error{
		"randomize":                   readBool(&u.Randomize),
		"initialReconnectDelay":       readMillis(&u.InitialDelay, 0),
		"maxReconnectDelay":           readMillis(&u.MaxDelay, 0),
		"useExponentialBackOff":       readBool(&u.Exponential),
		"reconnectDelayExponent":      readFactor(&u.Exponent),
		"backOffMultiplier":           readFactor(&u.Exponent),
		"maxReconnectAttempts":        readInt(&u.MaxAttempts, -1, 1<<30),
		"startupMaxReconnectAttempts": readInt(&u.StartupMaxAttempts, -1, 1<<30),
		"timeout":                     readMillis(&u.Timeout, -1),
		"maxCacheSize":                readInt(&u.MaxCacheBytes, 1, maxCache),
		"updateURIsSupported":         readBool(&u.UpdateURIs),
		"warnAfterReconnectAttempts":  readInt(&u.WarnAfter, 0, 1<<30),
		"nested.connectionTimeout":    readMillis(&u.ConnectTimeout, 1),
		"nested.tcpNoDelay":           readBool(&u.NoDelay),
		"nested.keepAlive":            readBool(&u.KeepAlive),
		"nested.wireFormat.maxInactivityDuration": func(text string) error {
			err := readMillis(&u.HeartBeat, 0)(text)
			if u.HeartBeat /= 2; u.HeartBeat == 0 { // ActiveMQ's 0 switches it off
				u.HeartBeat = -1
			}
			return err
		},
	}
}

// check refuses what contradicts itself.
func (u *URL) check(values url.Values) error {
	if values.Has("reconnectDelayExponent") && values.Has("backOffMultiplier") {
		return errors.New("failover URL: reconnectDelayExponent and backOffMultiplier are the same; give one")
	}
	if u.InitialDelay > u.MaxDelay {
		return fmt.Errorf("failover URL: initialReconnectDelay %v is more than maxReconnectDelay %v", u.InitialDelay, u.MaxDelay)
	}
	return nil
}

func readBool(to *bool) func(string) error {
	return func(text string) error {
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is not true or false", text)
		}
		*to = text == "true"
		return nil
	}
}

func readInt[T int | int64](to *T, least, most T) func(string) error {
	return func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < int64(least) || n > int64(most) {
			return fmt.Errorf("%q is not a number within %d and %d", text, least, most)
		}
		*to = T(n)
		return nil
	}
}

// readMillis reads milliseconds; where the least is -1, that is 0.
func readMillis(to *time.Duration, least int64) func(string) error {
	return func(text string) error {
		var n int64
		if err := readInt(&n, least, maxDuration.Milliseconds())(text); err != nil {
			return err
		}
		*to = time.Duration(max(n, 0)) * time.Millisecond
		return nil
	}
}

func readFactor(to *float64) func(string) error {
	return func(text string) error {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f >= 1 && f <= 1000) {
			return fmt.Errorf("%q is not a number within 1 and 1000", text)
		}
		*to = f
		return nil
	}
}
