package failover

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	recordVersion  = 1
	maxRecordBytes = 1024
	maxNameBytes   = 64
	maxMembers     = 8
)

// ID is the identity of a journal (journal.Journal.ID), or of a pair: that of its first master's journal. As text it is
// 32 hexadecimal digits.
type ID [16]byte

// String is the id as text.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is [ID.String].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(id) || len(text)%2 != 0 {
		return fmt.Errorf("%q is no id: want %d hexadecimal digits", text, hex.EncodedLen(len(id)))
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		return fmt.Errorf("%q is no id: %w", text, err)
	}
	return nil
}

// Member is a node whose journal, this one and no other, holds everything that was acknowledged (S2).
type Member struct {
	Node      string `json:"node"`
	JournalID ID     `json:"journalID"`
}

// Record is the value of the register.
type Record struct {
	Cluster ID       `json:"cluster"`
	Epoch   uint32   `json:"epoch"`  // of the newest activation; from 1
	Master  string   `json:"master"` // the node that may activate, or has, in Epoch; one of InSync
	InSync  []Member `json:"insync"` // who may take over; no node twice
	Nonce   string   `json:"nonce"`  // tells this change from all others
	MinSeq  uint64   `json:"minSeq"` // a journal that ends before it has lost something (R4)
	Forced  bool     `json:"forced"` // an operator accepted loss (R11)
	// Overruled is the newest epoch that an operator had begin, whoever was in sync (R9, R11); 0: there is none. What was
	// acknowledged before it may be lost.
	Overruled uint32    `json:"overruled,omitempty"`
	By        string    `json:"by"` // who wrote it: a node, or an operator at one
	At        time.Time `json:"at"` // when, by the clock of that node; for people
}

// versioned is a Record as it is written. A later build may add keys without another version: they can be left out, and whoever
// does not know them passes over them, and drops them with the next record.
type versioned struct {
	Version int `json:"version"`
	Record
}

// Member returns the entry of a node, and whether it is in sync.
func (r Record) Member(node string) (Member, bool) {
	i := slices.IndexFunc(r.InSync, func(m Member) bool { return m.Node == node })
	if i < 0 {
		return Member{}, false
	}
	return r.InSync[i], true
}

// other returns the member that is not this node; zero when there is none.
func (r Record) other(node string) Member {
	i := slices.IndexFunc(r.InSync, func(m Member) bool { return m.Node != node })
	if i < 0 {
		return Member{}
	}
	return r.InSync[i]
}

// Lists says that this node is in sync with this journal.
func (r Record) Lists(m Member) bool { return slices.Contains(r.InSync, m) }

// Equal says that both are the same record.
func (r Record) Equal(other Record) bool {
	return r.Cluster == other.Cluster && r.Epoch == other.Epoch && r.Master == other.Master &&
		slices.Equal(r.InSync, other.InSync) && r.Nonce == other.Nonce && r.MinSeq == other.MinSeq &&
		r.Forced == other.Forced && r.Overruled == other.Overruled && r.By == other.By && r.At.Equal(other.At)
}

// Encode writes the record as JSON, at most 1 KiB. The time is cut to milliseconds. The error says what in the record is
// not as it must be.
func (r Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	r.At = r.At.UTC().Truncate(time.Millisecond)
	text, err := json.Marshal(versioned{recordVersion, r})
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if len(text) > maxRecordBytes {
		return nil, fmt.Errorf("record of %d bytes: want at most %d", len(text), maxRecordBytes)
	}
	return text, nil
}

// DecodeRecord reads what [Record.Encode] of this build writes, or of another one of the same version. What the text does not
// say is zero, and must not be where a record needs it. Errors wrap [ErrRecord].
func DecodeRecord(text []byte) (Record, error) {
	r, err := decodeRecord(text)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return r, nil
}

func decodeRecord(text []byte) (Record, error) {
	if len(text) > maxRecordBytes {
		return Record{}, fmt.Errorf("%d bytes, want at most %d", len(text), maxRecordBytes)
	}
	// The version alone comes first: what else a later version holds is not known here.
	var version struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return Record{}, err
	}
	if version.Version == nil {
		return Record{}, errors.New("it has no version")
	}
	if *version.Version != recordVersion {
		return Record{}, fmt.Errorf("version %d, this is a Baton that knows version %d alone", *version.Version, recordVersion)
	}
	return decodeCurrent(text)
}

func decodeCurrent(text []byte) (Record, error) {
	var v versioned
	if err := json.Unmarshal(text, &v); err != nil {
		return Record{}, err
	}
	_, err := v.Record.Encode() // the next one is made of it
	return v.Record, err
}

// check finds what no record may be.
func (r Record) check() error {
	switch {
	case r.Cluster == ID{}:
		return errors.New("cluster is empty")
	case r.Epoch == 0:
		return errors.New("epoch is 0")
	case len(r.InSync) == 0 || len(r.InSync) > maxMembers:
		return fmt.Errorf("insync has %d members, want 1 to %d", len(r.InSync), maxMembers)
	case r.At.IsZero() || r.At.Year() < 0 || r.At.Year() > 9999:
		return fmt.Errorf("at is %v, which is no time", r.At)
	}
	for _, name := range []struct{ key, value string }{{"master", r.Master}, {"nonce", r.Nonce}, {"by", r.By}} {
		if err := checkName(name.key, name.value); err != nil {
			return err
		}
	}
	for i, m := range r.InSync {
		if err := checkName("insync: node", m.Node); err != nil {
			return err
		}
		if m.JournalID == (ID{}) {
			return fmt.Errorf("insync: node %s has no journalID", m.Node)
		}
		if _, twice := (Record{InSync: r.InSync[:i]}).Member(m.Node); twice {
			return fmt.Errorf("insync: node %s is there twice", m.Node)
		}
	}
	if _, ok := r.Member(r.Master); !ok {
		return fmt.Errorf("master %s is not in insync", r.Master)
	}
	return nil
}

// checkName wants 1 to 64 visible ASCII characters.
func checkName(key, value string) error {
	if value == "" || len(value) > maxNameBytes {
		return fmt.Errorf("%s has %d bytes, want 1 to %d", key, len(value), maxNameBytes)
	}
	for _, c := range []byte(value) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("%s is %q: want visible ASCII characters alone", key, value)
		}
	}
	return nil
}
