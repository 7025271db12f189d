package destinations

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"baton/destinations/selector"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the machine does now")

// TestScripts plays testdata/*.txt. A script is a command a line; the lines
// that are indented below a command are what it does.
//
//	machine [OPTION=N...]                      a new machine, started
//	restart                                    a new machine from the entries of the old one, started
//	state                                      what is stored, and the figures
//	at TIME                                    it is so much after the beginning; what is due before is not done
//	tick                                       what is due is done, and says when to tick next
//	S send DEST[,DEST...] BODY [nonpersistent] [size=N] [client=ID]
//	    [priority=N] [ttl=TIME] [expires=TIME] [delay=TIME] [deliver=TIME] [period=TIME] [repeat=N] [cron=F_F_F_F_F]
//	                                           S is the number of a session
//	S subscribe ID DEST[,DEST...] [ack=MODE] [prefetch=N] [bytes=N] [byid] [rejectnacks]
//	    [priority=N] [exclusive] [nolocal] [browse] [pending=N] [durable=CLIENT/NAME] [shared] [selector=TEXT, _ for a space]
//	    [retroactive] [last=N] [since=TIME]
//	    [ack-timeout=TIME] [lease=TIME] [redelivery-delay=TIME] [multiplier=N] [max-delay=TIME] [most=N] [network] [only=DESTINATION] [spare]
//	S unsubscribe ID [delete] [durable=CLIENT/NAME]
//	S ack|nack SUB.TAG [reject] [delay=TIME] [extend=TIME]  the numbers that the delivery carried
//	S ack|nack id=SEQ.N [sub=ID]               by message id
//	S sent SUB.TAG
//	S unreadable SUB.TAG
//	S commit|abort TX
//	S disconnect [clean] [written=SUB.TAG]     of that subscription, and of no other, so much was written; 0.0: nothing was
//	S cancel SEQ.N                             what waits for its time under this id
//	S grant ID N                               messages, to a subscription with network
//	S learn TOPIC durable=CLIENT/NAME [home=H] [born=N] [number=N] [selector=TEXT] [nolocal] [outranks] [existing] [delete]
//	S note
//	demands [tell|quiet]                       what consumers want, of what has changed
//	examined [N]                               answers the oldest Examination; of its first N messages only
//
// All but sent and unreadable take receipt=R; send, ack and nack take tx=T, such a send forwarded, returned, apart and attempts=N; send
// and commit take disklow, send and subscribe existing.
func TestScripts(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"testdata/*.txt", "testdata/rows/*.txt"} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("no scripts %s: %v", pattern, err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			playFile(t, file)
		})
	}
}

func playFile(t *testing.T, file string) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := play(t, string(want))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(wantLines), len(gotLines)) {
		if w, g := line(wantLines, i), line(gotLines, i); w != g {
			t.Fatalf("%s:%d:\n got: %s\nwant: %s\n(-update rewrites the file)", file, i+1, g, w)
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end)"
}

const indent = "    "

// play returns the script with the effects of every command below it.
func play(t *testing.T, text string) string {
	p := &player{t: t}
	var out strings.Builder
	for n, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(l, indent) {
			continue
		}
		fmt.Fprintln(&out, l)
		if l == "" || l[0] == '#' {
			continue
		}
		p.n = n + 1
		for _, effect := range p.play(strings.Fields(l)) {
			fmt.Fprintf(&out, "%s%s\n", indent, effect)
		}
	}
	return out.String()
}

// scriptTime is when a script begins.
var scriptTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A player runs the commands of one script.
type player struct {
	t       *testing.T
	n       int // line of the script
	opts    Options
	m       *Machine
	entries []Entry               // all of the machine, as a log gives them back
	sends   map[string][]Outgoing // of open transactions, by session and transaction
	effects []string
	now     time.Time

	examinations []*Examination // not answered
}

