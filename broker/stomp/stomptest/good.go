package stomptest

import "strings"

// Good are well-formed packets: one or more whole frames each.
var Good = good()

func good() []Packet {
	return []Packet{
		before("connect 1.0", "CONNECT\nlogin: guest\npasscode:a:b\n\n\x00", ""),
		before("connect any", "CONNECT\naccept-version:1.0,1.1,1.2\nhost:localhost\n\n\x00", ""),
		before("connect crlf", "CONNECT\r\naccept-version:1.2\r\nhost:localhost\r\n\r\n\x00\r\n", ""),
		before("stomp", "STOMP\naccept-version:1.2\nhost:localhost\nheart-beat:0,0\n\n\x00", ""),
		before("connect padded", "CONNECT\n\n\n\n\x00\n", ""),
		after("send", "SEND\ndestination:/queue/a\n\nhello\x00", ""),
		after("send", "SEND\ndestination: /queue/a \n\nhello\x00", "").in("1.0"),
		after("send", "SEND\ndestination:/queue/a\n\nhello\x00", "").in("1.1"),
		after("send empty", "SEND\ndestination:/queue/a\n\n\x00", ""),
		after("send nul body", "SEND\ndestination:/queue/a\ncontent-length:5\n\na\x00b\x00c\x00", ""),
		after("send zero length", "SEND\ndestination:/queue/a\ncontent-length:0\n\n\x00", ""),
		after("send leading zeros", "SEND\ndestination:/queue/a\ncontent-length:0003\n\nabc\x00", ""),
		after("send crlf", "SEND\r\ndestination:/queue/a\r\nx:y\r\n\r\nhello\r\n\x00\r\n\r\n", ""),
		after("send mixed ends", "SEND\ndestination:/queue/a\r\nx:y\n\r\nhello\x00\n\r\n", ""),
		after("send cr in value", "SEND\ndestination:/queue/a\nx:y\r\n\nhello\x00", "").in("1.1"),
		after("send escapes", "SEND\ndestination:/queue/a\nk\\c\\\\:\\n\\r\\c\\\\\n\nx\x00", ""),
		after("send escapes", "SEND\ndestination:/queue/a\nk\\c\\\\:\\n\\c\\\\\n\nx\x00", "").in("1.1"),
		after("send backslashes", "SEND\ndestination:/queue/a\nk\\c:\\t\\\n\nx\x00", "").in("1.0"),
		after("send colons", "SEND\ndestination:/queue/a\nuri:http://a:1/\n\nx\x00", ""),
		after("send repeated", "SEND\ndestination:/queue/a\nfoo:1\nfoo:2\nbar:\nfoo:3\n\nx\x00", ""),
		after("send utf-8", "SEND\ndestination:/queue/a\nnäme:välue ☃\n\n☃\x00", ""),
		after("send latin-1", "SEND\ndestination:/queue/a\nn\xe4me:v\xe4lue\n\n\xff\x00", ""),
		after("send all octets", "SEND\ndestination:/queue/a\ncontent-length:256\n\n"+octets()+"\x00", ""),
		after("send many headers", "SEND\ndestination:/queue/a\n"+lines(100)+"\nx\x00", ""),
		after("send long value", "SEND\ndestination:/queue/a\nx:"+strings.Repeat("v", 8000)+"\n\nx\x00", ""),
		after("subscribe", "SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\n\n\x00", ""),
		after("subscribe with body", "SUBSCRIBE\ndestination:/queue/a\n\nignored\x00", "").in("1.0"),
		after("unsubscribe", "UNSUBSCRIBE\nid:0\n\n\x00", ""),
		after("ack", "ACK\nid:12345\ntransaction:tx1\n\n\x00", ""),
		after("nack", "NACK\nid:12345\n\n\x00", ""),
		after("transaction", "BEGIN\ntransaction:t\n\n\x00COMMIT\ntransaction:t\n\n\x00\nABORT\ntransaction:u\n\n\x00", ""),
		after("disconnect", "DISCONNECT\nreceipt:77\n\n\x00", ""),
		after("heart-beats", "\n\n\r\n\nACK\nid:1\n\n\x00\n\n\n", ""),
		after("pipeline", strings.Repeat("SEND\ndestination:/queue/a\nreceipt:r\n\n0123456789\x00\n", 20), ""),
	}
}

func octets() string {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	return string(all[:])
}
