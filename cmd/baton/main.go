package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"baton/config"

	"github.com/spf13/cobra"
)

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// untilSignal gives a context for a command that ends gracefully: the first SIGINT or SIGTERM ends it. From then on
// signals have their usual effect again, so a second one kills.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// run carries out one command line and returns its exit code. It ends early when ctx does.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var started bool
	root := rootCommand()
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	report(stderr, err)
	if !started || isUsage(err) {
		return exitUsage
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := group("baton", "A STOMP message broker that keeps what it has accepted.")
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.AddCommand(
		serveCommand(), arbiterCommand(), sendCommand(), receiveCommand(), benchCommand(), configCommand(), failoverCommand(),
		networkCommand(), journalCommand(), versionCommand())
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// noArguments refuses arguments in words that fit a command without commands below it too.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return usagef("%s takes no argument, but there is %q", cmd.CommandPath(), args[0])
}

// complete lets the shell offer values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	offer := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic("BUG: " + err.Error())
	}
}

// usageError is a command line that cannot be carried out, whatever the state of the world.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

func isUsage(err error) bool {
	var usage usageError
	var problems config.Problems
	return errors.As(err, &usage) || errors.As(err, &problems)
}

// report writes an error in one line, and the problems of a configuration in one line each.
func report(stderr io.Writer, err error) {
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, problem := range problems {
			fmt.Fprintln(stderr, "baton:", problem)
		}
		return
	}
	fmt.Fprintln(stderr, "baton:", strings.Join(strings.Fields(err.Error()), " "))
}
