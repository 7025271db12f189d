package broker

import "baton/broker/stomp"

// Every header that the broker reads or writes, by the frame that it belongs to
// first. docs/stomp-headers.md says what each one means; a test keeps the two
// alike. Names of other brokers that mean the same as the one above them are
// their aliases.

// Of any frame, and of the RECEIPT or ERROR that answers it.
const (
	headerReceipt       = "receipt"
	headerReceiptID     = "receipt-id"
	headerDestination   = "destination"
	headerContentLength = "content-length"
	headerContentType   = "content-type"
	headerTransaction   = "transaction"
	headerDropped       = stomp.DroppedHeader
	headerMessage       = "message"
	headerCode          = "code"
)

// Of CONNECT, STOMP and CONNECTED.
const (
	headerAcceptVersion = "accept-version"
	headerVersion       = "version"
	headerHeartBeat     = "heart-beat"
	headerSession       = "session"
	headerServer        = "server"
	headerLogin         = "login"
	headerPasscode      = "passcode"
	headerClientID      = "client-id"
	headerBrokers       = "brokers" // and of ERROR
	headerRole          = "role"
	headerEpoch         = "epoch"
)

// Of SEND.
const (
	headerReplyTo    = "reply-to"
	headerPersistent = "persistent"
	headerCreate     = "create"     // and of SUBSCRIBE
	headerMinCopies  = "min-copies" // and of COMMIT
	headerCopies     = "copies"     // of ERROR

	headerTimestamp  = "timestamp" // and of MESSAGE
	headerPriority   = "priority"
	headerExpires    = "expires" // and of MESSAGE
	headerExpiration = "expiration"
	headerMessageTTL = "x-message-ttl"

	headerScheduledDelay  = "AMQ_SCHEDULED_DELAY"
	headerXDelay          = "x-delay"
	headerScheduledTime   = "AMQ_SCHEDULED_TIME"
	headerScheduledPeriod = "AMQ_SCHEDULED_PERIOD"
	headerScheduledRepeat = "AMQ_SCHEDULED_REPEAT"
	headerScheduledCron   = "AMQ_SCHEDULED_CRON"
	headerSchedulerAction = "AMQ_SCHEDULER_ACTION"
	headerScheduledJobID  = "scheduledJobId" // and of MESSAGE and RECEIPT

	headerGroupID          = "JMSXGroupID"
	headerGroupFirst       = "JMSXGroupFirstForConsumer"
	headerGroupSeq         = "JMSXGroupSeq"
	headerDeduplicationID  = "deduplication-id"
	headerDuplicateID      = "_AMQ_DUPL_ID"
	headerXDeduplicationID = "x-deduplication-id"
	headerLastValueKey     = "last-value-key"
	headerLastValueName    = "_AMQ_LVQ_NAME"
)

// Of MESSAGE.
const (
	headerMessageID         = "message-id"
	headerSubscription      = "subscription"
	headerAck               = "ack" // and of SUBSCRIBE
	headerRedelivered       = "redelivered"
	headerDeliveryCount     = "delivery-count"
	headerJMSXDeliveryCount = "JMSXDeliveryCount"
	headerJMSXUserID        = "JMSXUserID"

	headerOriginalDestination = "original-destination"
	headerOriginalMessageID   = "original-message-id"
	headerOriginalExpiration  = "originalExpiration"
	headerDLQReason           = "dlq-reason"
	headerDLQCount            = "dlq-count"
	headerDLQTime             = "dlq-time"
)

// Of SUBSCRIBE and UNSUBSCRIBE.
const (
	headerID               = "id" // and of ACK and NACK
	headerPrefetchCount    = "prefetch-count"
	headerPrefetchSize     = "activemq.prefetchSize"
	headerWindowSize       = "consumer-window-size"
	headerMaximumPending   = "activemq.maximumPendingMessageLimit"
	headerConsumerPriority = "consumer-priority"
	headerActiveMQPriority = "activemq.priority"
	headerXPriority        = "x-priority"
	headerDispatchAsync    = "activemq.dispatchAsync" // read by nobody
	headerAckTimeout       = "x-ack-timeout"
	headerExtend           = "x-extend" // of NACK
	headerQueueExpires     = "x-expires"
	headerRequeue          = "requeue" // and of NACK

	headerRedeliveryDelay      = "x-redelivery-delay"
	headerRedeliveryMultiplier = "x-redelivery-multiplier"
	headerMaxRedeliveryDelay   = "x-max-redelivery-delay"
	headerMaxDeliveries        = "x-max-deliveries"

	headerSelector              = "selector"
	headerSubscriptionName      = "activemq.subscriptionName"
	headerDurableSubscription   = "durable-subscription-name"
	headerDurableSubscriberName = "durable-subscriber-name"
	headerDurable               = "durable"
	headerAutoDelete            = "auto-delete"
	headerShared                = "shared"
	headerBrowser               = "browser"
	headerExclusive             = "exclusive"
	headerActiveMQExclusive     = "activemq.exclusive"
	headerSingleActive          = "x-single-active-consumer"
	headerNoLocal               = "no-local"
	headerActiveMQNoLocal       = "activemq.noLocal"
	headerRetroactive           = "retroactive"
	headerActiveMQRetroactive   = "activemq.retroactive"
	headerRetroactiveMessages   = "x-retroactive-messages"
	headerRetroactiveSince      = "x-retroactive-since"
)

// Of NACK.
const (
	headerDelay = "delay"
)
