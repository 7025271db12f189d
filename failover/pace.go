package failover

import "time"

// A pace holds what a standby is sent from the disk, because it was away, to a rate: the clients of the master are not to
// notice. Where it comes no nearer at this rate, because the log grows as fast, it goes as fast as it can.
type pace struct {
	rate  int64 // octets a second; 0: as fast as it can
	owed  time.Duration
	hurry bool
	spent int64  // octets since the distance was looked at
	away  uint64 // records that lacked then
}

// sent notes a frame from the disk, and how many records the standby still lacks after it.
func (p *pace) sent(octets int, lacks uint64) {
	if p.rate <= 0 {
		return
	}
	if p.spent += int64(octets); p.spent >= p.rate { // what takes a second
		p.hurry = p.away > 0 && lacks >= p.away
		p.spent, p.away = 0, lacks
	}
	if !p.hurry {
		p.owed += time.Duration(float64(octets) / float64(p.rate) * float64(time.Second))
	}
}

// pause is how long to rest now, for what was sent since it was asked last.
func (p *pace) pause() (rest time.Duration) {
	rest, p.owed = p.owed, 0
	return rest
}
