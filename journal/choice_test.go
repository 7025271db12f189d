package journal

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestChoice(t *testing.T) {
	t.Parallel()
	const full = 64 << 20
	c := choice{segment: full, amplification: 2}
	some := candidate{bytes: full, live: full * 2 / 3}
	half := candidate{bytes: full, live: full / 3}
	dead := candidate{bytes: full}
	small := candidate{bytes: 10_000, live: 10_000 - sparseBytes}
	barred := candidate{bytes: full, barred: true}
	big := candidate{bytes: 2 * full, live: full / 2}
	all := candidate{bytes: full / 2, live: full/2 - sparseBytes}
	for name, test := range map[string]struct {
		all  []candidate
		i, j int
	}{
		"nothing":                            {nil, 0, 0},
		"enough is live":                     {[]candidate{some, all, some}, 0, 0},
		"one is dead":                        {[]candidate{some, dead, some}, 1, 2},
		"the deader one first":               {[]candidate{some, half, some, dead, some}, 3, 4},
		"of equals the oldest":               {[]candidate{some, dead, some, dead}, 1, 2},
		"dead ones together":                 {[]candidate{some, dead, dead, dead, some}, 1, 4},
		"never the damaged one":              {[]candidate{dead, barred, dead}, 0, 1},
		"a large one alone":                  {[]candidate{some, big}, 1, 2},
		"small ones together":                {[]candidate{some, small, small, small}, 1, 4},
		"a dead one into its old neighbour":  {[]candidate{small, dead}, 0, 2},
		"not half a segment for a small one": {[]candidate{all, small}, 0, 0},
		"one small file is small enough":     {[]candidate{some, {bytes: sparseBytes}, some}, 0, 0},
	} {
		if i, j := c.best(test.all); i != test.i || j != test.j {
			t.Errorf("%s: %d to %d, want %d to %d", name, i, j, test.i, test.j)
		}
	}
}

// TestChoiceConverges plays a log of which random parts die at once, later or never, and cleans after each step: disk use
// keeps to its bound, so does the number of files, and what is written to clean is bounded by what was appended.
func TestChoiceConverges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := choice{segment: 1 << 20, amplification: []float64{1.2, 2, 5}[seed%3]}
		lives := seed % 5 // how much of each segment stays long
		var all []candidate
		var appended, written int64
		for step := range 400 {
			all = append(all, candidate{bytes: c.segment, live: c.segment - sparseBytes})
			appended += c.segment + c.segment/8 // a file costs as much
			for i := range all {
				if n := len(all) - i; n > 5 && r.IntN(n) == 0 || n == 5 {
					all[i].live = int64(float64(all[i].live) * r.Float64() * float64(lives) / 4)
				}
			}
			for {
				i, j := c.best(all)
				if i == j {
					break
				}
				var live int64
				for _, k := range all[i:j] {
					live += k.live
				}
				written += live
				all = slices.Replace(all, i, j, candidate{bytes: live + sparseBytes, live: live})
			}
			var bytes, live int64
			for _, k := range all {
				bytes, live = bytes+k.bytes, live+k.live
			}
			files := int64(len(all))
			groups := 2*live/c.segment + 2 // of neighbours that fit one segment
			if limit := c.amplification * float64(live+groups*sparseBytes); float64(bytes) > limit {
				t.Fatalf("seed %d step %d: %d bytes for %d live", seed, step, bytes, live)
			}
			if limit := groups + int64((c.amplification-1)*float64(live)/float64(c.segment/8)) + 1; files > limit {
				t.Fatalf("seed %d step %d: %d files for %d live bytes, want at most %d", seed, step, files, live, limit)
			}
		}
		if float64(written) > float64(appended)/(c.amplification-1) {
			t.Errorf("seed %d: %d bytes written for %d appended", seed, written, appended)
		}
	}
}
