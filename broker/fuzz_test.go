package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/broker/stomp/stomptest"
)

// FuzzSession says anything at all to a session, after a CONNECT of version
// 1.0, 1.1 or 1.2 or without one. Nothing panics, the session ends, and others
// go on.
func FuzzSession(f *testing.F) {
	for _, packets := range [][]stomptest.Packet{stomptest.Good, stomptest.Hostile} {
		for _, p := range packets {
			version := uint8(p.Version[2] - '0')
			if p.BeforeConnect {
				version = 3
			}
			if len(p.Bytes) < 1<<10 {
				f.Add(version, p.Bytes)
			}
		}
	}
	f.Fuzz(func(t *testing.T, version uint8, octets []byte) {
		synctest.Test(t, func(t *testing.T) {
			core, logged := observer.New(zapcore.ErrorLevel)
			h := servePipes(t, Options{Logger: zap.New(core)})
			other := h.connect("1.2")
			c := h.dial()
			if version %= 4; version < 3 {
				c.hello(fmt.Sprintf("1.%d", version))
			}
			c.offer(string(octets))
			time.Sleep(time.Minute) // half a frame may wait, but not for ever
			c.close()
			synctest.Wait()
			h.mu.Lock()
			left := len(h.sessions)
			h.mu.Unlock()
			if left != 1 {
				t.Errorf("%d sessions are left", left)
			}
			other.nothing()
			for _, entry := range logged.All() {
				t.Errorf("logged: %s %v", entry.Message, entry.ContextMap())
			}
		})
	})
}
