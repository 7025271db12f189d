package config

import "time"

// Network says how brokers forward messages to one another.
type Network struct {
	Name            string        `mapstructure:"name"`        // of this member, of both nodes of a pair; empty: no network
	Listen          string        `mapstructure:"listen"`      // for routes of the other brokers, HOST:PORT
	Advertise       string        `mapstructure:"advertise"`   // HOST:PORT that the others are told; empty: where they see us
	Routes          []string      `mapstructure:"routes"`      // HOST:PORT where other brokers listen
	URLs            []URL         `mapstructure:"urls"`        // of NATS servers, instead of Listen and Routes
	Secret          Secret        `mapstructure:"secret"`      // that all brokers of the network know
	SecretFile      string        `mapstructure:"secret_file"` // instead of Secret
	Token           Secret        `mapstructure:"token"`       // that the servers of URLs ask for
	TokenFile       string        `mapstructure:"token_file"`  // instead of Token
	TLS             NetworkTLS    `mapstructure:"tls"`
	Include         []string      `mapstructure:"include"` // patterns of what is forwarded; empty: everything
	Exclude         []string      `mapstructure:"exclude"` // patterns of what is not, Include or not
	Static          []Static      `mapstructure:"static"`
	MaxHops         int           `mapstructure:"max_hops"` // how often a message is forwarded at most; 0: any number
	TransferTimeout time.Duration `mapstructure:"transfer_timeout"`
	Silence         time.Duration `mapstructure:"silence"`
}

// Static says where messages of some queues go, whether or not anybody consumes them there.
type Static struct {
	Destination string `mapstructure:"destination"` // pattern of queues
	To          string `mapstructure:"to"`          // the name of another member
}

// NetworkTLS are files in PEM. Routes need all three, as each side proves who it is; URLs may have the CA alone.
type NetworkTLS struct {
	CA   string `mapstructure:"ca"`
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
}

func defaultNetwork() Network {
	return Network{
		Listen:          "127.0.0.1:61633",
		Routes:          []string{},
		URLs:            []URL{},
		Include:         []string{},
		Exclude:         []string{},
		Static:          []Static{},
		TransferTimeout: 2 * time.Second,
		Silence:         3 * time.Second,
	}
}

// Enabled says that this broker is a member of a network.
func (n Network) Enabled() bool { return n.Name != "" }

// ReadSecret is the secret that all brokers of the network know, read from its file if it has one; empty when none is given.
func (n Network) ReadSecret() (Secret, error) {
	return ownSecretOf("network.secret_file", n.Secret, n.SecretFile)
}

// ReadToken is what the NATS servers ask for, read from its file if it has one; empty when none is given.
func (n Network) ReadToken() (Secret, error) {
	return secretOf("network.token_file", n.Token, n.TokenFile)
}
