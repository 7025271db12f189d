package failover

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	p := pace{rate: 1 << 20}
	lacks := uint64(10_000)
	send := func(frames int, step int64) (rested time.Duration) {
		for range frames {
			lacks = uint64(int64(lacks) + step)
			p.sent(256<<10, lacks)
			rested += p.pause()
		}
		return rested
	}
	if rested := send(8, -100); rested != 2*time.Second {
		t.Errorf("2 MiB at 1 MiB/s rested %v", rested)
	}
	if p.pause() != 0 {
		t.Error("it rests twice")
	}
	send(4, +100) // the log grows faster
	if rested := send(4, +100); rested != 0 {
		t.Errorf("it rested %v, and the standby comes no nearer", rested)
	}
	send(4, -1000)
	if rested := send(4, -1000); rested != time.Second {
		t.Errorf("it rested %v for 1 MiB, and the standby comes nearer", rested)
	}
	fast := pace{}
	if fast.sent(1<<30, 0); fast.pause() != 0 {
		t.Error("it rests without a rate")
	}
}
