// Package stomp is the wire codec for STOMP 1.0, 1.1 and 1.2. It turns bytes into frames and headers into bytes; it
// knows nothing of queues, sessions or sockets beyond reading them.
//
//	bytes ──> Reader ──> Frame ──> Header        one value, decoded
//	          bounded      │
//	                       └─────> AppendHeaders ──> block + Form ──> AppendBlock ──> bytes for a reader of any version
//	                               as they came      (stored)         copy, or re-encode
//
// A [Frame] lies in the memory of its [Reader] and is valid until the next call of [Reader.Next]. What must live longer
// is taken out of it with [Frame.AppendHeaders] as a block of header lines: the bytes that came, with a one-byte [Form]
// that says how they are escaped. A block is stored once and copied to every consumer; only a consumer whose version
// reads those bytes differently makes [AppendBlock] encode it anew.
//
// Invariants:
//
//   - Nothing is allocated on a client's word. The Reader holds what has arrived and at most 64 KiB more, within
//     [Limits], and a breach is an error as soon as the bytes exceed the limit.
//   - A Reader with nothing buffered holds no buffer when its source is a [LazyReader], such as [Lazy] makes of a
//     connection.
//   - The split of the byte stream into reads has no effect on the frames.
//   - No header can become two, change its name, or end the head in any version: what a version cannot express is left
//     out of it and counted in [DroppedHeader].
//   - Reading a frame, looking at its headers and appending them to a buffer that is large enough allocates nothing,
//     except one buffer for a body of more than 64 KiB.
//
// A loop that takes everything the client has sent so far before it acts:
//
//	r := stomp.NewReader(stomp.Lazy(conn), stomp.V12, stomp.AfterConnect())
//	defer r.Release()
//	for {
//		f, err := r.Next()
//		if err != nil {
//			return err // io.EOF, a *ProtocolError, or what conn said
//		}
//		batch = add(batch, f) // copies what it needs
//		if !r.Buffered() {
//			submit(batch)
//		}
//	}
package stomp
