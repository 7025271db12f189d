package failover

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	const MiB = 1 << 20
	p := pace{rate: 4 * MiB}
	now, grown, late := time.Now(), int64(0), time.Duration(0)
	// sends is how long it takes to send so much, while the log grows by so much a second. Each frame takes 5 ms to write.
	sends := func(octets, growth int64) time.Duration {
		begun := now
		for ; octets > 0; octets -= 256 << 10 {
			p.sent(256 << 10)
			before := now
			rest := p.rest(now, grown)
			if rest > 0 {
				rest += late
			}
			if now = now.Add(max(5*time.Millisecond, rest)); p.due() {
				t.Fatal("the same is owed twice")
			}
			grown += int64(float64(growth) * now.Sub(before).Seconds())
		}
		return now.Sub(begun)
	}
	near := func(what string, took, wanted time.Duration) {
		t.Helper()
		if took < wanted*95/100 || took > wanted*105/100 {
			t.Errorf("%s took %v, not %v", what, took, wanted)
		}
	}
	near("40 MiB at 4 MiB/s", sends(40*MiB, 0), 10*time.Second)
	near("40 MiB while the log grows by 1 MiB/s", sends(40*MiB, 1*MiB), 10*time.Second)
	late = 30 * time.Millisecond
	near("40 MiB at 4 MiB/s, the sender being late each time", sends(40*MiB, 0), 10*time.Second)
	late = 0
	sends(40*MiB, 10*MiB) // it takes notice
	near("40 MiB while the log grows by 10 MiB/s", sends(40*MiB, 10*MiB), 2*time.Second)
	sends(40*MiB, 0)
	near("40 MiB when it has stopped growing", sends(40*MiB, 0), 10*time.Second)
	now = now.Add(time.Hour)
	near("40 MiB after an hour without any", sends(40*MiB, 0), 10*time.Second)

	p = pace{rate: 64 * MiB}
	begun := now
	for range 1024 {
		p.sent(64 << 10)
		if rest := p.rest(now, grown); rest > 0 && rest < paceShortest {
			t.Fatalf("it rests for %v", rest)
		} else {
			now = now.Add(rest)
		}
	}
	near("64 MiB in frames that are worth less than a rest", now.Sub(begun), time.Second)

	fast := pace{}
	if fast.sent(1 << 30); fast.due() {
		t.Error("it rests without a rate")
	}
}
