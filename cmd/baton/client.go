package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"baton/failover/client"
)

// servers is how send and receive reach a broker.
type servers struct {
	said     []string // ADDR[,ADDR...], or a failover URL
	login    string
	passcode string
}

const aboutServers = "brokers as `ADDR[,ADDR...]`, tried once, in this order; or a URL as failover:(tcp://ADDR,tcp://ADDR), tried until one answers, also when the connection is lost"

func (s *servers) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&s.said, "server", []string{"127.0.0.1:61613"}, aboutServers)
	flags.StringVar(&s.login, "login", "", "login `NAME`")
	flags.StringVar(&s.passcode, "passcode", "", "passcode; better in the environment as BATON_PASSCODE, where others cannot see it")
}

// connect gives a connection to the first broker that answers. Where none does and it goes on trying, stderr is told so.
func (s *servers) connect(ctx context.Context, o client.Options, stderr io.Writer) (*client.Client, error) {
	url, survives := failoverURL(s.said)
	if _, err := client.ParseURL(url); err != nil {
		return nil, usagef("--server: %v", err)
	}
	o.Login, o.Passcode = s.login, client.Secret(passcodeOr(s.passcode))
	o.NoDeduplication = !survives // nothing is sent twice
	v := vigil{stderr: stderr}
	o.OnRetry, o.OnConnect = v.vain, v.over
	return client.Dial(ctx, url, o)
}

// failoverURL is the one that --server says, or one that tries its addresses once; survives says which.
func failoverURL(said []string) (url string, survives bool) {
	url = strings.Join(said, ",")
	if strings.HasPrefix(url, "failover:") {
		return tellsOfRetries(url), true
	}
	return "failover:(" + url + ")?randomize=false&startupMaxReconnectAttempts=1&maxReconnectAttempts=0", false
}

// tellsOfRetries is the URL, with a number of attempts after which a person wants to know unless it says one: some 0.3 s where
// connections are refused.
func tellsOfRetries(url string) string {
	const option = "warnAfterReconnectAttempts="
	options := url[strings.LastIndexByte(url, ')')+1:]
	switch {
	case strings.Contains(options, option):
		return url
	case strings.Contains(options, "?"):
		return url + "&" + option + "6"
	}
	return url + "?" + option + "6"
}

// A vigil tells once that no broker answers, and then when one does.
type vigil struct {
	stderr io.Writer
	told   bool
}

func (v *vigil) vain(_ int, why error) {
	if !v.told {
		v.told = true
		fmt.Fprintf(v.stderr, "baton: no broker serves yet, and it is tried again: %s\n", strings.Join(strings.Fields(why.Error()), " "))
	}
}

func (v *vigil) over(c client.Connected) {
	if v.told {
		v.told = false
		fmt.Fprintf(v.stderr, "baton: connected with %s\n", c.Address)
	}
}

// passcodeOr is what the environment says where the command line does not.
func passcodeOr(said string) string {
	if said == "" {
		return os.Getenv("BATON_PASSCODE")
	}
	return said
}

// goodbyeTimeout bounds the wait for the broker's last answers.
const goodbyeTimeout = 10 * time.Second

// disconnect waits until the broker has answered all that it was sent, also when ctx has ended.
func disconnect(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), goodbyeTimeout, errNoGoodbye)
	defer cancel()
	return c.Close(ctx)
}

var errNoGoodbye = errors.New("the broker has not answered in " + goodbyeTimeout.String())
