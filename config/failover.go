package config

import "time"

// Failover says how a standby takes over.
type Failover struct {
	Mode          string        `mapstructure:"mode"`            // none, pair or shared
	Name          string        `mapstructure:"name"`            // of the pair
	Node          string        `mapstructure:"node"`            // of this node in the pair
	Listen        string        `mapstructure:"listen"`          // for the other node, HOST:PORT
	Peer          string        `mapstructure:"peer"`            // where the other node listens
	Secret        Secret        `mapstructure:"secret"`          // that both nodes know
	SecretFile    string        `mapstructure:"secret_file"`     // instead of Secret
	Advertise     string        `mapstructure:"advertise"`       // STOMP address for clients; empty: stomp.listen
	Health        string        `mapstructure:"health"`          // for load balancers over HTTP; empty: none
	Standby       string        `mapstructure:"standby"`         // proxy or refuse
	OnStandbyLoss string        `mapstructure:"on_standby_loss"` // degrade or block
	DegradeAfter  time.Duration `mapstructure:"degrade_after"`
	HoldTimeout   time.Duration `mapstructure:"hold_timeout"`
	Lease         time.Duration `mapstructure:"lease"`
	Beacon        time.Duration `mapstructure:"beacon"`
	FenceAfter    time.Duration `mapstructure:"fence_after"`
	Retain        Bytes         `mapstructure:"retain"`
	SyncRate      Bytes         `mapstructure:"sync_rate"` // per second; 0: no limit
	Register      Register      `mapstructure:"register"`
}

// Register says where the NATS servers are that keep the register.
type Register struct {
	URLs      []URL  `mapstructure:"urls"`
	Token     Secret `mapstructure:"token"`
	TokenFile string `mapstructure:"token_file"` // instead of Token
	Bucket    string `mapstructure:"bucket"`
	Key       string `mapstructure:"key"`      // empty: failover.name
	Replicas  int    `mapstructure:"replicas"` // of a bucket that is made; 0: 3 in a cluster, else 1
}

// Arbiter is the register's server that `baton arbiter` runs.
type Arbiter struct {
	Listen    string `mapstructure:"listen"`
	Data      string `mapstructure:"data"` // directory
	Token     Secret `mapstructure:"token"`
	TokenFile string `mapstructure:"token_file"` // instead of Token
}

func defaultFailover() Failover {
	return Failover{
		Mode:          "none",
		Name:          "baton",
		Standby:       "proxy",
		OnStandbyLoss: "degrade",
		DegradeAfter:  time.Second,
		HoldTimeout:   5 * time.Second,
		Lease:         1500 * time.Millisecond,
		Beacon:        300 * time.Millisecond,
		FenceAfter:    4 * time.Second,
		Retain:        GiB,
		SyncRate:      16 * MiB,
		Register:      Register{URLs: []URL{}, Bucket: "baton"},
	}
}

func defaultArbiter() Arbiter {
	return Arbiter{Listen: "127.0.0.1:61622", Data: "./baton-arbiter"}
}

// ReadSecret is the secret that both nodes know, read from its file if it has one; empty when none is given.
func (f Failover) ReadSecret() (Secret, error) {
	return ownSecretOf("failover.secret_file", f.Secret, f.SecretFile)
}

// ReadToken is what the NATS servers ask for, read from its file if it has one; empty when none is given.
func (r Register) ReadToken() (Secret, error) {
	return secretOf("failover.register.token_file", r.Token, r.TokenFile)
}

// ReadToken is what the arbiter asks for, read from its file if it has one; empty when none is given.
func (a Arbiter) ReadToken() (Secret, error) {
	return ownSecretOf("arbiter.token_file", a.Token, a.TokenFile)
}

// RegisterKey is the key of the pair's record in its bucket.
func (f Failover) RegisterKey() string {
	if f.Register.Key != "" {
		return f.Register.Key
	}
	return f.Name
}
