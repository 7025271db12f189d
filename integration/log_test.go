package integration

import (
	"regexp"
	"testing"
)

// defects are words that only a broken broker logs.
var defects = regexp.MustCompile(`(?m)^.*(DATA RACE|panic:|BUG:|fatal error:).*$`)

func checkLog(t *testing.T, log string) {
	t.Helper()
	if line := defects.FindString(log); line != "" {
		t.Errorf("the broker logged a defect: %s\n%s", line, log)
	}
}

func TestDefectsAreSeen(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"WARNING: DATA RACE", "panic: nil", `{"msg":"BUG: x"}`, "fatal error: all asleep"} {
		if !defects.MatchString("fine\n" + line + "\nfine") {
			t.Errorf("%q is not seen as a defect", line)
		}
	}
	if defects.MatchString("baton ready: STOMP on 127.0.0.1:1") {
		t.Error("a clean log is seen as a defect")
	}
}
