package history

// groupName names a message group: groups of two queues are two.
type groupName struct{ queue, group uint32 }

// group is who holds what of a message group: what was delivered and not acknowledged since.
type group struct {
	held map[ID]uint32 // by which client; nobody: it was given back
}

const nobody = 0 // no client has this number

// groupOf is the group of a message, or nil when it is in none.
func (c *checker) groupOf(m *message) *group {
	if m.group == 0 {
		return nil
	}
	name := groupName{m.queue, m.group}
	g := c.groups[name]
	if g == nil {
		g = &group{held: map[ID]uint32{}}
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
	for id, client := range g.held {
		switch {
		case client == nobody && id.Producer == op.Message.Producer && id.N < op.Message.N:
			c.report.add(GroupInversion, "%v, before %v, which had been given back", op, id)
		case client != nobody && client != op.Client:
			c.report.add(TwoOwners, "%v, while client %d held %v", op, client, id)
		}
	}
	g.held[op.Message] = op.Client
}

func (g *group) settle(id ID) {
	if g != nil {
		delete(g.held, id)
	}
}

// giveBack takes note of a NACK.
func (c *checker) giveBack(op Op) {
	m := c.at(op.Message)
	if m == nil {
		return // already reported as unexpected when it was delivered
	}
	c.credit(op, m)
	if g := c.groupOf(m); g != nil {
		g.held[op.Message] = nobody
	}
}

// leave gives back all that a client holds.
func (c *checker) leave(client uint32) {
	for _, g := range c.groups {
		for id, holder := range g.held {
			if holder == client {
				g.held[id] = nobody
			}
		}
	}
}
