//go:build !unix

package main

// openFiles is how many sockets we count on where the system has no limit to ask for.
func openFiles() uint64 { return 8192 }
