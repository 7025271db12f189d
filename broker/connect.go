package broker

import (
	"strconv"
	"strings"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
)

// versions are those that are spoken, the best first.
var versions = []stomp.Version{stomp.V12, stomp.V11, stomp.V10}

// connect answers CONNECT or STOMP (STOMP 1.2, "Connecting").
func (s *session) connect(f *stomp.Frame) error {
	version, err := negotiate(f)
	if err != nil {
		return err
	}
	if err := s.server.ableToKeep(int64(s.server.opts.MinCopies)); err != nil {
		return err
	}
	if version != stomp.V10 { // 1.0 has no heart-beats, whatever the header says
		if err := s.agreeHeartBeats(f); err != nil {
			return err
		}
	}
	if id, ok := f.Header(headerClientID); ok {
		s.clientID = string(id)
	}
	s.version.Store(uint32(version))
	s.reader.SetVersion(version)
	s.reader.SetLimits(s.server.opts.FrameLimits)
	s.connected = true
	s.out.push(&destinations.Output{Kind: outputConnected, ReceiptID: s.connectedFrame(f, version)})
	s.out.signal()
	if s.server.engine.observed.Load() {
		s.add(&destinations.Command{Op: opOpened})
	}
	return nil
}

func (s *session) connectedFrame(f *stomp.Frame, version stomp.Version) string {
	o := &s.server.opts
	dst := append([]byte(nil), "CONNECTED\n"...)
	dst = stomp.AppendRawHeader(dst, headerVersion, version.String())
	dst = stomp.AppendRawHeader(dst, headerSession, s.name())
	if !o.HideServer {
		dst = stomp.AppendRawHeader(dst, headerServer, strings.TrimSuffix("Baton/"+o.Version, "/"))
	}
	for _, h := range s.server.connectedHeaders() {
		dst = stomp.AppendRawHeader(dst, h.Name, h.Value)
	}
	if s.heartBeatHeader != "" {
		dst = stomp.AppendRawHeader(dst, headerHeartBeat, s.heartBeatHeader)
	}
	if receipt, ok := f.Header(headerReceipt); ok {
		dst = stomp.AppendRawHeader(dst, headerReceiptID, receipt)
	}
	return string(append(dst, '\n', 0))
}

// connectedHeaders are those that the owner of the broker adds to CONNECTED.
func (s *Server) connectedHeaders() []Header {
	if s.opts.Connected == nil {
		return nil
	}
	return s.opts.Connected()
}

// name is what the header session says.
func (s *session) name() string {
	return s.server.name + s.mark
}

// negotiate chooses the best version that the client accepts (STOMP 1.2,
// "Protocol Negotiation"). A client that names none speaks 1.0.
func negotiate(f *stomp.Frame) (stomp.Version, error) {
	accept, ok := f.Header(headerAcceptVersion)
	if !ok {
		return stomp.V10, nil
	}
	offered := strings.Split(string(accept), ",")
	for _, v := range versions {
		for _, o := range offered {
			if strings.TrimSpace(o) == v.String() {
				return v, nil
			}
		}
	}
	err := refuse(codeVersion, "none of the versions in accept-version is spoken here: 1.0, 1.1 and 1.2 are")
	err.headers = map[string]string{headerVersion: "1.0,1.1,1.2"}
	return 0, err
}

// maxHeartBeat bounds the intervals that clients name. It is sent more often
// than a client asks for rather than less.
const maxHeartBeat = 10 * time.Minute

// agreeHeartBeats sets how often this side writes and how long it waits for
// the other (STOMP 1.2, "Heart-beating").
//
// A client that asks for heart-beats is never answered "0,": go-stomp takes any heart-beat header as a promise
// and drops an idle connection when it is not kept, if it asked for one.
func (s *session) agreeHeartBeats(f *stomp.Frame) error {
	header, ok := f.Header(headerHeartBeat)
	if !ok {
		return nil
	}
	can, wants, ok := parseHeartBeat(string(header))
	if !ok {
		return refuse(codeHeader, "the heart-beat header must be two numbers of milliseconds with a comma between them")
	}
	o := s.server.opts.HeartBeat
	var send, receive time.Duration // what the answer says
	if wants > 0 {
		send = o.Send
	}
	if can > 0 {
		receive = o.Receive
	}
	if send == 0 && (wants > 0 || receive == 0) {
		return nil // nothing can be promised, or there is nothing to say
	}
	if send > 0 {
		s.beatEvery = max(min(wants, maxHeartBeat), send)
	}
	if receive > 0 {
		s.beatWithin = time.Duration(o.Grace * float64(max(can, receive)))
	}
	s.heartBeatHeader = strconv.FormatInt(send.Milliseconds(), 10) + "," + strconv.FormatInt(receive.Milliseconds(), 10)
	return nil
}

// parseHeartBeat reads "<can>,<wants>" in milliseconds. Numbers that make no
// sense as times, of more than 18 digits, are refused like words.
func parseHeartBeat(s string) (can, wants time.Duration, ok bool) {
	first, second, found := strings.Cut(s, ",")
	a, okA := parseMillis(first)
	b, okB := parseMillis(second)
	return a, b, found && okA && okB
}

func parseMillis(s string) (time.Duration, bool) {
	n, ok := parseNumber(s)
	return min(time.Duration(min(n, 1<<40))*time.Millisecond, 24*time.Hour), ok
}

// parseNumber reads decimal digits and nothing else.
func parseNumber(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
