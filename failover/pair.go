package failover

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"baton/journal"
)

const (
	pairName     = PairFile
	pairNewName  = "pair.tmp"
	pairFormat   = 1
	maxPairBytes = 1 << 18 // a lineage of MaxLineage entries takes a quarter of it
)

// PairFile is the file in the data directory of a node of a pair in which it remembers that it is one.
const PairFile = "pair"

// Paired says whether a data directory is that of a node of a pair.
func Paired(data string) (bool, error) {
	_, err := os.Stat(filepath.Join(data, PairFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// A Pair is what a node remembers of the pair beside its journal, in the file DATA/pair. The zero value is a node that
// never was a member of one. What an earlier build did not write is zero, and what a later one adds is passed over.
type Pair struct {
	Cluster  ID     `json:"cluster"` // zero: this node never was a member
	Node     string `json:"node"`    // this node's name
	Journal  ID     `json:"journal"` // that all this is about: with another one, the node is nobody
	Promised uint32 `json:"promised"`
	RegRev   uint64 `json:"reg_rev"` // the newest revision of the register, of epoch Promised, with a change of roles
	// Surplus are the names of the directories of what was cut off and never acknowledged, the oldest first.
	Surplus []string `json:"surplus,omitempty"`
	// Overruled is that of the Record with which this node became a master last.
	Overruled uint32 `json:"overruled,omitempty"`
	// Alone says that this node, as a master, is or was alone in sync: nobody else may have what it acknowledged then. It is false
	// once another node has all of that.
	Alone bool `json:"alone,omitempty"`
	// Lineage is that of the journal. As a standby, the node holds a beginning of that of its master.
	Lineage Lineage `json:"lineage"`
	// Incoming is the journal that was received and is taking the place of this one; nil: none.
	Incoming *Incoming `json:"incoming,omitempty"`
}

// An Incoming is a whole journal that was received (DATA/journal.new).
type Incoming struct {
	Journal ID      `json:"journal"`
	Cluster ID      `json:"cluster"`
	Lineage Lineage `json:"lineage"`
	Aside   string  `json:"aside"` // the name under which the old journal is kept; empty: it is removed
}

// Member says whether the node was ever a member of a pair.
func (p Pair) Member() bool { return p.Cluster != ID{} }

// LoadPair reads DATA/pair. found is false when there is none; a file that is damaged, that is of a newer version, or that
// another node has written is an error, and never taken for none. fsys nil means the file system of the machine.
func LoadPair(fsys journal.FS, data, node string) (p Pair, found bool, err error) {
	name := filepath.Join(data, pairName)
	b, err := readFile(orOS(fsys), name, maxPairBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Pair{Node: node}, false, nil
	}
	if err == nil {
		p, err = parsePair(b)
	}
	if err == nil && p.Node != node {
		err = fmt.Errorf("it was written by the node %q, this is %q: the data directory belongs to the other one, or failover.node has changed", p.Node, node)
	}
	if err != nil {
		return Pair{}, true, fmt.Errorf("read %s: %w", name, err)
	}
	return p, true, nil
}

// Store writes DATA/pair durably: after a crash there is this one or the one before. fsys nil means the file system of the
// machine.
func (p *Pair) Store(fsys journal.FS, data string) error {
	fsys = orOS(fsys)
	b, err := p.encode()
	if err == nil {
		err = replaceFile(fsys, data, pairNewName, pairName, b)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(data, pairName), err)
	}
	return nil
}

// encode is a line that says what the file is, its checksum and its size, and then JSON.
func (p *Pair) encode() ([]byte, error) {
	body, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return append(fmt.Appendf(nil, "baton pair %d %08x %d\n", pairFormat, crc32.Checksum(body, castagnoli), len(body)), body...), nil
}

func parsePair(b []byte) (p Pair, err error) {
	line, body, _ := strings.Cut(string(b), "\n")
	var format, size int
	var sum uint32
	if n, _ := fmt.Sscanf(line, "baton pair %d", &format); n != 1 {
		return p, errors.New("it is damaged: its first line is not that of a pair")
	}
	if format != pairFormat {
		return p, fmt.Errorf("it has format %d, this version reads %d", format, pairFormat)
	}
	if n, _ := fmt.Sscanf(line, "baton pair %d %x %d", &format, &sum, &size); n != 3 || len(body) != size ||
		crc32.Checksum([]byte(body), castagnoli) != sum {
		return p, errors.New("it is damaged: its checksum does not match")
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		return p, err
	}
	if p.Incoming != nil {
		err = p.Incoming.Lineage.check()
	}
	return p, errors.Join(p.Lineage.check(), err)
}

// replaceFile writes a file aside, durably, and then gives it its name.
func replaceFile(fsys journal.FS, dir, aside, name string, content []byte) error {
	aside = filepath.Join(dir, aside)
	file, err := fsys.Create(aside)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt(content, 0); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(aside, filepath.Join(dir, name)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// readFile reads a file of at most limit octets.
func readFile(fsys journal.FS, name string, limit int64) ([]byte, error) {
	file, err := fsys.Open(name, false)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("it has %d octets, the most is %d", size, limit)
	}
	b := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(file, 0, size), b)
	return b, err
}

func orOS(fsys journal.FS) journal.FS {
	if fsys == nil {
		return journal.OS{}
	}
	return fsys
}