func (p *player) play(words []string) []string {
	p.effects = nil
	switch words[0] {
	case "machine":
		p.opts = p.options(words[1:])
		p.opts.Fields, p.examinations = bodyFields, nil
		p.m, p.entries, p.sends, p.now = New(p.opts), nil, map[string][]Outgoing{}, scriptTime
		p.step(Command{Op: Start})
	case "restart":
		p.m, p.sends = replayed(p.t, p.opts, p.entries), map[string][]Outgoing{}
		p.step(Command{Op: Start})
	case "state":
		p.state()
	case "at":
		p.now = scriptTime.Add(p.duration(words[1]))
	case "tick":
		p.tick()
	case "examined":
		p.examined(words[1:])
	case "demands":
		p.demands(words[1:])
	default:
		p.command(words)
	}
	return p.effects
}

// demands says what is wanted; "tell" and "quiet" say whether that is to be told.
func (p *player) demands(words []string) {
	if len(words) > 0 {
		p.m.TellDemands(words[0] == "tell")
		return
	}
	for p.m.Stirred() {
		for _, d := range p.m.Demands(nil, 2) {
			if d.Topic != "" {
				p.effects = append(p.effects, fmt.Sprintf("topic %s: %d subscribers", d.Topic, d.Consumers))
				continue
			}
			said := fmt.Sprintf("queue %s: %d consumers, %d free of %d, %d ready, %d in flight %q",
				strings.TrimPrefix(Queue(d.Queue).String(), "/queue/"), d.Consumers, d.Free, d.Window, d.Ready, d.Flying, d.Selectors)
			if d.Wild > 0 {
				said += fmt.Sprintf(", %d by wildcards", d.Wild)
			}
			if d.Durable != nil {
				said += fmt.Sprintf(", %v", d.Durable)
			}
			if d.Wanted > 0 {
				said += fmt.Sprintf(", %d wanted", d.Wanted)
			}
			for _, w := range d.Parked {
				said += fmt.Sprintf(", %d for %s", w.Messages, w.Member)
			}
			p.effects = append(p.effects, said)
		}
	}
}

func (p *player) state() {
	if s := describe(p.m); s != "" {
		p.effects = append(p.effects, strings.Split(strings.TrimSpace(s), "\n")...)
	}
	s := p.m.Stats()
	p.say("queues=%d topics=%d subscriptions=%d messages=%d bytes=%d last=%d oldest=%d",
		s.Queues, s.Topics, s.Subscriptions, s.Messages, s.Bytes, p.m.Last(), p.m.Oldest())
	if s.Kept > 0 {
		p.say("kept=%d", s.Kept)
	}
	if s.Unreadable > 0 {
		p.say("unreadable=%d", s.Unreadable)
	}
}

func (p *player) tick() {
	p.step(Command{Op: Tick})
	if next, ok := p.m.NextTick(); ok {
		p.say("next %s", next.Sub(scriptTime))
	} else {
		p.say("next never")
	}
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatalf("line %d: %v", p.n, err)
	}
	return d
}

func (p *player) say(format string, args ...any) {
	p.effects = append(p.effects, fmt.Sprintf(format, args...))
}

// step carries out c and says its effects.
func (p *player) step(c Command) {
	var out Effects
	if err := p.m.Step(p.now, &c, &out); err != nil {
		p.say("%d refused %s: %s", c.Session, err.(*Error).Code, err)
		if len(out.Entries)+len(out.Outputs) > 0 {
			p.t.Fatalf("line %d: a refused command has effects: %+v", p.n, out)
		}
		return
	}
	for _, e := range out.Entries {
		p.say("log %d %s", e.Seq, e)
		p.entries = append(p.entries, readBack(e))
	}
	if len(out.Entries) > 0 && !out.Sync {
		p.say("nobody waits")
	}
	for _, o := range out.Outputs {
		p.say("%s", p.outputText(o))
	}
	if out.Dropped > 0 {
		p.say("dropped %d", out.Dropped)
	}
	if out.Unclaimed > 0 {
		p.say("unclaimed %d", out.Unclaimed)
	}
	if out.Expired > 0 {
		p.say("expired %d", out.Expired)
	}
	if out.Duplicates > 0 {
		p.say("duplicates %d", out.Duplicates)
	}
	if out.Overflowed > 0 {
		p.say("overflowed %d", out.Overflowed)
	}
	for _, id := range out.Lapsed {
		p.say("lapsed %s", id)
	}
	if out.SetAside > 0 {
		p.say("set aside %d", out.SetAside)
	}
}

