package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// stagger is how long an address has to answer before the next one is tried beside it: a host that is silent holds up
// nobody.
const stagger = 250 * time.Millisecond

// A dialer finds the broker that serves. Only one goroutine uses it at a time.
type dialer struct {
	url     *URL
	options Options
	learned []string // addresses that brokers have told
	lost    string   // the address of the last connection
	vain    int      // attempts since there was a connection of use
}

// connect gives a connection to the first broker that answers. Each attempt tries all addresses, of which one that has not answered
// goes on being waited for while others are tried again. limit is of attempts; -1: none. The error names what each address
// said.
func (d *dialer) connect(ctx context.Context, limit int) (*link, error) {
	flying, land := context.WithCancel(ctx)
	s := &search{dialer: d, ctx: flying, results: make(chan result), said: map[string]error{}}
	defer s.end(land)
	ready := d.order()
	if d.vain > 0 {
		if l, err := s.await(time.After(d.delay())); l != nil || err != nil {
			return l, err
		}
	}
	for attempt := 1; ; attempt++ {
		for _, address := range ready {
			s.start(address)
			if l, err := s.next(time.After(stagger)); l != nil || err != nil {
				return l, err
			}
		}
		last := limit >= 0 && attempt >= limit
		for len(s.failed) == 0 || last && s.open > 0 {
			if l, err := s.next(nil); l != nil || err != nil {
				return l, err
			}
		}
		if last {
			return nil, s.why()
		}
		d.vain++
		if d.url.WarnAfter > 0 && attempt%d.url.WarnAfter == 0 && d.options.OnRetry != nil {
			d.options.OnRetry(attempt, s.why())
		}
		if l, err := s.await(time.After(d.delay())); l != nil || err != nil {
			return l, err
		}
		ready, s.failed = s.failed, nil
	}
}

// order is that in which the addresses are tried: that of the lost connection comes last.
func (d *dialer) order() []string {
	all := slices.Concat(d.url.Addresses, d.learned)
	if d.url.Randomize {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	if i := slices.Index(all, d.lost); i >= 0 {
		all = append(slices.Delete(all, i, i+1), d.lost)
	}
	return all
}

// delay is what follows the attempts in vain, with up to half of it left to chance, so that many clients do not come at once.
func (d *dialer) delay() time.Duration {
	delay := float64(d.url.InitialDelay)
	for range d.vain - 1 {
		if !d.url.Exponential || delay >= float64(d.url.MaxDelay) {
			break
		}
		delay *= d.url.Exponent
	}
	delay = min(delay, float64(d.url.MaxDelay))
	return time.Duration(delay * (0.5 + rand.Float64()/2))
}

// learn takes the addresses of the header brokers. What is no address is left out.
func (d *dialer) learn(connected *frame.Header) {
	if !d.url.UpdateURIs {
		return
	}
	for text := range strings.FieldsFuncSeq(connected.Get("brokers"), func(r rune) bool { return r == ',' || r == ' ' }) {
		address, err := parseAddress(text)
		known := slices.Contains(d.url.Addresses, address) || slices.Contains(d.learned, address)
		if err == nil && !known && len(d.url.Addresses)+len(d.learned) < maxAddresses {
			d.learned = append(d.learned, address)
		}
	}
}

// A search is one call of connect.
type search struct {
	*dialer
	ctx     context.Context // of all that is under way
	results chan result
	open    int      // addresses that are waited for
	failed  []string // those that are not any more
	said    map[string]error
}

type result struct {
	address string
	link    *link
	err     error
}

func (s *search) start(address string) {
	s.open++
	go func() {
		l, err := s.dialer.open(s.ctx, address)
		s.results <- result{address, l, err}
	}()
}

// next waits for the next answer, or until the time is over.
func (s *search) next(over <-chan time.Time) (*link, error) {
	l, _, err := s.take(over)
	return l, err
}

// await waits for a connection until the time is over.
func (s *search) await(over <-chan time.Time) (*link, error) {
	for {
		if l, timeIsOver, err := s.take(over); l != nil || timeIsOver || err != nil {
			return l, err
		}
	}
}

func (s *search) take(over <-chan time.Time) (l *link, timeIsOver bool, err error) {
	select {
	case r := <-s.results:
		s.open--
		if r.err == nil {
			return r.link, false, nil
		}
		s.said[r.address] = r.err
		s.failed = append(s.failed, r.address)
		return nil, false, nil
	case <-over:
		return nil, true, nil
	case <-s.ctx.Done():
		return nil, false, s.gaveUp()
	}
}

// end gives up what is still under way, and waits for it.
func (s *search) end(land context.CancelFunc) {
	land()
	for ; s.open > 0; s.open-- {
		if r := <-s.results; r.link != nil {
			_ = r.link.Close()
		}
	}
}

// gaveUp says why the search ended, and what it had found by then.
func (s *search) gaveUp() error {
	if why := s.why(); why != nil {
		return fmt.Errorf("%w: %w", why, context.Cause(s.ctx))
	}
	return fmt.Errorf("cannot connect: %w", context.Cause(s.ctx))
}

// why is what the addresses said last, in the order of the URL.
func (s *search) why() error {
	var all []string
	var causes []error
	for _, address := range slices.Concat(s.url.Addresses, s.learned) {
		if err := s.said[address]; err != nil {
			all = append(all, fmt.Sprintf("%s: %v", address, reason(err)))
			causes = append(causes, err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &connectError{"cannot connect: " + strings.Join(all, "; "), causes}
}

// A connectError says what each address said, and is all of it to errors.Is and errors.As.
type connectError struct {
	text   string
	causes []error
}

func (e *connectError) Error() string   { return e.text }
func (e *connectError) Unwrap() []error { return e.causes }

// reason drops from a network error what the sentence around it says already.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
