package peers

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"baton/integration/client"
)

// patience is how long a step waits for what should come. A step that a broker disappoints costs it.
const patience = 10 * time.Second

// Play runs a script against a broker and returns what each step saw: as many lines as the script has steps.
//
//	ok                       the RECEIPT came
//	ERROR                    an ERROR came in its place
//	closed                   the connection was closed before
//	no answer                neither came
//	one two [priority=9]     messages: bodies, and in brackets the headers that the step asks for
//	nothing                  none came
//
// run stands for {} in the script. Destinations and ids that a broker invents are written as *, and headers that say what
// is so without them are left out: one broker writes redelivered:false, the other nothing.
func Play(ctx context.Context, s *Script, addr, run string) ([]string, error) {
	p := &player{ctx: ctx, addr: addr, run: run, clients: map[string]*connection{}}
	defer p.close()
	var seen []string
	for _, step := range s.Steps {
		outcome, err := p.step(step)
		if err != nil {
			return nil, fmt.Errorf("%s.txt:%d: %w", s.Name, step.Line, err)
		}
		seen = append(seen, strings.ReplaceAll(outcome, run, "{}"))
	}
	return seen, nil
}

type player struct {
	ctx     context.Context
	addr    string
	run     string
	clients map[string]*connection
}

func (p *player) close() {
	for _, c := range p.clients {
		c.close()
	}
}

func (p *player) step(s Step) (string, error) {
	words := make([]string, len(s.Words))
	for i, word := range s.Words {
		words[i] = strings.ReplaceAll(word, "{}", p.run)
	}
	if s.Verb == "connect" {
		return p.connect(s.Client, words)
	}
	c := p.clients[s.Client]
	if c == nil {
		return "", fmt.Errorf("%s has not connected", s.Client)
	}
	switch s.Verb {
	case "subscribe":
		return c.call("SUBSCRIBE", "", append(headers(words[2:]), "id", words[0], "destination", escape(words[1]))), nil
	case "unsubscribe":
		return c.call("UNSUBSCRIBE", "", append(headers(words[1:]), "id", words[0])), nil
	case "send":
		return c.call("SEND", words[1], append(headers(words[2:]), "destination", escape(words[0]))), nil
	case "post":
		err := c.write("SEND", words[1], append(headers(words[2:]), "destination", escape(words[0])))
		if err != nil {
			return "closed", nil
		}
		return "ok", nil
	case "reply":
		return c.reply(words)
	case "ack", "nack":
		return c.settle(strings.ToUpper(s.Verb), words)
	case "begin", "commit", "abort":
		return c.call(strings.ToUpper(s.Verb), "", append(headers(words[1:]), "transaction", words[0])), nil
	case "read":
		n, err := strconv.Atoi(words[0])
		return c.messages(words[1:], func(got []*client.Frame) bool { return len(got) == n }), err
	case "until":
		return c.messages(words[1:], func(got []*client.Frame) bool {
			return len(got) > 0 && string(got[len(got)-1].Body) == words[0]
		}), nil
	case "quiet":
		return c.quiet(p.run), nil
	case "disconnect":
		defer c.close()
		return c.call("DISCONNECT", "", nil), nil
	case "pause":
		ms, err := strconv.Atoi(words[0])
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return "ok", err
	case "drop":
		c.close()
		return "ok", nil
	}
	return "", fmt.Errorf("BUG: nobody plays %s", s.Verb)
}

