package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"baton/bench"
	"baton/failover/client"
)

// benchmark is one call of `baton bench`.
type benchmark struct {
	address     string // of the broker, or a failover URL
	server      bench.Server
	dialect     string
	workload    bench.Workload
	subscribers int // of a topic, where the flag is given
	json        string
	plot        string
}

func benchCommand() *cobra.Command {
	var b benchmark
	cmd := &cobra.Command{
		Use:   "bench [PRESET]",
		Short: "Load a STOMP broker, check every message, and print rates and latencies",
		Long: `Let producers and consumers work on a broker, Baton or another that speaks STOMP 1.2, and measure them. PRESET names a
workload; flags change it, or make one without. Every message is checked: the command fails if one was lost, doubled, out of
order or corrupt. Latencies begin when a SEND was due, so that at a fixed --rate a stall counts for all that waited.

Presets:
` + presetList(),
		Example: `  baton bench persistent
  baton bench --producers 2 --consumers 2 --size 100 --duration 5s
  baton bench steady --rate 20000 --plot latency.svg
  baton bench persistent --server 127.0.0.1:61614 --dialect activemq`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := b.complete(cmd, args); err != nil {
				return err
			}
			return b.run(cmd.Context(), cmd.OutOrStdout(), newProgress(cmd.ErrOrStderr()))
		},
	}
	b.addFlags(cmd)
	cmd.AddCommand(benchLimitsCommand())
	return cmd
}

func presetList() (list string) {
	for _, p := range bench.Presets() {
		list += fmt.Sprintf("  %-16s %s\n", p.Name, p.About)
	}
	return list
}

func (b *benchmark) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&b.address, "server", "127.0.0.1:61613", "the broker's `ADDR`; or failover:(tcp://ADDR,tcp://ADDR), then the run goes on when one takes over from another")
	flags.StringVar(&b.server.Consume, "consume-from", "", "the consumers connect to `ADDR`, another broker of the network: what is measured is forwarding")
	flags.StringVar(&b.server.Login, "login", "", "login `NAME`")
	flags.StringVar(&b.server.Passcode, "passcode", "", "passcode; better in the environment as BATON_PASSCODE, where others cannot see it")
	flags.StringVar(&b.dialect, "dialect", "baton", "what the broker is: baton, activemq or rabbitmq")
	w := &b.workload
	flags.IntVar(&w.Producers, "producers", 1, "`N` connections that send")
	flags.IntVar(&w.Consumers, "consumers", 1, "`N` connections that share what is sent to a queue")
	flags.IntVar(&b.subscribers, "subscribers", 0, "`N` connections that each get all of a topic, in place of --consumers")
	flags.BoolVar(&w.Durable, "durable", false, "the subscribers are durable")
	flags.IntVar(&w.Destinations, "destinations", 1, "`N` queues or topics that take turns")
	flags.IntVar(&w.Size, "size", 1024, "`OCTETS` of a message")
	flags.BoolVar(&w.Persistent, "persistent", true, "the messages are safe before their receipts come")
	flags.IntVar(&w.Window, "window", 256, "`N` SENDs of a producer that wait for their receipts; 0: without receipts")
	flags.StringVar(&w.Ack, "ack", "client-individual", "`MODE` of the consumers: auto, client or client-individual")
	flags.IntVar(&w.Prefetch, "prefetch", 1000, "`N` messages that a consumer has not acknowledged, at most")
	flags.Float64Var(&w.Rate, "rate", 0, "`N` messages a second of all producers; 0: as fast as it goes")
	flags.IntVar(&w.Tx, "tx", 0, "`N` SENDs of a transaction; --window counts transactions then")
	flags.BoolVar(&w.Selectors, "selectors", false, "each consumer selects a share of its own")
	flags.Int64Var(&w.Backlog, "backlog", 0, "`N` messages are sent first, and then consumed")
	flags.DurationVar(&w.Duration, "duration", 10*time.Second, "how long the producers send; with --rate, until they have sent what was due by then")
	flags.StringVar(&b.json, "json", "", "write the result to `FILE` as JSON; - is standard output, in place of the table")
	flags.StringVar(&b.plot, "plot", "", "write a picture of rates and latencies over time to `FILE`, as SVG")
}

