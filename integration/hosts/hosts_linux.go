package hosts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"baton/integration/process"
)

// A Network is some hosts and the router between them. One goroutine at a time may use it, save for Dial of its hosts.
type Network struct {
	Hosts []*Host

	router *namespace
	cut    []Way
}

// A Host is a network namespace.
type Host struct {
	Address string   // of its only interface but the loopback
	Enter   []string // begins a command that is to run there

	space *namespace
}

// A Way is a direction between two hosts, by their numbers.
type Way struct{ From, To int }

// Unavailable says why this machine can make no networks; nil: it can. It tries.
func Unavailable(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("only root can make network namespaces")
	}
	for _, tool := range []string{"ip", "nsenter", "unshare", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	n, err := New(ctx, 2)
	if err != nil {
		return err
	}
	defer n.Close()
	return n.Cut(ctx, Way{0, 1})
}

// New makes a network of so many hosts, at most 250, that all reach one another.
func New(ctx context.Context, count int) (_ *Network, err error) {
	n := &Network{}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if n.router, err = newNamespace(); err != nil {
		return nil, err
	}
	if err := n.router.run(ctx, "echo 1 >/proc/sys/net/ipv4/ip_forward"); err != nil {
		return nil, err
	}
	for i := range count {
		h := &Host{Address: fmt.Sprintf("10.97.0.%d", 1+i)}
		if h.space, err = newNamespace(); err != nil {
			return nil, err
		}
		h.Enter = h.space.enter()
		n.Hosts = append(n.Hosts, h)
		if err := n.wire(ctx, h, fmt.Sprintf("to%d", i)); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// wire joins a host to the router. Each knows the other's address without asking: a cut must not be healed by ARP, nor ARP be
// cut.
func (n *Network) wire(ctx context.Context, h *Host, name string) error {
	const gateway = "10.97.0.254"
	err := n.router.run(ctx, fmt.Sprintf(`ip link add %[1]s type veth peer name eth0 netns %[2]d && ip addr add %[3]s/32 dev %[1]s &&
		ip link set %[1]s up && ip route add %[4]s/32 dev %[1]s`, name, h.space.holder.Process.Pid, gateway, h.Address))
	if err != nil {
		return err
	}
	return h.space.run(ctx, fmt.Sprintf(`ip link set lo up && ip addr add %s/32 dev eth0 && ip link set eth0 up &&
		ip route add default via %s dev eth0 onlink`, h.Address, gateway))
}

// Cut has the router lose whatever goes these ways, and nothing else: none heals all.
func (n *Network) Cut(ctx context.Context, ways ...Way) error {
	var script strings.Builder
	for _, w := range n.cut {
		fmt.Fprintf(&script, "rule del %s\n", n.rule(w))
	}
	for _, w := range ways {
		fmt.Fprintf(&script, "rule add %s\n", n.rule(w))
	}
	if script.Len() == 0 {
		return nil
	}
	if err := n.router.run(ctx, "ip -batch - <<end\n"+script.String()+"end"); err != nil {
		return err
	}
	n.cut = append(n.cut[:0], ways...)
	return nil
}

// Silence are all ways from and to a host.
func (n *Network) Silence(host int) (ways []Way) {
	for other := range n.Hosts {
		if other != host {
			ways = append(ways, Way{host, other}, Way{other, host})
		}
	}
	return ways
}

func (n *Network) rule(w Way) string {
	return fmt.Sprintf("from %s to %s blackhole", n.Hosts[w.From].Address, n.Hosts[w.To].Address)
}

// Close ends the network, with whatever still runs there of its own.
func (n *Network) Close() {
	for _, h := range n.Hosts {
		h.space.close()
	}
	if n.router != nil {
		n.router.close()
	}
}

// Dial connects to a TCP address as a program on the host would. Many goroutines may call it.
func (h *Host) Dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = h.within(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp4", address)
		return err
	})
	return conn, err
}

// within calls fn on a thread that is in the namespace. A socket stays where it was made.
func (h *Host) within(fn func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, for it is of no use to others
		result <- h.space.join(fn)
	}()
	return <-result
}

// A namespace lives as long as its holder, a process that does nothing.
type namespace struct {
	holder *exec.Cmd
	alive  io.Closer // its end is the holder's, too
}

func newNamespace() (*namespace, error) {
	s := &namespace{holder: exec.Command("unshare", "--net", "sh", "-c", "echo; read _")}
	stdin, err := s.holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.alive = stdin
	stdout, err := s.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.StartChild(s.holder); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		s.close()
		return nil, fmt.Errorf("no network namespace was made: %w", err)
	}
	return s, nil
}

func (s *namespace) path() string { return fmt.Sprintf("/proc/%d/ns/net", s.holder.Process.Pid) }

// join puts this thread into the namespace for good, and calls fn.
func (s *namespace) join(fn func() error) error {
	file, err := os.Open(s.path())
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", file.Name(), err)
	}
	return fn()
}

func (s *namespace) enter() []string { return []string{"nsenter", "--net=" + s.path(), "--"} }

func (s *namespace) run(ctx context.Context, script string) error {
	enter := s.enter()
	out, err := exec.CommandContext(ctx, enter[0], append(enter[1:], "sh", "-ec", script)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (s *namespace) close() {
	s.alive.Close()
	s.holder.Wait() // it says that there was nothing to read, and that is how it should be
}
