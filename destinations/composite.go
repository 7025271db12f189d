package destinations

import "strings"

// maxParts bounds the destinations of a composite one.
const maxParts = 16

// ParseAll reads one destination, or a composite one: up to 16 of what Parse
// reads, with commas between them, as in "/queue/a,/topic/b". One that is there
// twice counts once.
func (n Names) ParseAll(s string) ([]Destination, error) {
	if !strings.Contains(s, ",") {
		d, err := n.Parse(s)
		return []Destination{d}, err
	}
	if parts := 1 + strings.Count(s, ","); parts > maxParts {
		return nil, destinationError("the composite destination has %d parts; at most %d are allowed", parts, maxParts)
	}
	var all []Destination
	seen := map[Destination]bool{}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, emptyPart(s)
		}
		d, err := n.Parse(part)
		if err != nil {
			return nil, err
		}
		if !seen[d] {
			seen[d] = true
			all = append(all, d)
		}
	}
	return all, nil
}

func emptyPart(s string) error {
	return destinationError("of the destinations %s, one between commas is empty", quote(s))
}
