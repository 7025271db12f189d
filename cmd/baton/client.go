package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/spf13/cobra"
)

// connectTimeout bounds the dialling of one address and the wait for its CONNECTED.
const connectTimeout = 10 * time.Second

// client is how send and receive reach a broker.
type client struct {
	servers  []string
	login    string
	passcode string
}

func (c *client) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&c.servers, "server", []string{"127.0.0.1:61613"}, "brokers as `ADDR[,ADDR...]`, tried in this order")
	flags.StringVar(&c.login, "login", "", "login `NAME`")
	flags.StringVar(&c.passcode, "passcode", "", "passcode; better in the environment as BATON_PASSCODE, where others cannot see it")
}

// connect gives a session with the first broker that answers. The error names what each of them said.
func (c *client) connect(ctx context.Context) (*stomp.Conn, error) {
	var failures []string
	for _, server := range c.servers {
		conn, err := c.connectTo(ctx, server)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, fmt.Sprintf("%s: %v", server, reason(err)))
	}
	if len(failures) == 0 {
		return nil, usagef("--server: no address given")
	}
	return nil, fmt.Errorf("cannot connect: %s", strings.Join(failures, "; "))
}

func (c *client) connectTo(ctx context.Context, server string) (*stomp.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	socket, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	unlock := context.AfterFunc(ctx, func() { socket.Close() })
	conn, err := stomp.ConnectWithContext(ctx, socket, c.options()...)
	if err != nil {
		socket.Close()
		return nil, err
	}
	if !unlock() {
		return nil, context.Cause(ctx)
	}
	return conn, nil
}

func (c *client) options() []func(*stomp.Conn) error {
	options := []func(*stomp.Conn) error{stomp.ConnOpt.Logger(silent{})}
	passcode := c.passcode
	if passcode == "" {
		passcode = os.Getenv("BATON_PASSCODE")
	}
	if c.login != "" || passcode != "" {
		options = append(options, stomp.ConnOpt.Login(c.login, passcode))
	}
	return options
}

// reason drops from a network error what the caller's sentence says already.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// silent is the logger of go-stomp: what it would say comes back as an error too.
type silent struct{}

func (silent) Debugf(string, ...any)   {}
func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}
func (silent) Errorf(string, ...any)   {}
func (silent) Debug(string)            {}
func (silent) Info(string)             {}
func (silent) Warning(string)          {}
func (silent) Error(string)            {}
