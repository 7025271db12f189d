package failover

import "time"

// A pace holds what a standby is sent from the disk, because it was away, to a rate, so that the clients of the master hardly
// notice: to the one that is wished for, or to twice what the log grows by, if that is more, for else the standby would not
// come nearer.
type pace struct {
	rate  int64 // octets a second that are wished for; 0: as fast as it can
	owed  int64 // octets that no rest was taken for
	until time.Time

	looked time.Time // when the growth of the log was looked at
	grown  int64     // the octets that it had grown by, then
	growth int64     // a second
}

const (
	// paceLooks is how often the growth of the log is looked at.
	paceLooks = time.Second
	// paceLate is what may be made up for: a busy machine wakes nobody in time, and each frame takes its while.
	paceLate = 100 * time.Millisecond
	// paceShortest is the shortest rest that is worth a timer. Shorter ones add up.
	paceShortest = time.Millisecond
)

// sent notes a frame from the disk.
func (p *pace) sent(octets int) { p.owed += int64(octets) }

// due says that something was sent since the last rest, and is to be paid for.
func (p *pace) due() bool { return p.owed > 0 && p.rate > 0 }

// rest is how long to wait from when a frame was asked for until the next is, when the log has grown by so many octets since
// it was opened.
func (p *pace) rest(asked time.Time, grown int64) time.Duration {
	if since := asked.Sub(p.looked); since >= paceLooks {
		if !p.looked.IsZero() {
			p.growth = int64(float64(max(0, grown-p.grown)) / since.Seconds())
		}
		p.looked, p.grown = asked, grown
	}
	if asked.Sub(p.until) > paceLate {
		p.until = asked
	}
	p.until = p.until.Add(time.Duration(float64(p.owed) / float64(max(p.rate, 2*p.growth)) * float64(time.Second)))
	p.owed = 0
	if rest := p.until.Sub(asked); rest >= paceShortest {
		return rest
	}
	return 0
}