func (p *player) outputText(o Output) string {
	d := o.Delivery
	switch o.Kind {
	case Receipt:
		if d.ID != (MessageID{}) {
			return fmt.Sprintf("%d <- RECEIPT %s job=%d.%d%s", o.Session, o.ReceiptID, d.ID.Seq, d.ID.N, afterText(o))
		}
		return fmt.Sprintf("%d <- RECEIPT %s%s", o.Session, o.ReceiptID, afterText(o))
	case Forget:
		return fmt.Sprintf("%d forget %d", o.Session, d.Sub)
	case Browsed:
		return fmt.Sprintf("%d <- END of %s to %s", o.Session, d.Destination, d.Subscription)
	case Examine:
		p.examinations = append(p.examinations, o.Examination)
		return fmt.Sprintf("examine %s %v%s", o.Examination.Queue, o.Examination.Contents, afterText(o))
	case Evict:
		return fmt.Sprintf("%d evict %s: %s", o.Session, o.Err.(*Error).Code, o.Err)
	}
	s := fmt.Sprintf("%d <- MESSAGE %s to %s as %d.%d id=%d.%d",
		o.Session, p.bodyText(d), d.Subscription, d.Sub, d.Tag, d.ID.Seq, d.ID.N)
	if d.Redelivered {
		s += fmt.Sprintf(" redelivered deliveries=%d", d.Deliveries)
	}
	if d.GroupFirst {
		s += " first of its group"
	}
	if id, ok := d.Job(); ok {
		s += fmt.Sprintf(" job=%d.%d", id.Seq, id.N)
	}
	if d.Dead != nil {
		s += " " + d.Dead.String()
	}
	return s + afterText(o)
}

func afterText(o Output) string {
	if o.After == 0 {
		return ""
	}
	return fmt.Sprintf(" after %d", o.After)
}

// bodyText is the message's body. One that is not in memory is in brackets, and
// read from the log.
func (p *player) bodyText(d Delivery) string {
	if d.Message != nil {
		return bodyText(d.Message)
	}
	for _, e := range p.entries {
		if e.Seq == d.Content {
			if msg, err := e.Message(); err == nil {
				return "[" + bodyText(msg) + "]"
			}
		}
	}
	p.t.Fatalf("line %d: no entry %d holds a message", p.n, d.Content)
	return ""
}

func bodyText(m *Message) string {
	return strings.TrimRight(string(m.Content[m.HeaderBytes+1:]), "_")
}

func (p *player) options(words []string) (o Options) {
	if _, opts := split(words); len(opts) > 0 && !(len(opts) == 1 && opts["member"] != "") {
		o.Policies = p.policy(opts)
	}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "member":
			o.Member = value
		case "prefetch":
			o.Prefetch = p.number(value)
		case "prefetch-bytes":
			o.PrefetchBytes = int64(p.number(value))
		case "max-deliveries":
			o.MaxDeliveries = p.number(value)
		case "memory":
			o.MemoryBytes = int64(p.number(value))
		case "max-subscriptions":
			o.MaxSubscriptions = p.number(value)
		case "max-commit":
			o.MaxCommitBytes = int64(p.number(value))
		case "dead-letters":
			o.DeadLetterPrefix = value
		case "pending":
			o.Pending.Messages = p.number(value)
		case "pending-bytes":
			o.Pending.Bytes = int64(p.number(value))
		case "policy":
			o.Pending.Policy = map[string]PendingPolicy{"drop-new": DropNew, "disconnect": DisconnectPending, "spill": Spill}[value]
		case "spill-bytes":
			o.Pending.SpillBytes = int64(p.number(value))
		case "redelivery-delay", "multiplier", "max-delay", "most", "jitter", "keep-order", "priorities", "expiry-queue", "message-ttl", "max-ttl", "delivery-delay", "offline",
			"max-messages", "max-bytes", "on-full", "no-create", "last-value", "offline-ttl", "gc-after", "exclusive-queues", "selector-aware", "rebalance", "keep", "keep-bytes", "keep-age", "ack-timeout":
			// of the policy
		default:
			p.t.Fatalf("line %d: unknown option %q", p.n, w)
		}
	}
	return o
}

