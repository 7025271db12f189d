package broker

import (
	"slices"
	"strings"

	"baton/broker/stomp"
	"baton/destinations"
)

const maxRetroactiveMessages = 100_000_000

// retroactive reads which kept messages of its topics a subscription to
// destination, as the client wrote it, gets; nil: none. On a queue,
// retroactive:true says what is so anyway.
func retroactive(f *stomp.Frame, destination string) (*destinations.Retroactive, error) {
	asked, err := anyTruth(f, headerRetroactive, headerActiveMQRetroactive)
	if err != nil {
		return nil, err
	}
	messages, err := count(f, headerRetroactiveMessages, maxRetroactiveMessages)
	if err != nil {
		return nil, err
	}
	since, err := count(f, headerRetroactiveSince, maxMoment)
	if err != nil {
		return nil, err
	}
	isTopic := slices.ContainsFunc(strings.Split(destination, ","), topical)
	for _, name := range []string{headerRetroactiveMessages, headerRetroactiveSince} {
		if _, ok := f.Header(name); ok && !isTopic {
			return nil, refuse(codeHeader, "the header %s is for topics: a queue gives all that it has to whoever consumes it", name)
		} else if no := refused(f); ok && no != "" {
			return nil, refuse(codeHeader, "the headers %s:false and %s contradict each other", no, name)
		}
	}
	if !isTopic || !asked && messages == 0 && since == 0 {
		return nil, nil
	}
	return &destinations.Retroactive{Messages: int(messages), Since: since}, nil
}

// refused is the header that says that a subscription is not retroactive, empty if
// there is none.
func refused(f *stomp.Frame) string {
	for _, name := range []string{headerRetroactive, headerActiveMQRetroactive} {
		if v, _ := f.Header(name); string(v) == "false" {
			return name
		}
	}
	return ""
}

// topical says that a destination is a topic, by its prefix.
func topical(destination string) bool {
	return strings.HasPrefix(destination, "/topic/") || strings.HasPrefix(destination, "/temp-topic/")
}
