// Package promela holds pair.pml, the protocol of the pair once more, for spin: see README.md of failover. Its tests need
// spin and a C compiler.
package promela
