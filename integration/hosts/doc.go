// Package hosts makes machines of network namespaces: hosts with addresses of their own, and a router between them that
// loses what it is told to lose, in one direction or in both, without a word to either side.
//
//	host 0 ── 10.97.0.1 ──┐
//	host 1 ── 10.97.0.2 ──┼── router: ip rule … from 10.97.0.1 to 10.97.0.2 blackhole
//	host 2 ── 10.97.0.3 ──┘
//
// Invariants: nothing outside of the namespaces is touched, and they have no names: a namespace lives as long as a process in
// it, those that this package starts end with Close, or with this process however it ends. Networks do not meet, so that
// all have the same addresses. A lost packet is answered by nobody: connections do not end, they fall silent.
//
// It needs Linux, root, and the commands ip (Debian's iproute2), nsenter and unshare (util-linux); Unavailable says what is
// missing.
//
// An example:
//
//	n, err := hosts.New(ctx, 3)
//	defer n.Close()
//	cmd := exec.Command(n.Hosts[0].Enter[0], append(n.Hosts[0].Enter[1:], "baton", "serve")...)
//	err = n.Cut(ctx, hosts.Way{From: 0, To: 1})
package hosts
