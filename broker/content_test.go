package broker

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
)

// An outage is told once, however many writers meet it, and again when it is
// over for all; one that comes soon after is not told at all.
func TestOutageIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.InfoLevel)
		o := &outage{logger: zap.New(core)}
		d, err := &destinations.Delivery{Label: &destinations.Label{Destination: destinations.Queue("a")}}, errors.New("why")
		want := func(levels ...zapcore.Level) {
			t.Helper()
			var got []zapcore.Level
			for _, line := range logged.TakeAll() {
				got = append(got, line.Level)
			}
			if fmt.Sprint(got) != fmt.Sprint(levels) {
				t.Errorf("told %v, want %v", got, levels)
			}
		}
		o.begin(d, err)
		o.begin(d, err)
		want(zap.ErrorLevel)
		o.end(true)
		want()
		o.begin(d, err)
		o.end(true)
		o.end(true)
		want(zap.InfoLevel)
		o.begin(d, err)
		o.end(true)
		want()
		time.Sleep(outageQuiet)
		o.begin(d, err)
		want(zap.ErrorLevel)
		time.Sleep(outageQuiet)
		o.begin(d, err)
		o.end(false)
		o.end(false)
		want()
	})
}