// optional is number, or 0 of nothing.
func (p *player) optional(s string) int {
	if s == "" {
		return 0
	}
	return p.number(s)
}

func (p *player) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatalf("line %d: %v", p.n, err)
	}
	return n
}

// split separates the arguments of a command from its options.
func split(words []string) (args []string, opts map[string]string) {
	opts = map[string]string{}
	for _, w := range words {
		name, value, isOption := strings.Cut(w, "=")
		switch {
		case isOption:
			opts[name] = value
		case slices.Contains([]string{"nonpersistent", "byid", "rejectnacks", "reject", "clean", "disklow", "exclusive", "nolocal", "browse", "keep-order", "shared", "delete", "existing", "no-create", "last-value", "exclusive-queues", "selector-aware", "rebalance", "retroactive", "network", "spare", "instead", "forwarded", "returned", "apart", "outranks"}, w):
			opts[w] = "yes"
		default:
			args = append(args, w)
		}
	}
	return args, opts
}

// command carries out one line of a session.
func (p *player) command(words []string) {
	c := Command{Session: uint64(p.number(words[0]))}
	verb := words[1]
	args, opts := split(words[2:])
	c.Receipt, c.WantReceipt = opts["receipt"], opts["receipt"] != ""
	c.saying().Tx, c.saying().Refusal.Reject, c.Clean = opts["tx"], opts["reject"] != "", opts["clean"] != ""
	c.DiskLow, c.Existing = opts["disklow"] != "", opts["existing"] != ""
	if s := opts["delay"]; s != "" && verb == "nack" {
		if c.saying().Refusal.Delay = p.duration(s); c.saying().Refusal.Delay == 0 {
			c.saying().Refusal.Delay = -1
		}
	}
	switch verb {
	case "send":
		all := p.destinations(args[0])
		c.Op, c.Destination, c.saying().Also, c.Message, c.saying().Client = Send, all[0], all[1:], p.message(args[1], opts), opts["client"]
	case "subscribe":
		c.Op, c.Subscription, c.Consumer = Subscribe, args[0], p.consumer(opts)
		c.Destination, c.saying().Sources = p.sources(args[1])
	case "unsubscribe":
		c.Op, c.Subscription, c.Delete, c.Consumer = Unsubscribe, args[0], opts["delete"] != "", p.consumer(opts)
	case "ack", "nack", "sent", "unreadable":
		c.Op = map[string]Op{"ack": Ack, "nack": Nack, "sent": Sent, "unreadable": Unreadable}[verb]
		c.Delivery, c.Subscription = p.delivery(args, opts), opts["sub"]
		if s := opts["extend"]; s != "" {
			c.saying().Extend = p.duration(s)
		}
	case "commit", "abort":
		c.Op, c.saying().Tx = map[string]Op{"commit": Commit, "abort": Abort}[verb], args[0]
		if verb == "commit" {
			c.saying().Sends = p.sends[p.txKey(c)]
		}
		delete(p.sends, p.txKey(c))
	case "disconnect":
		c.Op = Disconnect
		if s := opts["written"]; s != "" {
			d := p.delivery([]string{s}, nil)
			c.saying().Written = map[uint32]uint64{d.Sub: d.Tag}
		}
		maps.DeleteFunc(p.sends, func(key string, _ []Outgoing) bool { return strings.HasPrefix(key, words[0]+" ") })
	case "cancel":
		c.Op, c.Delivery = Cancel, p.delivery(nil, map[string]string{"id": args[0]})
	case "grant":
		c.Op, c.Subscription, c.saying().Grant = Grant, args[0], p.number(args[1])
	case "learn":
		id := p.consumer(opts).Durable
		c.Op, c.Destination, c.Delete, c.Existing = Learn, Queue(id.key()), opts["delete"] != "", opts["existing"] != ""
		c.saying().Outranks = opts["outranks"] != ""
		c.saying().Durable = &DurableState{Topic: p.destination(args[0]).Name, Selector: p.consumer(opts).Selector.String(), NoLocal: opts["nolocal"] != "",
			Claim: Claim{Home: opts["home"], Born: uint64(p.optional(opts["born"])), Number: uint64(p.optional(opts["number"]))}}
	case "note":
		c.Op = Note
	default:
		p.t.Fatalf("line %d: unknown command %q", p.n, verb)
	}
	if c.Op == Send && c.saying().Tx != "" { // kept by the session, as the broker does
		o := c.outgoing()
		o.Forwarded, o.Returned, o.Attempts = opts["forwarded"] != "", opts["returned"] != "", p.optional(opts["attempts"])
		o.Apart = opts["apart"] != ""
		p.sends[p.txKey(c)] = append(p.sends[p.txKey(c)], o)
		return
	}
	p.step(c)
}

