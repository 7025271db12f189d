package bench

import (
	"fmt"
	"slices"
	"strconv"
)

// A Dialect is how a kind of broker wants to be told what STOMP leaves open.
type Dialect struct {
	Name     string
	Host     string // of CONNECT
	Prefetch string // header of SUBSCRIBE: most messages in flight
	Durable  func(client, name string) (connect, subscribe []string)
	// UnsubscribeTwice: a durable subscription must have ended before it can be deleted; the second UNSUBSCRIBE names it.
	UnsubscribeTwice bool
	// TransientUnsaid: a SEND is not persistent unless it says so, and must not say that it is not.
	TransientUnsaid bool
}

// Dialects are those that are known.
var Dialects = []Dialect{
	{
		Name: "baton", Host: "baton", Prefetch: "prefetch-count",
		Durable: activemqDurable,
	},
	{
		Name: "activemq", Host: "localhost", Prefetch: "activemq.prefetchSize", UnsubscribeTwice: true,
		Durable: activemqDurable,
	},
	{
		Name: "rabbitmq", Host: "/", Prefetch: "prefetch-count", TransientUnsaid: true, // persistent:false would make the queue exclusive
		Durable: func(client, name string) (connect, subscribe []string) {
			return nil, []string{"durable", "true", "auto-delete", "false", "id", client + "-" + name}
		},
	},
}

func activemqDurable(client, name string) (connect, subscribe []string) {
	return []string{"client-id", client}, []string{"activemq.subscriptionName", name}
}

// DialectOf finds one by its name.
func DialectOf(name string) (Dialect, error) {
	i := slices.IndexFunc(Dialects, func(d Dialect) bool { return d.Name == name })
	if i < 0 {
		return Dialect{}, fmt.Errorf("%s is no dialect: there are baton, activemq and rabbitmq", strconv.Quote(name))
	}
	return Dialects[i], nil
}
