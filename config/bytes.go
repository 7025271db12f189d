package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is an amount of memory, disk or traffic in bytes. It is written with a binary unit, "64MiB", or as a plain
// number.
type Bytes int64

// The units that Bytes are written in.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

var byteUnits = []struct {
	name string
	size Bytes
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// ParseBytes reads what [Bytes.String] writes: digits, then nothing, B, KiB, MiB, GiB or TiB.
func ParseBytes(text string) (Bytes, error) {
	digits, size := text, Bytes(1)
	for _, unit := range byteUnits {
		if before, ok := strings.CutSuffix(text, unit.name); ok {
			digits, size = strings.TrimRight(before, " "), unit.size
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || Bytes(n) > math.MaxInt64/size {
		return 0, fmt.Errorf("%q is not a size: want a number of bytes or one with KiB, MiB, GiB or TiB, such as 64MiB", text)
	}
	return Bytes(n) * size, nil
}

// String is the exact amount in the largest unit that divides it; amounts below 1KiB have none.
func (b Bytes) String() string {
	for _, unit := range byteUnits {
		if b != 0 && unit.size > 1 && b%unit.size == 0 {
			return strconv.FormatInt(int64(b/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
