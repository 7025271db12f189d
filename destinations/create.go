package destinations

import "fmt"

// there says whether d exists: a queue as long as something is in it or somebody
// consumes it, a topic as long as somebody subscribes to it, here or durably.
func (m *Machine) there(d Destination) bool {
	if !d.Topic {
		return m.find(d.Name) != nil
	}
	heard := m.topics[d.Name] != nil
	m.watchers.each(d, func(*subscription) { heard = true })
	m.durables.each(d.Name, func(*durable) { heard = true })
	return heard
}

// mayCreate checks that d is there or may be made. existing says that the
// client does not want it made. A temporary destination is its owner's affair, and
// those of reports are always there.
func (m *Machine) mayCreate(d Destination, existing bool) error {
	if !existing && !m.policies.closed || d.Temporary() || d.reports() || m.there(d) {
		return nil
	}
	switch {
	case existing:
		return &Error{Code: CodeNoDestination, Text: fmt.Sprintf("%s does not exist, and the frame says not to create it", quote(d.String()))}
	case !m.policies.of(d).AutoCreate:
		return &Error{Code: CodeNoDestination, Text: fmt.Sprintf("%s does not exist, and its policy says that clients do not create it (auto_create)", quote(d.String()))}
	}
	return nil
}

// mayCreateAll checks that of all parts of o, unless it was sent before.
func (m *Machine) mayCreateAll(o *Outgoing) error {
	if o.Forwarded || !o.Existing && !m.policies.closed {
		return nil // what another broker accepted was made there
	}
	for i := range o.parts() {
		if err := m.mayCreate(o.part(i), o.Existing); err != nil && !m.seen(o) {
			return err
		}
	}
	return nil
}

// seen says whether o was sent before, as far as it can be told.
func (m *Machine) seen(o *Outgoing) bool {
	return m.dedupID(o) != "" && m.duplicate(m.routed(o))
}

// maySubscribe checks that of what a SUBSCRIBE takes from. A wildcard creates
// nothing, but of virtual topics, and neither does a browser.
func (m *Machine) maySubscribe(c *Command) error {
	if len(c.more().Sources) == 0 && (c.Existing || !c.consumer().Browse) {
		return m.mayCreate(c.Destination, c.Existing)
	}
	for _, p := range c.more().Sources {
		if p.Wild() && !p.named.virtual() {
			continue
		}
		if err := m.mayCreate(p.named, c.Existing); err != nil {
			return err
		}
	}
	return nil
}
