package broker

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
)

// Kinds of facts that the broker adds to those of the machine.
const (
	factOpened   destinations.FactKind = 100 + iota // Session: it has said CONNECT
	factClosed                                      // Session
	factDiskLow                                     // nothing
	factDiskBack                                    // nothing
	factStalled                                     // nothing
	factAnswers                                     // nothing
	factDamaged                                     // nothing
	factLost                                        // Messages: reports that were not made
)

// opOpened is a command beside those of the machine: a client has said CONNECT.
const opOpened destinations.Op = 100

// A subject is what the reports of one topic are about.
type subject struct {
	topic   string // behind destinations.ReportsPrefix
	counted bool   // those of a second are one report, as they may be very many
}

// subjects are all that there are. docs/sys-topics.md describes each.
var subjects = map[destinations.FactKind]subject{
	factOpened:                     {topic: "connections.opened"},
	factClosed:                     {topic: "connections.closed"},
	destinations.SubscriptionMade:  {topic: "subscriptions.made"},
	destinations.SubscriptionEnded: {topic: "subscriptions.ended"},
	destinations.DestinationMade:   {topic: "destinations.made"},
	destinations.DestinationGone:   {topic: "destinations.gone"},
	destinations.ConsumerSlow:      {topic: "consumers.slow", counted: true},
	destinations.QueueFull:         {topic: "queues.full", counted: true},
	destinations.DeadLettered:      {topic: "messages.dead-lettered", counted: true},
	destinations.Expired:           {topic: "messages.expired", counted: true},
	destinations.Dropped:           {topic: "messages.dropped", counted: true},
	factDiskLow:                    {topic: "disk.low"},
	factDiskBack:                   {topic: "disk.back"},
	factStalled:                    {topic: "disk.stalled"},
	factAnswers:                    {topic: "disk.answers"},
	factDamaged:                    {topic: "journal.damaged"},
	factLost:                       {topic: "reports.lost", counted: true},
}

// The bodies of reports, as JSON. All fields are there in each report.
type (
	connectionReport struct {
		Time     string `json:"time"`
		Session  string `json:"session"`
		ClientID string `json:"client_id"`
		Address  string `json:"address"`
	}
	openedReport struct {
		connectionReport
		Version string `json:"version"`
	}
	closedReport struct {
		connectionReport
		Clean bool   `json:"clean"`
		Error string `json:"error"`
	}
	subscriptionReport struct {
		connectionReport
		Subscription string `json:"subscription"`
		Destination  string `json:"destination"`
	}
	slowReport struct {
		subscriptionReport
		Messages int `json:"messages"`
	}
	destinationReport struct {
		Time        string `json:"time"`
		Destination string `json:"destination"`
	}
	messagesReport struct {
		destinationReport
		Messages int `json:"messages"`
	}
	reasonReport struct {
		messagesReport
		Reason string `json:"reason"`
	}
	fullReport struct {
		destinationReport
		Times int `json:"times"`
	}
	diskReport struct {
		Time string `json:"time"`
		Free int64  `json:"free"`
	}
	stallReport struct {
		Time string `json:"time"`
	}
	damageReport struct {
		Time   string `json:"time"`
		Places int    `json:"places"`
	}
	lostReport struct {
		Time    string `json:"time"`
		Reports int    `json:"reports"`
	}
)

// Within a second there are so many reports at most, and half of them may be of
// what is counted. Those beyond are lost, and that is reported.
const maxReports = 1000

// reports are what the engine has to say of what happened, on topics of its own.
type reports struct {
	counted []counted                 // of this second, in the order of their first
	index   map[destinations.Fact]int // of counted, by themselves without Messages
	due     bool                      // the second is over
	made    int                       // in this second, of what is not counted
	lost    int                       // that nobody was told of
}

// A counted fact is several that differ in nothing but their messages.
type counted struct {
	destinations.Fact
	from *session // nil: it is about none
}

// turn begins a second, and says whether there is something to say of the last.
func (r *reports) turn() bool {
	r.made, r.due = 0, len(r.counted) > 0 || r.lost > 0
	return r.due
}

// count adds f, of this session, to what is like it.
func (r *reports) count(f destinations.Fact, from *session) {
	messages := f.Messages
	f.Messages = 0
	i, ok := r.index[f]
	switch {
	case ok:
		r.counted[i].Messages += messages
	case len(r.counted) == maxReports/2:
		r.lost++
	default:
		if r.index == nil {
			r.index = map[destinations.Fact]int{}
		}
		r.index[f] = len(r.counted)
		f.Messages = messages
		r.counted = append(r.counted, counted{f, from})
	}
}

// report publishes what happened in the batch, if somebody wants to know.
func (e *engine) report(now time.Time) {
	observed := e.machine.Observed()
	if observed != e.observed.Load() {
		e.observed.Store(observed)
	}
	r := &e.reports
	if !observed {
		*r = reports{}
		return
	}
	r.lost += e.effects.Untold
	for _, f := range e.effects.Facts {
		from := e.sessions[f.Session]
		switch {
		case subjects[f.Kind].counted:
			r.count(f, from)
		case r.made == maxReports/2:
			r.lost++
		default:
			r.made++
			e.publish(now, f, from)
		}
	}
	if r.due {
		e.reportCounted(now)
	}
}

