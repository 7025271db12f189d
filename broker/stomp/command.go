package stomp

// Command is the first line of a frame.
type Command uint8

// The commands of clients, then those of servers. The zero Command is none of them.
const (
	CmdConnect Command = iota + 1
	CmdStomp
	CmdSend
	CmdSubscribe
	CmdUnsubscribe
	CmdAck
	CmdNack
	CmdBegin
	CmdCommit
	CmdAbort
	CmdDisconnect
	CmdConnected
	CmdMessage
	CmdReceipt
	CmdError
)

var commandText = [...]string{
	CmdConnect:     "CONNECT",
	CmdStomp:       "STOMP",
	CmdSend:        "SEND",
	CmdSubscribe:   "SUBSCRIBE",
	CmdUnsubscribe: "UNSUBSCRIBE",
	CmdAck:         "ACK",
	CmdNack:        "NACK",
	CmdBegin:       "BEGIN",
	CmdCommit:      "COMMIT",
	CmdAbort:       "ABORT",
	CmdDisconnect:  "DISCONNECT",
	CmdConnected:   "CONNECTED",
	CmdMessage:     "MESSAGE",
	CmdReceipt:     "RECEIPT",
	CmdError:       "ERROR",
}

// String returns the command as it stands on the wire, or "" for the zero Command.
func (c Command) String() string {
	if int(c) >= len(commandText) {
		return ""
	}
	return commandText[c]
}

// parseCommand returns the command that line spells exactly, or 0.
func parseCommand(line []byte) Command {
	switch string(line) {
	case "SEND":
		return CmdSend
	case "ACK":
		return CmdAck
	case "NACK":
		return CmdNack
	case "SUBSCRIBE":
		return CmdSubscribe
	case "UNSUBSCRIBE":
		return CmdUnsubscribe
	case "BEGIN":
		return CmdBegin
	case "COMMIT":
		return CmdCommit
	case "ABORT":
		return CmdAbort
	case "CONNECT":
		return CmdConnect
	case "STOMP":
		return CmdStomp
	case "DISCONNECT":
		return CmdDisconnect
	case "MESSAGE":
		return CmdMessage
	case "RECEIPT":
		return CmdReceipt
	case "CONNECTED":
		return CmdConnected
	case "ERROR":
		return CmdError
	}
	return 0
}

// fromServer reports whether only servers send c.
func (c Command) fromServer() bool { return c >= CmdConnected }

// connects reports whether c is of the frames that agree on the version.
func (c Command) connects() bool { return c == CmdConnect || c == CmdStomp || c == CmdConnected }

// hasBody reports whether c may carry a body (STOMP 1.2, "Body").
func (c Command) hasBody() bool { return c == CmdSend || c == CmdMessage || c == CmdError }
