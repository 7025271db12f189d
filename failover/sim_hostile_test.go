package failover_test

import (
	"math/rand/v2"

	"baton/failover"
	"baton/failover/registertest"
)

func init() {
	failover.NewHostileRegister = func(source *rand.Rand, percent func() int) failover.HostileRegister {
		return hostile{registertest.New(func(op registertest.Op) registertest.Fate {
			return registertest.Hostile(source, percent())(op)
		})}
	}
}

// hostile is a register as the simulation uses it.
type hostile struct{ *registertest.Register }

func (h hostile) Watching() func() (failover.Reading, error, bool) { return h.Watcher().Next }
