// Package process builds the real baton binary and runs it as a child process, so that tests and benchmarks meet the
// broker as a user does: through its socket, its files, its signals and its exit code.
//
//	Build ──> binary ──> Start ──> Broker{Addr} ──> Kill        (SIGKILL, reaped)
//	                       │  waits for the ready line  Terminate   (SIGTERM, exit code)
//	                       └─ or returns why it ended
//
// Invariants: a Broker that Start returned accepts connections; every process is reaped by Kill, Terminate or Wait; on
// Linux the kernel kills the broker, and any other program that StartChild started, when this process dies first.
//
// An example:
//
//	binary, err := process.Build(ctx, dir)
//	b, err := process.Start(ctx, process.Options{Binary: binary, Data: data})
//	defer b.Kill()
//	conn, err := net.Dial("tcp", b.Addr)
package process
