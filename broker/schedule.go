package broker

import "baton/destinations"

// schedule refuses what says by halves when a message is to come.
func (r *propertyReader) schedule(p *destinations.Props) {
	switch {
	case p.Repeat != 0 && p.Period == 0:
		r.fail("the header %s needs %s, the ms from one copy to the next", headerScheduledRepeat, headerScheduledPeriod)
	case p.Cron != "" && p.Deliver != 0:
		r.fail("the headers %s and %s contradict each other: each says when the message comes", headerScheduledCron, headerScheduledTime)
	}
}
