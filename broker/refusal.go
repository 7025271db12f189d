package broker

import (
	"time"

	"baton/broker/stomp"
	"baton/destinations"
)

// refusal reads what a NACK wants done with its message. Of extending, delaying
// and dead-lettering it can want one.
func refusal(f *stomp.Frame, c *destinations.Command) error {
	r := propertyReader{frame: f}
	requeue, err := truth(f, headerRequeue, true)
	if err != nil {
		return err
	}
	more := destinations.More{Refusal: destinations.Refusal{Reject: !requeue, Delay: r.delay(headerDelay)}}
	more.Extend = time.Duration(r.millis(1, headerExtend)) * time.Millisecond
	switch {
	case more.Extend != 0:
		r.alone(headerExtend, "it refuses nothing", headerRequeue, headerDelay)
	case more.Refusal.Reject:
		r.alone(headerRequeue+":false", "the message does not come again", headerDelay)
	}
	if more.Refusal != (destinations.Refusal{}) || more.Extend != 0 {
		c.More = &more
	}
	return r.err
}

// alone refuses a frame with what and one of others, and says why it makes no
// sense.
func (r *propertyReader) alone(what, why string, others ...string) {
	if _, other := r.header(others...); other != "" {
		r.fail("the headers %s and %s contradict each other: with the first, %s", what, other, why)
	}
}

// ackTimeout reads how long a delivery may be left unacknowledged; 0 if a
// SUBSCRIBE does not say.
func ackTimeout(f *stomp.Frame) (time.Duration, error) {
	r := propertyReader{frame: f}
	timeout := r.millis(1, headerAckTimeout)
	return time.Duration(timeout) * time.Millisecond, r.err
}
