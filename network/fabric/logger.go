package fabric

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	sayAgainAfter = time.Minute
	maxSaid       = 256 // lines that are remembered
)

// logger hands the lines of nats-server to zap, without secrets. What goes wrong once a second is said once a minute. Its notices
// are for debugging; who comes and goes is logged by [Fabric.watch].
type logger struct {
	log    *zap.Logger
	failed chan<- string                 // of what the server cannot go on for; has room for one
	told   func(line string, err string) // of everything that goes wrong
	hide   *strings.Replacer

	mu   sync.Mutex           // guards said
	said map[string]time.Time // lines, without their numbers
}

func newLogger(log *zap.Logger, failed chan<- string, told func(line, err string), secrets ...string) *logger {
	var pairs []string
	for _, secret := range secrets {
		if secret != "" {
			pairs = append(pairs, secret, "(hidden)")
		}
	}
	return &logger{log: log, failed: failed, told: told, hide: strings.NewReplacer(pairs...), said: map[string]time.Time{}}
}

func (l *logger) Debugf(format string, args ...any) { l.log.Debug(l.text(format, args)) }
func (l *logger) Tracef(format string, args ...any) { l.log.Debug(l.text(format, args)) }
func (l *logger) Warnf(format string, args ...any)  { l.wrong(l.text(format, args)) }
func (l *logger) Errorf(format string, args ...any) { l.wrong(l.text(format, args)) }

func (l *logger) Noticef(format string, args ...any) {
	line := l.text(format, args)
	if strings.Contains(line, connectionClosed) {
		l.told(line, origin.ReplaceAllString(line, ""))
	}
	l.log.Debug(line)
}

func (l *logger) Fatalf(format string, args ...any) {
	text := l.text(format, args)
	if strings.HasPrefix(text, noClients) {
		return // as it shall be
	}
	select {
	case l.failed <- text: // whoever is told reports it
	default:
	}
}

func (l *logger) text(format string, args []any) string {
	return l.hide.Replace(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// origin is how nats-server begins a line that is about a route, or about an attempt to make one.
var origin = regexp.MustCompile(`^(\S+ - rid:\d+ - |Error trying to connect to route \(attempt \d+\): )`)

// connectionClosed is in what nats-server says at the end of a route.
const connectionClosed = "connection closed: "

// noClients is how nats-server says that it cannot listen for clients.
var noClients = fmt.Sprintf("Error listening on port: %s:%d,", noHost, noPort)

var number = regexp.MustCompile(`\d+`)

func (l *logger) wrong(line string) {
	l.told(line, origin.ReplaceAllString(line, ""))
	if l.isNew(line, time.Now()) {
		l.log.Warn("a route of the network has failed: " + line)
	}
}

// isNew says that a line was not logged lately, be it with other numbers: of attempts, connections or their ports.
func (l *logger) isNew(line string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := l.key(line)
	if at, ok := l.said[key]; ok && now.Sub(at) < sayAgainAfter {
		return false
	}
	if len(l.said) >= maxSaid {
		clear(l.said)
	}
	l.said[key] = now
	return true
}

// key leaves of a line what two of its repetitions have in common. Of a peer that connects to us, and has another port each time,
// that is its host; of one to which we connect it is the port too, for the sake of those that differ by it.
func (l *logger) key(line string) string {
	prefix := origin.FindString(line)
	rest := strings.TrimPrefix(line, prefix)
	if host, _, ok := strings.Cut(prefix, ":"); ok && strings.Contains(prefix, " - rid:") {
		return host + " " + number.ReplaceAllString(rest, "#")
	}
	return rest
}
