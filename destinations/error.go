package destinations

// An Error is a client's command that the machine refuses. Nothing was changed
// by the command.
type Error struct {
	Code string // stable, for programs: one of the Code constants
	Text string // for people: what is wrong and where
	Wait bool   // the same command may be carried out later: when something has left the queue
}

func (e *Error) Error() string { return e.Text }

// The codes of an Error.
const (
	CodeBadDestination      = "bad-destination"
	CodeSubscriptionExists  = "subscription-exists"
	CodeNoSubscription      = "no-such-subscription"
	CodeTooManySubscription = "too-many-subscriptions"
	CodeUnknownAck          = "unknown-ack"
	CodeMemoryFull          = "memory-full"
	CodeSlowConsumer        = "slow-consumer"
	CodeTransactionTooBig   = "transaction-too-big"
	CodeBadDurable          = "bad-durable-subscription"
	CodeDurableInUse        = "durable-subscription-in-use"
	CodeNotOwner            = "not-owner"
	CodeQueueFull           = "queue-full"
	CodeNoDestination       = "no-such-destination"
)