// complete makes the workload of a preset and the flags.
func (b *benchmark) complete(cmd *cobra.Command, args []string) (err error) {
	if b.server.Dialect, err = bench.DialectOf(b.dialect); err != nil {
		return usagef("--dialect: %v", err)
	}
	if err := b.aim(); err != nil {
		return usagef("--server: %v", err)
	}
	b.server.Passcode = passcodeOr(b.server.Passcode)
	if len(args) > 0 {
		if err := b.usePreset(cmd.Flags(), args[0]); err != nil {
			return usagef("%v", err)
		}
	}
	if cmd.Flags().Changed("subscribers") {
		b.workload.Topic, b.workload.Consumers = true, b.subscribers
	}
	if err := b.workload.Check(); err != nil {
		return usagef("--%s", strings.ReplaceAll(err.Error(), "\n", "; --"))
	}
	return nil
}

// aim sets whom the clients connect to. Of a failover URL only the addresses count: connections that hurry would measure the
// delays of the URL.
func (b *benchmark) aim() error {
	u, err := client.ParseURL(b.address)
	if err != nil {
		return err
	}
	if _, survives := failoverURL([]string{b.address}); survives {
		if b.server.Consume != "" {
			return errors.New("--consume-from is for one broker to send to, and not for several")
		}
		b.server.Failover = u.Addresses
		return nil
	}
	if len(u.Addresses) > 1 {
		return fmt.Errorf("several addresses are written as failover:(%s)", b.address)
	}
	b.server.Addr = u.Addresses[0]
	return nil
}

// usePreset makes the workload that of a preset. What was given on the command line precedes it.
func (b *benchmark) usePreset(flags *pflag.FlagSet, name string) (err error) {
	given := map[*pflag.Flag]string{}
	flags.Visit(func(f *pflag.Flag) { given[f] = f.Value.String() })
	if b.workload, err = bench.PresetOf(name); err != nil {
		return err
	}
	for f, value := range given {
		err = errors.Join(err, f.Value.Set(value))
	}
	return err
}

func (b *benchmark) run(ctx context.Context, out io.Writer, p *progress) error {
	result, err := bench.Run(ctx, b.server, b.workload, func(now bench.Progress) {
		p.show("%v: %d sent, %d received", now.Elapsed.Round(time.Second), now.Sent, now.Received)
	})
	p.done()
	if result == nil {
		return err
	}
	if b.json != "-" {
		result.Print(out)
	}
	if b.json != "" { // also of a run in which a check failed: it has the checks
		err = errors.Join(err, writeTo(b.json, out, func(out io.Writer) error {
			encoder := json.NewEncoder(out)
			encoder.SetIndent("", "  ")
			return encoder.Encode(result)
		}))
	}
	if b.plot != "" {
		err = errors.Join(err, writeTo(b.plot, out, result.Plot))
	}
	return err
}

// writeTo has fn write a file; - is out.
func writeTo(name string, out io.Writer, fn func(io.Writer) error) (err error) {
	if name == "-" {
		return fn(out)
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := fn(file); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

func benchLimitsCommand() *cobra.Command {
	var dir string
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "limits",
		Short: "Measure what this machine could do at best: its disk, loopback, and a relay that is no broker",
		Long: `Measure the machine: writes that are synced one after the other, by size, in a file that grows and in one that was
allocated before; sequential writing; a round trip over loopback; and a null relay, which parses STOMP and forwards messages and
does nothing else, without and with a synced log. A broker that passes messages on has that to do, and more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return benchLimits(cmd.Context(), cmd.OutOrStdout(), dir, duration)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", os.TempDir(), "`DIR` on the disk that is measured; some 100 MiB are written there, and removed")
	cmd.Flags().DurationVar(&duration, "duration", 2*time.Second, "how long each measurement takes")
	return cmd
}

func benchLimits(ctx context.Context, out io.Writer, dir string, duration time.Duration) error {
	limits, err := bench.DiskLimits(ctx, dir, []int{512, 1 << 10, 16 << 10, 64 << 10, 1 << 20}, duration)
	if err != nil {
		return err
	}
	loopback, err := bench.LoopbackLimit(ctx, 1<<10, duration)
	if err != nil {
		return err
	}
	for _, l := range append(limits, loopback) {
		l.Print(out)
	}
	for _, of := range []struct{ preset, log, name string }{
		{"non-persistent", "", "a null relay"},
		{"topic-100", "", "a null relay"},
		{"persistent", dir, "a null relay with a synced log"},
		{"receipts", dir, "a null relay with a synced log"},
	} {
		w, err := bench.PresetOf(of.preset)
		if err != nil {
			return err
		}
		w.Duration = duration
		result, err := bench.RelayLimit(ctx, of.log, w)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", of.name, of.preset, err)
		}
		fmt.Fprintf(out, "\n%s: ", of.name)
		result.Print(out)
	}
	return nil
}
