package broker

// notDue are the rules that wait for something that is not built. Whoever
// builds it takes its line out and adds the test.
var notDue = []struct {
	number string
	part   string // of the rule that is not due; empty: all of it
	waits  string // for what
}{
	{"P10", "a switch that leaves content-length out for clients that take its absence for text", "listener options"},
	{"P15", "a passcode that comes escaped is tried a second time", "authentication"},
	{"C5", "strict_virtual_hosts refuses an unknown host", "virtual hosts"},
	{"C6", "a wrong login does not say which half was wrong", "authentication"},
	{"C12", "", "authentication: nothing reads the login yet"},
	{"H3", "the interval is kept while a standby catches up", "failover"},
	{"S3", "no permission, a standby that only reads", "access lists, failover"},
	{"A12", "the standby has the ACK too", "failover"},
	{"T10", "a COMMIT sent again after a failover is taken once", "failover"},
	{"R2", "the standby has the message too", "failover"},
	{"R9", "over WebSocket", "WebSocket"},
	{"R10", "the ends by failover, deletion of a queue and revoked rights; retry-after and redirect", "failover, administration, access lists"},
}
