package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// rabbitmqHomes is where Debian keeps RabbitMQ, with its version in the name.
const rabbitmqHomes = "/usr/lib/rabbitmq/lib/rabbitmq_server-*"

// rabbitmqConfig takes the port.
const rabbitmqConfig = `listeners.tcp = none
stomp.listeners.tcp.1 = 127.0.0.1:%d
stomp.default_user = guest
stomp.default_pass = guest
`

// StartRabbitMQ runs Debian's RabbitMQ with its STOMP plugin and its data in dir, and returns when it accepts connections.
//
// We run the Erlang machine ourselves: the package's script would change to the user rabbitmq and leave a shell in between.
func StartRabbitMQ(ctx context.Context, dir string) (*Peer, error) {
	homes, _ := filepath.Glob(rabbitmqHomes)
	if len(homes) == 0 {
		return nil, errors.New("RabbitMQ is missing, apt-get install rabbitmq-server: nothing is called " + rabbitmqHomes)
	}
	stomp, err1 := freePort()
	names, err2 := freePort() // of epmd, which knows the nodes
	nodes, err3 := freePort() // of nodes that talk to ours: there are none
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "rabbitmq.conf")
	plugins := filepath.Join(dir, "enabled_plugins")
	err := errors.Join(
		os.WriteFile(config, fmt.Appendf(nil, rabbitmqConfig, stomp), 0o600),
		os.WriteFile(plugins, []byte("[rabbitmq_stomp].\n"), 0o600))
	if err != nil {
		return nil, err
	}
	p := &Peer{Name: "rabbitmq", Addr: loopback(stomp), Log: filepath.Join(dir, "log")}
	env := append(os.Environ(),
		"HOME="+dir, // of the Erlang cookie
		"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT="+strconv.Itoa(names),
		"ERL_LIBS="+filepath.Join(homes[0], "plugins"),
		"RABBITMQ_HOME="+homes[0],
		"RABBITMQ_PLUGINS_DIR="+filepath.Join(homes[0], "plugins"),
		"RABBITMQ_NODENAME="+fmt.Sprintf("peer%d@localhost", stomp),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(nodes),
		"RABBITMQ_MNESIA_BASE="+dir,
		"RABBITMQ_LOG_BASE="+dir,
		"RABBITMQ_LOGS=-",
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
		"RABBITMQ_CONFIG_FILE="+config,
		"RABBITMQ_ADVANCED_CONFIG_FILE="+filepath.Join(dir, "none.config"),
		"RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "none.conf"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+dir,
		"RABBITMQ_ENABLED_PLUGINS_FILE="+plugins)
	p.start = func(ctx context.Context) error {
		if err := p.run(env, "epmd"); err != nil {
			return err
		}
		// RabbitMQ starts an epmd when it finds none, and would leave it behind.
		if err := p.listens(ctx, loopback(names)); err != nil {
			return err
		}
		err := p.run(env, "erl", "-noinput", "-start_epmd", "false", "-boot", "start_sasl", "+W", "w",
			"-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-syslog", "logger", "[]", "-s", "rabbit", "boot")
		if err != nil {
			return err
		}
		return p.listens(ctx, p.Addr)
	}
	return p, p.start(ctx)
}