// reportCounted publishes what the last second comes to.
func (e *engine) reportCounted(now time.Time) {
	r := &e.reports
	counted, lost := r.counted, r.lost
	r.counted, r.index, r.due, r.lost = nil, nil, false, 0
	for _, c := range counted {
		e.publish(now, c.Fact, c.from)
	}
	if lost > 0 && !e.publish(now, destinations.Fact{Kind: factLost, Messages: lost}, nil) {
		r.lost += lost - 1 // without the one that says so
	}
}

// publish sends the report on f to its subscribers, and says whether there was
// room for it.
func (e *engine) publish(now time.Time, f destinations.Fact, from *session) bool {
	err := e.machine.Step(now, &destinations.Command{
		Op:          destinations.Send,
		Destination: destinations.Topic(destinations.ReportsPrefix + subjects[f.Kind].topic),
		Message:     newReport(now, e.body(now, f, from)),
		DiskLow:     e.low,
	}, &e.effects)
	if err != nil {
		e.reports.lost++
	}
	return err == nil
}

// reportType is the content-type of all reports.
const reportType = "application/json"

// newReport makes a message of a body.
func newReport(now time.Time, body any) *destinations.Message {
	text, err := json.Marshal(body)
	if err != nil {
		panic("BUG: a report cannot be written: " + err.Error())
	}
	head := stomp.AppendRawHeader(nil, headerContentType, reportType)
	head = appendStamp(head, now)
	return &destinations.Message{
		HeaderBytes: int32(len(head)),
		Form:        uint8(stomp.FormOf(head, stomp.V12)),
		Content:     append(append(head, '\n'), text...),
	}
}

// body is what the report on f, of this session, says.
func (e *engine) body(now time.Time, f destinations.Fact, from *session) any {
	at := now.UTC().Format("2006-01-02T15:04:05.000Z")
	connection := connectionReport{Time: at}
	if from != nil {
		connection = connectionReport{at, from.name(), from.clientID, from.conn.RemoteAddr().String()}
	}
	subscription := subscriptionReport{connection, strings.TrimPrefix(f.Subscription, implicit), f.Destination}
	messages := messagesReport{destinationReport{at, f.Destination}, f.Messages}
	switch f.Kind {
	case factOpened:
		return openedReport{connection, from.speaks().String()}
	case factClosed:
		return closedReport{connection, from.cause == nil, farewell(from.cause)}
	case destinations.SubscriptionMade, destinations.SubscriptionEnded:
		return subscription
	case destinations.ConsumerSlow:
		return slowReport{subscription, f.Messages}
	case destinations.DestinationMade, destinations.DestinationGone:
		return messages.destinationReport
	case destinations.QueueFull:
		return fullReport{messages.destinationReport, f.Messages}
	case destinations.DeadLettered, destinations.Dropped:
		return reasonReport{messages, f.Reason}
	case destinations.Expired:
		return messages
	case factDiskLow, factDiskBack:
		return diskReport{at, e.disk.free.Load()}
	case factStalled, factAnswers:
		return stallReport{at}
	case factDamaged:
		return damageReport{at, e.told.damage}
	case factLost:
		return lostReport{at, f.Messages}
	}
	panic("BUG: nothing is known of this kind of fact")
}

// farewell is what there is to say of the end of a connection; a client that
// just closed it is nothing to speak of.
func farewell(cause error) string {
	if cause == nil || errors.Is(cause, io.EOF) {
		return ""
	}
	return cause.Error()
}

// opened notes that a client has said CONNECT.
func (e *engine) opened(s *session) {
	e.sessions[s.id] = s
	e.note(factOpened, s)
}

// closed notes that a connection has ended, if it had begun.
func (e *engine) closed(s *session) {
	if s.connected {
		e.note(factClosed, s)
	}
}

// note adds a fact of the broker's own to those of the batch.
func (e *engine) note(kind destinations.FactKind, s *session) {
	if !e.machine.Observed() {
		return
	}
	f := destinations.Fact{Kind: kind}
	if s != nil {
		f.Session = s.id
	}
	e.effects.Facts = append(e.effects.Facts, f)
}

// readDisk takes note of the room on the disk.
func (e *engine) readDisk() {
	low := e.disk.low.Load()
	switch {
	case low && !e.low:
		e.note(factDiskLow, nil)
	case !low && e.low:
		e.note(factDiskBack, nil)
	}
	e.low, e.room, e.cramped = low, e.log.Room(), false
	e.readAilment()
}

// An ailment is what the log suffers from.
type ailment struct {
	stalled bool // its disk does not answer
	damage  int  // places that were found damaged
}

// logAils looks at the log, and says whether there is something to report.
func (e *engine) logAils() bool {
	stats := e.log.Stats()
	e.ailment = ailment{!stats.StalledSince.IsZero(), stats.Damage}
	return e.ailment != e.told
}

// readAilment takes note of what ails the log.
func (e *engine) readAilment() {
	before := e.told
	e.told = e.ailment
	switch {
	case e.told.stalled && !before.stalled:
		e.note(factStalled, nil)
	case !e.told.stalled && before.stalled:
		e.note(factAnswers, nil)
	}
	if e.told.damage > before.damage {
		e.note(factDamaged, nil)
	}
}