func (p *player) txKey(c Command) string { return fmt.Sprint(c.Session, " ", c.saying().Tx) }

// destination reads one. The token of all temporary ones is "t".
func (p *player) destination(s string) Destination {
	if id, ok := strings.CutPrefix(s, "/durable/"); ok {
		client, name, _ := strings.Cut(id, "/")
		return Queue(DurableID{client, name}.key())
	}
	names := Names{MaxBytes: 255, DeadLetterPrefixes: []string{"DLQ."}}
	if d, ok, err := names.ParseTemporary(s); ok && err == nil {
		return Temporary(d, "t")
	}
	if d, ok, err := names.ParseAddress(s); ok && err == nil {
		return d
	}
	if name, ok := strings.CutPrefix(s, queuePrefix); ok && strings.HasPrefix(name, NetworkPrefix) {
		return Queue(name)
	}
	d, err := names.Parse(s)
	if err != nil {
		p.t.Fatalf("line %d: %v", p.n, err)
	}
	return d
}

// sources reads one destination, or patterns with commas between them.
func (p *player) sources(s string) (Destination, []Pattern) {
	if !strings.ContainsAny(s, wildcards+",") {
		return p.destination(s), nil
	}
	var sources []Pattern
	for _, s := range strings.Split(s, ",") {
		pattern, err := Names{MaxBytes: 255, DeadLetterPrefixes: []string{"DLQ."}}.ParsePattern(s)
		if err != nil {
			p.t.Fatalf("line %d: %v", p.n, err)
		}
		sources = append(sources, pattern)
	}
	return Destination{}, sources
}

// destinations reads those of a SEND.
func (p *player) destinations(s string) []Destination {
	if !strings.Contains(s, ",") {
		return []Destination{p.destination(s)}
	}
	all, err := Names{MaxBytes: 255, DeadLetterPrefixes: []string{"DLQ."}}.ParseAll(s)
	if err != nil {
		p.t.Fatalf("line %d: %v", p.n, err)
	}
	return all
}

func (p *player) message(body string, opts map[string]string) *Message {
	if s := opts["size"]; s != "" {
		body += strings.Repeat("_", p.number(s)-len(body))
	}
	msg := newMessage(body, opts["nonpersistent"] == "")
	msg.Props = p.props(opts)
	return msg
}

// props reads those of a send; nil if there are none. Times are durations after
// the beginning.
func (p *player) props(opts map[string]string) *Props {
	props := Props{Priority: DefaultPriority, Cron: strings.ReplaceAll(opts["cron"], "_", " "), Group: opts["group"], GroupSeq: int32(p.optional(opts["seq"])), DedupID: opts["dedup"], Key: opts["key"]}
	millis := func(name string) int64 {
		if opts[name] == "" {
			return 0
		}
		return p.duration(opts[name]).Milliseconds()
	}
	number := func(name string, otherwise int) int {
		if opts[name] == "" {
			return otherwise
		}
		return p.number(opts[name])
	}
	props.Priority = uint8(number("priority", DefaultPriority))
	props.TTL, props.Delay, props.Period = millis("ttl"), millis("delay"), millis("period")
	props.Repeat = int32(number("repeat", 0))
	if opts["expires"] != "" {
		props.Expires = scriptTime.UnixMilli() + millis("expires")
	}
	if opts["deliver"] != "" {
		props.Deliver = scriptTime.UnixMilli() + millis("deliver")
	}
	if props == (Props{Priority: DefaultPriority}) {
		return nil
	}
	return &props
}

