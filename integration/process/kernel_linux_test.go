package process

import (
	"os"
	"testing"
)

// What a process computes counts, and the kernel's clock is that of the process that was named.
func TestCPUTime(t *testing.T) {
	t.Parallel()
	before, err := CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i := range 50_000_000 {
		sum += i ^ sum
	}
	after, err := CPUTime(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("%v, then %v after a computation to %d, %v", before, after, sum, err)
	}
	b := started(t, fake(t, "ends with 0"))
	if its, err := CPUTime(b.Pid()); err != nil || its <= 0 || its >= after {
		t.Errorf("a process that has hardly begun: %v, and this one %v, %v", its, after, err)
	}
	b.Kill()
	if its, err := CPUTime(b.Pid()); err == nil {
		t.Errorf("a process that has ended: %v", its)
	}
}

func TestResetPeak(t *testing.T) {
	t.Parallel()
	b := started(t, fake(t, "ends with 0"))
	if err := ResetPeak(b.Pid()); err != nil {
		t.Error(err)
	}
	b.Kill()
	if err := ResetPeak(b.Pid()); err == nil {
		t.Error("a process that has ended has had its peak reset")
	}
}
