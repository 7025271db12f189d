package broker

import (
	"bytes"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
)

// agrees refuses a SUBSCRIBE with headers that cannot both be meant: to heed only
// one of them would be a surprise later.
func agrees(f *stomp.Frame, c destinations.Consumer) error {
	r := propertyReader{frame: f}
	if c.Ack == destinations.AckAuto {
		r.alone(headerAck+":auto", "no delivery waits for its acknowledgement or is in vain",
			headerAckTimeout, headerRedeliveryDelay, headerRedeliveryMultiplier, headerMaxRedeliveryDelay, headerMaxDeliveries)
	}
	const browses = headerBrowser + ":true"
	if c.Browse && c.Exclusive {
		r.alone(browses, "nothing is consumed", headerExclusive, headerActiveMQExclusive, headerSingleActive)
	}
	if c.Browse && c.NoLocal {
		r.alone(browses, "everything in the queue is shown, whoever sent it", headerNoLocal, headerActiveMQNoLocal)
	}
	if c.Browse {
		r.alone(browses, "the queue is left alone", headerQueueExpires)
	}
	for _, aliases := range [][]string{
		{headerPrefetchCount, headerPrefetchSize},
		{headerConsumerPriority, headerActiveMQPriority, headerXPriority},
		{headerExclusive, headerActiveMQExclusive, headerSingleActive},
		{headerNoLocal, headerActiveMQNoLocal},
		{headerRetroactive, headerActiveMQRetroactive},
	} {
		r.alike(aliases)
	}
	return r.err
}

// alike refuses headers that mean the same and have different values.
func (r *propertyReader) alike(aliases []string) {
	first, name := r.header(aliases...)
	for _, alias := range aliases {
		if v, ok := r.frame.Header(alias); ok && !bytes.Equal(v, first) {
			r.fail("the headers %s and %s contradict each other: they mean the same and differ", name, alias)
		}
	}
}

// lease reads how long the queue of a SUBSCRIBE may be left unused; 0 if it does
// not say.
func lease(f *stomp.Frame) (time.Duration, error) {
	r := propertyReader{frame: f}
	unused := r.millis(1, headerQueueExpires)
	return time.Duration(unused) * time.Millisecond, r.err
}