func newMessage(body string, persistent bool) *Message {
	return &Message{Content: []byte("\n" + body), Persistent: persistent}
}

func (p *player) consumer(opts map[string]string) *Consumer {
	c := &Consumer{ByMessageID: opts["byid"] != "", RejectNacks: opts["rejectnacks"] != ""}
	c.Ack = map[string]AckMode{"client": AckClient, "individual": AckIndividual}[opts["ack"]]
	c.Durable.Client, c.Durable.Name, _ = strings.Cut(opts["durable"], "/")
	c.Shared = opts["shared"] != ""
	if s := opts["prefetch"]; s != "" {
		c.Prefetch = p.number(s)
	}
	if s := opts["bytes"]; s != "" {
		c.PrefetchBytes = int64(p.number(s))
	}
	if s := opts["priority"]; s != "" {
		c.Priority = p.number(s)
	}
	if s := opts["pending"]; s != "" {
		c.Pending = p.number(s)
	}
	if s := opts["selector"]; s != "" {
		sel, err := selector.Parse(strings.ReplaceAll(s, "_", " "))
		if err != nil {
			p.t.Fatalf("line %d: %v", p.n, err)
		}
		c.Selector = sel
	}
	if s := opts["ack-timeout"]; s != "" {
		c.AckTimeout = p.duration(s)
	}
	if s := opts["lease"]; s != "" {
		c.Lease = p.duration(s)
	}
	c.Browse, c.Network, c.Spare = opts["browse"] != "", opts["network"] != "", opts["spare"] != ""
	c.Member, c.Instead = opts["member"], opts["instead"] != ""
	if s := opts["only"]; s != "" {
		c.Only = func(d Destination) bool { return d.String() == s }
	}
	if opts["retroactive"]+opts["last"]+opts["since"] != "" {
		c.Retroactive = &Retroactive{Messages: p.optional(opts["last"])}
		if s := opts["since"]; s != "" {
			c.Retroactive.Since = scriptTime.Add(p.duration(s)).UnixMilli()
		}
	}
	c.Exclusive, c.NoLocal = opts["exclusive"] != "", opts["nolocal"] != ""
	var r Redelivery
	if p.redelivery(&r, opts); r != (Redelivery{}) {
		c.Redelivery = &r
	}
	return c
}

// redelivery reads what a policy and a subscription can say of it.
func (p *player) redelivery(r *Redelivery, opts map[string]string) {
	if s := opts["redelivery-delay"]; s != "" {
		r.Delay = p.duration(s)
	}
	if s := opts["multiplier"]; s != "" {
		r.Multiplier = float64(p.number(s))
	}
	if s := opts["max-delay"]; s != "" {
		r.MaxDelay = p.duration(s)
	}
	if s := opts["most"]; s != "" {
		r.MaxDeliveries = p.number(s)
	}
}

