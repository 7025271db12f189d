package main

import "fmt"

// verdict says whether a criterion of a proof holds.
type verdict struct {
	criterion string
	measured  string
	wanted    string
	holds     bool
	timed     bool // depends on the speed of the machine
}

func (v verdict) String() string {
	word := "FAIL"
	if v.holds {
		word = "PASS"
	}
	return fmt.Sprintf("%-4s  %-56s %14s   %s", word, v.criterion, v.measured, v.wanted)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
