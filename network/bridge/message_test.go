package bridge

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-stomp/stomp/v3/frame"
)

func TestSend(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 600)
	for _, tc := range []struct {
		name           string
		source, target string // servers
		options        Options
		message        []string
		want           []string // headers beside destination and receipt
	}{
		{
			name: "what belongs to the message is copied", source: "ActiveMQ/5.17.2",
			message: []string{"message-id", "ID:1", "subscription", "s", "ack", "a", "destination", "/queue/a", "redelivered", "true", "content-length", "1",
				"expires", "0", "priority", "7", "correlation-id", "c", "reply-to", "/queue/r", "type", "t", "JMSXGroupID", "g", "timestamp", "5",
				"content-type", "text/plain", "persistent", "true", "x-own", "1", "x-own", "2", "JMSXDeliveryCount", "2", "x-broker-a", "b"},
			want: []string{"expires:0", "priority:7", "correlation-id:c", "reply-to:/queue/r", "type:t", "JMSXGroupID:g", "timestamp:5",
				"content-type:text/plain", "x-own:1", "persistent:true", "deduplication-id:b/ID:1", "content-length:1"},
		},
		{
			name: "what RabbitMQ gives back of a SEND is not asked again", source: "RabbitMQ/3.10.8",
			message: []string{"message-id", "T_s@@session-x@@1", "destination", "/queue/a", "receipt", "r", "transaction", "t", "content-length", "1"},
			want:    []string{"persistent:false", "content-length:1"},
		},
		{
			name: "a header that RabbitMQ's producers name messages by", source: "RabbitMQ/3.10.8", options: Options{IDHeader: "amqp-message-id"},
			message: []string{"message-id", "T_s@@session-x@@1", "destination", "/queue/a", "amqp-message-id", "m"},
			want:    []string{"amqp-message-id:m", "persistent:false", "deduplication-id:b/m"},
		},
		{
			name: "an id of the producer is kept", source: "Baton/1", target: "ActiveMQ-Artemis/2.28.0 ActiveMQ Artemis Messaging Engine",
			message: []string{"message-id", "1", "destination", "/queue/a", "deduplication-id", "own"},
			want:    []string{"deduplication-id:own", "persistent:true", "_AMQ_DUPL_ID:own"},
		},
		{
			name: "copies of one message in several queues are several", source: "ActiveMQ/5.17.2",
			message: []string{"message-id", "ID:1", "destination", "/queue/a.b", "persistent", "true"},
			want:    []string{"persistent:true", "deduplication-id:b/ID:1@/queue/a.b"},
		},
		{
			name:    "names and leaving out",
			options: Options{Headers: []Rename{{"x-old", "x-new"}, {"x-secret", ""}, {"message-id", "x-id"}}},
			message: []string{"message-id", "1", "destination", "/queue/a", "x-old", "v", "x-secret", "v"},
			want:    []string{"x-id:1", "x-new:v", "persistent:true", "deduplication-id:b/1"},
		},
		{
			name: "text is a TextMessage at ActiveMQ", source: "Baton/1", target: "ActiveMQ/5.17.2",
			message: []string{"message-id", "1", "destination", "/queue/a", "content-type", "text/plain;charset=utf-8", "content-length", "1"},
			want:    []string{"content-type:text/plain;charset=utf-8", "persistent:true", "deduplication-id:b/1"},
		},
		{
			name: "what was late is not late again, and nobody answers to a connection of another broker", source: "Baton/1",
			message: []string{"message-id", "1", "destination", "/queue/a", "AMQ_SCHEDULED_DELAY", "1000", "x-delay", "1000", "reply-to", "/remote-temp-queue/x",
				"create", "false", "min-copies", "2", "persistent", "false"},
			want: []string{"persistent:false", "deduplication-id:b/1"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := tc.options
			o.Name, o.Source.Destination, o.Target.Destination = "b", "/queue/a", "/queue/there"
			tr := newTranslator(&o, tc.source, tc.target)
			m := frame.New(frame.MESSAGE, tc.message...)
			m.Body = []byte("x")
			f := tr.send(m, tr.name(m), "7", false)
			var got []string
			for i := range f.Header.Len() {
				name, value := f.Header.GetAt(i)
				got = append(got, name+":"+value)
			}
			want := append([]string{"destination:/queue/there", "receipt:7"}, tc.want...)
			if f.Command != frame.SEND || string(f.Body) != "x" || !slices.Equal(got, want) {
				t.Errorf("got\n%s %q\nwant\n%s", got, f.Body, want)
			}
			if again := tr.send(m, tr.name(m), "7", true); again.Header.Get(headerAgain) != "true" {
				t.Errorf("one that may have been sent before is not marked")
			}
		})
	}
	o := Options{Name: "b"}
	f := frame.New(frame.SEND)
	newTranslator(&o, "", "").identify(f, long)
	if id := f.Header.Get(headerDedup); len(id) > maxIDBytes || id == "" {
		t.Errorf("of a long id came %q", id)
	}
}

func TestMemoryForgetsTheOldest(t *testing.T) {
	t.Parallel()
	m := newMemory(2)
	for _, name := range []string{"", "a", "b", "b", "c"} {
		m.add(name)
	}
	if m.has("") || m.has("a") || !m.has("b") || !m.has("c") || len(m.names) != 2 {
		t.Errorf("remembered: %v", m.names)
	}
}
