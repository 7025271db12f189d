package history

// groupName names a message group: groups of two queues are two.
type groupName struct{ queue, group uint32 }

// group is where those messages of a message group are that were delivered and not acknowledged since.
type group struct{ out map[ID]holding }

// holding is the last delivery of a message.
type holding struct {
	client uint32
	count  uint32
	state  state
}

type state uint8

const (
	held    state = iota
	refused       // a NACK was written: messages that were under way then still come
	back          // nobody has it
)

// groupOf is the group of a message, or nil when it is in none.
func (c *checker) groupOf(m *message) *group {
	if m.group == 0 {
		return nil
	}
	name := groupName{m.queue, m.group}
	g := c.groups[name]
	if g == nil {
		g = &group{out: map[ID]holding{}}
		c.groups[name] = g
	}
	return g
}

// checkGroup holds a delivery to the two promises of a group: one client has its messages at a time, and they come in order,
// also those that come again.
func (c *checker) checkGroup(op Op, m *message) {
	g := c.groupOf(m)
	if g == nil {
		return
	}
	for id, h := range g.out {
		switch {
		case h.state == back && id.Producer == op.Message.Producer && id.N < op.Message.N:
			c.report.add(GroupInversion, "%v, before %v, which had been given back", op, id)
		case h.state == held && h.client != op.Client:
			c.report.add(TwoOwners, "%v, while client %d held %v", op, h.client, id)
		}
	}
	g.out[op.Message] = holding{client: op.Client, count: op.Count}
}

func (g *group) settle(id ID) {
	if g != nil {
		delete(g.out, id)
	}
}

// refuse takes note of a NACK.
func (g *group) refuse(op Op) {
	if g != nil {
		g.out[op.Message] = holding{client: op.Client, count: op.Count, state: refused}
	}
}

// giveBack takes note of the receipt of a NACK: what comes after it was chosen after it.
func (g *group) giveBack(op Op) {
	if g == nil {
		return
	}
	if h := g.out[op.Message]; h.state == refused && h.count == op.Count {
		h.state = back
		g.out[op.Message] = h
	}
}

// leave gives back all that a client holds.
func (g *group) leave(client uint32) {
	for id, h := range g.out {
		if h.client == client {
			h.state = back
			g.out[id] = h
		}
	}
}
