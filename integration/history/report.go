package history

import (
	"fmt"
	"strings"
)

// Finding is something that a Report counts. All but Recovered and DupFlagged are violations.
type Finding uint8

const (
	LostPrefix        Finding = iota // promised and never settled; before the producer's first message that was delivered
	LostMiddle                       // promised and never settled; between two that were delivered
	LostPostfix                      // promised and never settled; after the producer's last message that was delivered
	Unexpected                       // delivered, never sent
	Recovered                        // legal: no receipt, delivered all the same
	DupFlagged                       // legal: delivered again, with redelivered:true
	DupUnflagged                     // delivered again without redelivered:true
	Resurrected                      // delivered after its acknowledgement was receipted
	AbortedVisible                   // delivered, although its transaction was never committed
	TornTx                           // a transaction of which only a part took effect
	Phantom                          // delivered without a promise, never settled, and gone
	OrderInversion                   // one client got an earlier message of a producer's queue after a later one, both new
	Altered                          // delivered with another body or on another queue than it was sent
	Early                            // delivered before its time
	Doubled                          // delivered under two names: the broker holds it twice
	CountFell                        // delivered again with a count that is not above that of a NACK with a receipt
	TwoOwners                        // delivered to one client while another held a message of its group
	GroupInversion                   // delivered while an earlier message of its group, given back, was not
	PriorityInversion                // delivered while one of higher priority was ready
	NotEmptyAtEnd                    // left in a queue after the drain
	findings
)

var findingNames = [findings]string{
	"lost-prefix", "lost-middle", "lost-postfix", "unexpected", "recovered", "dup-flagged", "dup-unflagged", "resurrected",
	"aborted-visible", "torn-tx", "phantom", "order-inversion", "altered", "early", "doubled",
	"count-fell", "two-owners", "group-inversion", "priority-inversion", "not-empty-at-end",
}

func (f Finding) String() string { return findingNames[f] }

// Legal says whether a valid history may hold the finding.
func (f Finding) Legal() bool { return f == Recovered || f == DupFlagged }

// maxExamples keeps the report of a history of millions of violations readable.
const maxExamples = 5

// Report is the judgement over a history.
type Report struct {
	Messages   int // distinct messages sent
	Promised   int // of these with a RECEIPT, their own or their transaction's
	Deliveries int // MESSAGE frames seen

	counts   [findings]int
	examples [findings][]string
}

func (r *Report) add(f Finding, format string, args ...any) {
	r.counts[f]++
	if len(r.examples[f]) < maxExamples && !f.Legal() {
		r.examples[f] = append(r.examples[f], fmt.Sprintf(format, args...))
	}
}

// Count is how often f was found.
func (r *Report) Count(f Finding) int { return r.counts[f] }

// Valid is true when nothing illegal was found.
func (r *Report) Valid() bool {
	for f := range findings {
		if r.counts[f] > 0 && !f.Legal() {
			return false
		}
	}
	return true
}

// String lists what was found, one finding a line, violations with their first few examples.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages sent, %d promised, %d deliveries", r.Messages, r.Promised, r.Deliveries)
	for f := range findings {
		if r.counts[f] == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s: %d", f, r.counts[f])
		for _, example := range r.examples[f] {
			fmt.Fprintf(&b, "\n  %s", example)
		}
	}
	return b.String()
}