// connect opens a connection, in place of the one that the client may have had.
func (p *player) connect(name string, words []string) (string, error) {
	if old := p.clients[name]; old != nil {
		old.close()
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(p.ctx, "tcp", p.addr)
	if err != nil {
		return "", err
	}
	c := &connection{Conn: client.Raw(conn), name: name, frames: make(chan *client.Frame), ended: make(chan struct{}), closed: make(chan struct{})}
	p.clients[name] = c
	go c.read()
	// RabbitMQ takes host for a virtual host and has only this one.
	if err := c.write("CONNECT", "", append(headers(words), "accept-version", "1.2", "host", "/")); err != nil {
		return "closed", nil
	}
	answer := c.next(time.After(patience))
	if answer == nil {
		return c.silence(), nil
	}
	if answer.Command == "CONNECTED" {
		return "ok", nil
	}
	return answer.Command, nil
}

// connection is one client of a script.
type connection struct {
	*client.Conn
	name     string
	frames   chan *client.Frame // what the broker sends
	ended    chan struct{}      // closed when the broker has closed
	closed   chan struct{}      // closed when we have
	kept     []*client.Frame    // messages that came while a step waited for a receipt
	history  []*client.Frame    // messages that steps have read
	receipts int
	barrier  int // messages to oneself so far
}

func (c *connection) read() {
	defer close(c.ended)
	for {
		f, err := c.Next()
		if failed, ok := err.(client.Error); ok {
			f, err = failed.Frame, nil
		}
		if err != nil {
			return
		}
		select {
		case c.frames <- f.Clone():
		case <-c.closed:
			return
		}
	}
}

func (c *connection) close() {
	select {
	case <-c.closed:
	default:
		close(c.closed)
		c.Close()
	}
}

// next is the next frame, nil when the connection or the time is over.
func (c *connection) next(over <-chan time.Time) *client.Frame {
	select {
	case f := <-c.frames:
		return f
	case <-c.ended:
		return nil
	case <-over:
		return nil
	}
}

// silence says why nothing came.
func (c *connection) silence() string {
	select {
	case <-c.ended:
		return "closed"
	default:
		return "no answer"
	}
}

func (c *connection) write(command, body string, headers []string) error {
	if err := c.Write(command, []byte(body), headers...); err != nil {
		return err
	}
	return c.Flush()
}

// call writes a frame and says how it was answered.
func (c *connection) call(command, body string, headers []string) string {
	c.receipts++
	receipt := fmt.Sprintf("%s-%d", c.name, c.receipts)
	if err := c.write(command, body, append(headers, "receipt", receipt)); err != nil {
		return "closed"
	}
	over := time.After(patience)
	for {
		switch f := c.next(over); {
		case f == nil:
			return c.silence()
		case f.Command == "ERROR":
			return "ERROR"
		case f.Command == "RECEIPT" && f.Header("receipt-id") == receipt:
			return "ok"
		case f.Command == "MESSAGE":
			c.kept = append(c.kept, f)
		}
	}
}

func (c *connection) reply(words []string) (string, error) {
	asked := c.find(words[0])
	if asked == nil {
		return "nothing to reply to", nil
	}
	return c.call("SEND", words[1], append(headers(words[2:]), "destination", asked.Header("reply-to"))), nil
}

func (c *connection) settle(command string, words []string) (string, error) {
	f := c.find(words[0])
	if f == nil {
		return "nothing to settle", nil
	}
	return c.call(command, "", append(headers(words[1:]), "id", f.Header("ack"))), nil
}

// find is the newest message with this body that was read.
func (c *connection) find(body string) *client.Frame {
	for i := len(c.history) - 1; i >= 0; i-- {
		if string(c.history[i].Body) == body {
			return c.history[i]
		}
	}
	return nil
}

// messages reads until enough has come, or the time is over.
func (c *connection) messages(names []string, enough func([]*client.Frame) bool) string {
	var got []*client.Frame
	over := time.After(patience)
	end := ""
	for !enough(got) {
		f := c.message(over)
		if f == nil {
			break
		}
		if f.Command == "ERROR" {
			end = "ERROR"
			break
		}
		got = append(got, f)
	}
	c.history = append(c.history, got...)
	return describe(got, names, end)
}

// message is the next MESSAGE or ERROR.
func (c *connection) message(over <-chan time.Time) *client.Frame {
	if len(c.kept) > 0 {
		f := c.kept[0]
		c.kept = c.kept[1:]
		return f
	}
	for {
		f := c.next(over)
		if f == nil || f.Command != "RECEIPT" {
			return f
		}
	}
}

// quiet sends a message to itself through a queue of its own and returns what has come before that.
func (c *connection) quiet(run string) string {
	c.barrier++
	queue := "/queue/barrier." + run + "." + c.name
	id := "barrier" + strconv.Itoa(c.barrier)
	for _, answer := range []string{
		c.call("SUBSCRIBE", "", []string{"id", id, "destination", queue}),
		c.call("SEND", id, []string{"destination", queue}),
	} {
		if answer != "ok" {
			return answer
		}
	}
	isBarrier := func(f *client.Frame) bool { return f.Header("subscription") == id }
	var got []*client.Frame
	end := "no barrier"
	for over := time.After(patience); ; {
		f := c.message(over)
		if f == nil {
			break
		}
		if isBarrier(f) {
			end = ""
			break
		}
		got = append(got, f)
	}
	c.history = append(c.history, got...)
	c.call("UNSUBSCRIBE", "", []string{"id", id})
	return describe(got, nil, end)
}

// headers turns words name:value into pairs.
func headers(words []string) []string {
	var pairs []string
	for _, word := range words {
		name, value, _ := strings.Cut(word, ":")
		pairs = append(pairs, name, escape(value))
	}
	return pairs
}

var escape = strings.NewReplacer(`\`, `\\`, ":", `\c`, "\n", `\n`).Replace

func describe(got []*client.Frame, names []string, end string) string {
	var words []string
	for _, f := range got {
		words = append(words, describeOne(f, names))
	}
	if end != "" {
		words = append(words, end)
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " ")
}

func describeOne(f *client.Frame, names []string) string {
	if f.Command == "ERROR" {
		return "ERROR"
	}
	body := string(f.Body)
	if body == "" {
		body = "(empty)"
	}
	var shown []string
	for _, name := range names {
		if f.Has(name) && f.Header(name) != implied[name] {
			shown = append(shown, name+"="+anonymous(f.Header(name)))
		}
	}
	if len(shown) == 0 {
		return body
	}
	return body + "[" + strings.Join(shown, " ") + "]"
}

// implied are the values that a message has when its headers do not say.
var implied = map[string]string{"redelivered": "false", "priority": "4", "expires": "0"}

var (
	invented = regexp.MustCompile(`^(/(?:remote-)?(?:temp|reply)-(?:queue|topic)/).*`)
	clock    = regexp.MustCompile(`\b[0-9]{13}\b`)
	id       = regexp.MustCompile(`^ID\\c.*`)
)

// anonymous writes * for what differs from run to run.
func anonymous(value string) string {
	value = invented.ReplaceAllString(value, "$1*")
	value = id.ReplaceAllString(value, "ID:*")
	value = clock.ReplaceAllString(value, "*")
	return strings.ReplaceAll(value, `\c`, ":")
}
