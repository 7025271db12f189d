package broker

import (
	"math"
	"strconv"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
)

// properties reads what the headers of a SEND, which have these roles, ask for
// beyond being delivered.
func properties(f *stomp.Frame, roles role) (*destinations.Props, error) {
	r := propertyReader{frame: f}
	p := &destinations.Props{Priority: destinations.DefaultPriority}
	if roles&rolePriority != 0 {
		p.Priority = r.priority()
	}
	if roles&roleExpiry != 0 {
		p.Expires = r.moment(headerExpires)
		p.TTL = r.millis(0, headerExpiration, headerMessageTTL)
	}
	if roles&roleSchedule != 0 {
		p.Delay = r.millis(0, headerScheduledDelay, headerXDelay)
		p.Deliver = r.moment(headerScheduledTime)
		p.Period = r.millis(0, headerScheduledPeriod)
		p.Repeat = int32(r.number(-1, math.MaxInt32, headerScheduledRepeat))
		p.Cron = r.cron()
		r.schedule(p)
	}
	if roles&roleGroup != 0 {
		p.Group = r.text(headerGroupID)
		p.GroupSeq = r.groupSeq()
	}
	if roles&roleDedup != 0 {
		p.DedupID = r.text(headerDeduplicationID, headerDuplicateID, headerXDeduplicationID)
	}
	if roles&roleLastValue != 0 {
		p.Key = r.text(headerLastValueKey, headerLastValueName)
	}
	return p, r.err
}

// A propertyReader reads headers, each by the first of its names that is there,
// and remembers the first error.
type propertyReader struct {
	frame *stomp.Frame
	err   error
}

func (r *propertyReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = refuse(codeHeader, format, args...)
	}
}

func (r *propertyReader) header(names ...string) (value []byte, name string) {
	for _, name := range names {
		if v, ok := r.frame.Header(name); ok && len(v) > 0 {
			return v, name
		}
	}
	return nil, ""
}

// The most ms that anything which a client asks for may last, and the last time
// that it may name.
const (
	maxMillis = int64(destinations.Longest / time.Millisecond)
	maxMoment = 253_402_300_799_999
)

// number reads one from least to most; 0 if it is not there.
func (r *propertyReader) number(least, most int64, names ...string) int64 {
	return r.between(least, most, "a number from %d to %d", names...)
}

// millis reads how long something lasts, from least ms on; 0 if it does not say.
func (r *propertyReader) millis(least int64, names ...string) int64 {
	return r.between(least, maxMillis, "ms, from %d to %d (10 years)", names...)
}

// moment reads a time in Unix ms; 0 if it is not there.
func (r *propertyReader) moment(names ...string) int64 {
	return r.between(0, maxMoment, "ms since 1970, from %d to %d (the year 9999)", names...)
}

func (r *propertyReader) between(least, most int64, what string, names ...string) int64 {
	v, name := r.header(names...)
	if v == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < least || n > most {
		r.fail("the header %s is %q: it must be "+what, name, excerpt(string(v)), least, most)
		return 0
	}
	return n
}

// priority reads it. As in ActiveMQ, one beyond the ends is that of the end.
func (r *propertyReader) priority() uint8 {
	v, name := r.header(headerPriority)
	if v == nil {
		return destinations.DefaultPriority
	}
	n, err := strconv.Atoi(string(v))
	if err != nil {
		r.fail("the header %s must be a number from 0 to %d", name, destinations.MaxPriority)
	}
	return uint8(min(max(n, 0), destinations.MaxPriority))
}

func (r *propertyReader) groupSeq() int32 {
	v, name := r.header(headerGroupSeq)
	if v == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(v), 10, 32)
	if err != nil {
		r.fail("the header %s must be a number of 32 bits", name)
	}
	return int32(n)
}

func (r *propertyReader) text(names ...string) string {
	v, name := r.header(names...)
	if len(v) > destinations.MaxPropBytes {
		r.fail("the header %s has %d octets; at most %d are allowed", name, len(v), destinations.MaxPropBytes)
		return ""
	}
	return string(v)
}

func (r *propertyReader) cron() string {
	text := r.text(headerScheduledCron)
	if text == "" {
		return ""
	}
	if err := destinations.CheckCron(text); err != nil {
		r.fail("the header %s cannot be read: %v", headerScheduledCron, err)
	}
	return text
}

// stampBytes is what a timestamp takes as a header line.
const stampBytes = len(headerTimestamp) + len(":1767323045678\n")

// appendStamp appends a header line that says when a message came. It stays with
// it, so that it is the same at each delivery.
func appendStamp(dst []byte, now time.Time) []byte {
	dst = append(dst, headerTimestamp+":"...)
	dst = strconv.AppendInt(dst, now.UnixMilli(), 10)
	return append(dst, '\n')
}

// redelivery reads how a subscription wants what it refuses to come again; nil if
// it does not say.
func redelivery(f *stomp.Frame) (*destinations.Redelivery, error) {
	r := propertyReader{frame: f}
	own := destinations.Redelivery{
		MaxDeliveries: int(r.number(1, maxDeliveries, headerMaxDeliveries)),
		MaxDelay:      time.Duration(r.millis(1, headerMaxRedeliveryDelay)) * time.Millisecond,
		Delay:         r.delay(headerRedeliveryDelay),
		Multiplier:    r.multiplier(),
	}
	if r.err != nil || own == (destinations.Redelivery{}) {
		return nil, r.err
	}
	return &own, nil
}

const (
	maxDeliveries = 65_535
	maxMultiplier = 1000
)

// delay reads how long a message waits before its next delivery: 0 if it does not
// say, negative if it says not at all.
func (r *propertyReader) delay(name string) time.Duration {
	n := r.millis(0, name)
	if v, _ := r.header(name); v != nil && n == 0 {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

func (r *propertyReader) multiplier() float64 {
	v, name := r.header(headerRedeliveryMultiplier)
	if v == nil {
		return 0
	}
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil || !(x >= 1 && x <= maxMultiplier) {
		r.fail("the header %s must be a number from 1 to %d", name, maxMultiplier)
		return 0
	}
	return x
}
