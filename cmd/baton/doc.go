// Command baton is the broker, and the tools to speak with one.
//
//	baton serve            runs a broker
//	baton arbiter          runs the third party of pairs, which keeps who is master
//	baton send DEST        sends messages, and waits for the receipt of each
//	baton receive DEST     prints messages, and acknowledges each when it is printed
//	baton config           checks and prints the configuration
//	baton journal          looks into a journal on disk, and repairs it
//	baton version          says which build this is
//
// Everything is wired here, and nothing is decided here but what depends on the machine: how much of its memory, disk and
// open files a broker takes that was not told.
//
//	config.Load -> serve -> broker.New -> journal.Open -> Recover -> Serve until a signal
//
// Results go to standard output; what concerns the person who waits goes to standard error: errors in one line that
// starts with "baton:", the log, progress on a terminal. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
//
// Example:
//
//	baton serve --listen 127.0.0.1:0 --data /tmp/baton
package main
