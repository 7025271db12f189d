package integration

import "fmt"

// grouped messages have one owner at a time, and each group comes in order, also when its owner changes.
var grouped = feature{"groups", []func(worker) error{
	worker.sendGroups,
	func(w worker) error { return w.individual(queueGrouped) },
	func(w worker) error { return w.individual(queueGrouped) },
	func(w worker) error { return w.erratic(queueGrouped) },
}}

const groups = 12

func (w worker) sendGroups() error {
	return w.produce(func(p *producing) error {
		if w.rng.IntN(20) == 0 {
			return p.transaction(p.sendGrouped)
		}
		return p.sendGrouped(0)
	})
}

func (p *producing) sendGrouped(tx uint32) error {
	group := 1 + p.rng.Uint32N(groups)
	return p.send(sending{
		producer: grouper, places: []uint32{queueGrouped}, tx: tx, group: group,
		headers: []string{"JMSXGroupID", fmt.Sprint("group-", group)},
	})
}
