package history

const priorities = 10

// ranking is what a queue has ready, by priority, as far as the clients can know.
type ranking struct {
	waiting [priorities]int // promised and never delivered
	// chosen is the highest priority that was waiting when a client last gave credit back: what it is given next can have no
	// lower one. By client, who need not have given any.
	chosen map[uint32]int
}

func (c *checker) ranking(queue uint32) *ranking {
	r := c.rankings[queue]
	if r == nil {
		r = &ranking{chosen: map[uint32]int{}}
		c.rankings[queue] = r
	}
	return r
}

// wait takes note of a message that its receipt has promised.
func (c *checker) wait(op Op) {
	if m := c.at(op.Message); m != nil && !m.again && !m.waits && !m.delayed && m.group == 0 {
		m.waits = true
		c.ranking(m.queue).waiting[m.priority]++
	}
}

// credit takes note that a client can be given the next message.
func (c *checker) credit(op Op, m *message) {
	r := c.ranking(m.queue)
	r.chosen[op.Client] = r.highest()
}

// highest is the highest priority that waits, or -1.
func (r *ranking) highest() int {
	for p := priorities - 1; p >= 0; p-- {
		if r.waiting[p] > 0 {
			return p
		}
	}
	return -1
}

func (c *checker) checkPriority(op Op, m *message) {
	r := c.ranking(m.queue)
	if chosen, ok := r.chosen[op.Client]; ok && int(m.priority) < chosen {
		c.report.add(PriorityInversion, "%v of priority %d, while one of %d was ready", op, m.priority, chosen)
	}
	delete(r.chosen, op.Client)
	if m.waits {
		m.waits = false
		r.waiting[m.priority]--
	}
}
