// Package client is a small, fast STOMP client for tests and benchmarks: it writes what it is told, pipelines without
// limit, and checks nothing that the broker is supposed to check.
//
//	one goroutine           another (or the same)
//	c.Write … c.Flush ──>  broker  ──> c.Next … c.Next
//
// It shares no code with the broker's own codec, so that a mistake in one does not hide in the other. Header values are
// written as given and read as they come: whoever needs escapes writes them.
//
// An example, a confirmed SEND and the message back:
//
//	c, err := client.Dial(ctx, "127.0.0.1:61613", client.Options{})
//	…
//	err = c.Call("SEND", []byte("hello"), "destination", "/queue/a") // returns after the RECEIPT
//	err = c.Call("SUBSCRIBE", nil, "destination", "/queue/a", "id", "1", "ack", "client")
//	message, err := c.Next()
//	err = c.Call("ACK", nil, "id", message.Header("ack"))
package client
