package main

import "baton/config"

// lowWater is journal.low_water or, when that is left to the broker, 1 GiB or a twentieth of the disk, whichever is more,
// and at most half of it.
func lowWater(asked, disk config.Bytes) config.Bytes {
	switch {
	case asked > 0:
		return asked
	case disk == 0: // nobody knows
		return config.GiB
	}
	return min(max(config.GiB, disk/20), disk/2)
}