// policy is what the options of a machine say of all destinations.
func (p *player) policy(opts map[string]string) *Policies {
	set := func(policy *Policy) {
		p.redelivery(&policy.Redelivery, opts)
		if s := opts["jitter"]; s != "" {
			policy.Redelivery.Jitter = float64(p.number(s)) / 100
		}
		policy.Redelivery.KeepOrder = opts["keep-order"] != ""
		policy.Priorities = opts["priorities"] == ""
		policy.AutoCreate, policy.LastValue = opts["no-create"] == "", opts["last-value"] != ""
		policy.SelectorAware = opts["selector-aware"] != ""
		policy.Exclusive, policy.RebalanceGroups = opts["exclusive-queues"] != "", opts["rebalance"] != ""
		if s := opts["offline"]; s != "" {
			policy.Durable.Messages = p.number(s)
		}
		policy.Keep.Messages, policy.Keep.Bytes = p.optional(opts["keep"]), int64(p.optional(opts["keep-bytes"]))
		if s := opts["expiry-queue"]; s != "" {
			policy.ExpiryQueue = Queue(s)
		}
		for name, field := range map[string]*time.Duration{
			"message-ttl": &policy.MessageTTL, "max-ttl": &policy.MaxTTL, "delivery-delay": &policy.DeliveryDelay, "offline-ttl": &policy.Durable.TTL, "gc-after": &policy.GCAfter, "keep-age": &policy.Keep.Age, "ack-timeout": &policy.AckTimeout,
		} {
			if s := opts[name]; s != "" {
				*field = p.duration(s)
			}
		}
	}
	var rules []Rule
	full := map[string]OnFull{"block": FullBlock, "reject": FullReject, "drop-oldest": FullDropOldest, "drop-new": FullDropNew}
	limit := func(policy *Policy) {
		set(policy)
		if s := opts["max-messages"]; s != "" {
			policy.MaxMessages = p.number(s)
		}
		if s := opts["max-bytes"]; s != "" {
			policy.MaxBytes = int64(p.number(s))
		}
		policy.OnFull = full[opts["on-full"]]
	}
	for _, d := range []Destination{Queue(">"), Topic(">")} {
		rules = append(rules, Rule{Match: Pattern{d}, Set: limit})
	}
	return NewPolicies(rules)
}

// examined answers the oldest examination as the broker does: it reads the log.
func (p *player) examined(words []string) {
	if len(p.examinations) == 0 {
		p.say("nothing was asked")
		return
	}
	e := p.examinations[0]
	p.examinations = p.examinations[1:]
	n := len(e.Contents)
	if len(words) > 0 {
		n = p.number(words[0])
	}
	if e.Selector == nil {
		e.Messages = contents(p.t, p.entries, e)[:n]
	} else {
		e.Matches = matches(p.t, p.entries, e)[:n]
	}
	p.step(Command{Op: Examined, More: &More{Examination: e}})
}

// matches are the answer to e, by what the log has.
func matches(t tester, log []Entry, e *Examination) (answer []bool) {
	for _, seq := range e.Contents {
		i := slices.IndexFunc(log, func(e Entry) bool { return e.Seq == seq })
		msg, err := log[i].Message()
		if err != nil {
			t.Fatalf("%v", err)
		}
		answer = append(answer, e.Selector.Matches(bodyFields(msg)))
	}
	return answer
}

// contents are the messages that e asks for, by what the log has.
func contents(t tester, log []Entry, e *Examination) (answer []*Message) {
	for _, seq := range e.Contents {
		i := slices.IndexFunc(log, func(e Entry) bool { return e.Seq == seq })
		msg, err := log[i].Message()
		if err != nil {
			t.Fatalf("%v", err)
		}
		answer = append(answer, msg)
	}
	return answer
}

// bodyFields takes a body of the form "name,field:value,..." apart.
func bodyFields(msg *Message) selector.Fields { return bodied(bodyText(msg)) }

type bodied string

func (b bodied) Field(name string) ([]byte, bool) {
	for _, part := range strings.Split(string(b), ",") {
		if n, v, ok := strings.Cut(part, ":"); ok && n == name {
			return []byte(v), true
		}
	}
	return nil, false
}

// delivery reads "SUB.TAG", or "id=SEQ.N".
func (p *player) delivery(args []string, opts map[string]string) DeliveryID {
	text, byMessage := opts["id"], true
	if text == "" {
		text, byMessage = args[0], false
	}
	a, b, _ := strings.Cut(text, ".")
	d := DeliveryID{ByMessage: byMessage}
	if byMessage {
		d.ID = MessageID{Seq: uint64(p.number(a)), N: uint64(p.number(b))}
	} else {
		d.Sub, d.Tag = uint32(p.number(a)), uint64(p.number(b))
	}
	return d
}
