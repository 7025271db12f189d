package broker

import (
	"baton/broker/stomp"
	"baton/destinations"
)

// schedule refuses what says by halves when a message is to come.
func (r *propertyReader) schedule(p *destinations.Props) {
	switch {
	case p.Repeat != 0 && p.Period == 0:
		r.fail("the header %s needs %s, the ms from one copy to the next", headerScheduledRepeat, headerScheduledPeriod)
	case p.Cron != "" && p.Deliver != 0:
		r.fail("the headers %s and %s contradict each other: each says when the message comes", headerScheduledCron, headerScheduledTime)
	}
}

// schedulerManagement is where ActiveMQ takes orders about what is scheduled.
var schedulerManagement = destinations.Topic("ActiveMQ.Scheduler.Management")

// actionRemove is the order that is understood: what waits is the business of
// who sent it, so nobody may see or remove all of it.
const actionRemove = "REMOVE"

// manageSchedule carries out a SEND to schedulerManagement, which no subscriber
// sees.
func (s *session) manageSchedule(f *stomp.Frame, c *destinations.Command) error {
	action, err := required(f, headerSchedulerAction)
	if err != nil {
		return err
	}
	if action != actionRemove {
		return refuse(codeUnsupported, "the header %s is %q: only %s is understood", headerSchedulerAction, excerpt(action), actionRemove)
	}
	if _, in := f.Header(headerTransaction); in {
		return refuse(codeUnsupported, "%s takes effect at once: it cannot be in a transaction", actionRemove)
	}
	id, err := required(f, headerScheduledJobID)
	if err != nil {
		return err
	}
	job, ok := parseMessageID(s.server.name, id)
	if !ok {
		return refuse(codeHeader, "the header %s is %q, which is no id of this broker", headerScheduledJobID, excerpt(id))
	}
	c.Op, c.Delivery = destinations.Cancel, job
	s.add(c)
	return nil
}

// appendJob appends the header that names what a message was called while it
// waited for its time.
func appendJob(dst []byte, broker string, id destinations.MessageID) []byte {
	dst = append(dst, headerScheduledJobID+":"...)
	return append(appendMessageID(dst, broker, id, 0), '\n')
}
