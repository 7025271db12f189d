package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"baton/config"
	"baton/failover/arbiter"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// arbiterFlags are the flags of arbiter that stand for a key of the configuration.
var arbiterFlags = []keyFlag{
	{"listen", "arbiter.listen", "listen for brokers on `ADDR` (default 127.0.0.1:61622)"},
	{"data", "arbiter.data", "keep data in `DIR` (default ./baton-arbiter)"},
	logLevelFlag,
}

func arbiterCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "arbiter",
		Short: "Run the third party of pairs, which keeps who is master, until SIGTERM or SIGINT",
		Long: `Run the third party of pairs, which keeps who is master, until SIGTERM or SIGINT. Brokers need it, or a NATS server with
JetStream, as failover.register.urls. Without a file and flags it keeps its data in ./baton-arbiter and listens on
127.0.0.1:61622, for brokers on this machine; they need the token that it puts into ./baton-arbiter/token.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.Sources{
				File: file, Env: os.Environ(), Flags: givenFlags(cmd, arbiterFlags), Check: checkDestinations,
			})
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runArbiter(ctx, cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE`, which brokers may share")
	addKeyFlags(cmd, arbiterFlags)
	return cmd
}

// runArbiter runs an arbiter until ctx ends, or until its store fails.
func runArbiter(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(cfg.Log, stderr)
	token, from, err := arbiterToken(cfg.Arbiter)
	if err != nil {
		return err
	}
	a, err := arbiter.Start(ctx, arbiterOptions(cfg, token, logger.Named("arbiter")))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // told to stop before it began
	case err != nil:
		return namingListen(err)
	}
	ready := fmt.Sprintf("baton arbiter ready: NATS on %s, data in %s, token %s", a.Address(), cfg.Arbiter.Data, from)
	logger.Info(ready)
	fmt.Fprintln(stdout, ready)
	err = errors.Join(a.Wait(ctx), a.Close())
	if err == nil {
		logger.Info("baton arbiter stopped")
	}
	return err
}

// namingListen has an error of the address name its key.
func namingListen(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" {
		return fmt.Errorf("arbiter.listen: %w", err)
	}
	return err
}

// arbiterOptions says the configuration in the words of package arbiter.
func arbiterOptions(cfg config.Config, token config.Secret, logger *zap.Logger) arbiter.Options {
	return arbiter.Options{
		Listen: cfg.Arbiter.Listen,
		Data:   cfg.Arbiter.Data,
		Bucket: cfg.Failover.Register.Bucket,
		Token:  token.Reveal(),
		Logger: logger,
	}
}

// arbiterToken is what brokers must send, and where it is from. The arbiter makes one itself when none is given.
func arbiterToken(a config.Arbiter) (token config.Secret, from string, err error) {
	switch {
	case a.Token != "":
		from = "of the configuration"
	case a.TokenFile != "":
		from = "in " + a.TokenFile
	default:
		if a.TokenFile, err = arbiter.MakeToken(a.Data); err != nil {
			return "", "", err
		}
		from = "in " + a.TokenFile
	}
	token, err = a.ReadToken()
	return token, from, err
}
