//go:build race

package journal_test

// stride thins out the longest enumerations where the race detector makes each step ten times as long.
const stride = 9
