package failover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"baton/journal"
)

// What is in the directory of a node, beside the file pair.
const (
	journalName  = "journal"
	receivedName = "journal.sync" // a snapshot that is being received; worth nothing before it is whole
	incomingName = "journal.new"  // a whole one, that takes the place of journal: see Incoming
	// What was moved aside: what may have been acknowledged stays there for ever, what never was for a while.
	divergentPrefix = "divergent-"
	surplusPrefix   = "surplus-"
)

// keptSurplus is how many directories of what was never acknowledged are kept, the newest.
const keptSurplus = 3

// ErrDiverged is wrapped when the journals of the two nodes differ where they should not.
var ErrDiverged = errors.New("the journals of the two nodes differ")

// asideName is a name for what is moved aside of a journal that ends there.
func (l *Log) asideName(prefix string, end journal.Position) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s%d-%d", prefix, end.Epoch, end.Seq)
		if n > 1 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		vacant, err := journal.Vacant(l.fs, l.path(name))
		if err == nil && vacant { // but for what a crash has left of it, whose place no rename takes
			err = removeDir(l.fs, l.path(name))
		}
		if err != nil || vacant {
			return name, err
		}
	}
}

// divergent are the names of what was moved aside in a data directory and may have been acknowledged.
func divergent(data string) (names []string) {
	entries, _ := os.ReadDir(data) // one that cannot be read has told of that elsewhere
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), divergentPrefix) {
			continue
		}
		// What a crash has left of one that was being written is not the only copy.
		if vacant, err := journal.Vacant(nil, filepath.Join(data, e.Name())); err != nil || !vacant {
			names = append(names, e.Name())
		}
	}
	return names
}

// asideFor is a name for what is cut off a journal that ends there. That of surplus is remembered.
func (l *Log) asideFor(end journal.Position, surplus bool) (string, error) {
	if !surplus {
		return l.asideName(divergentPrefix, end)
	}
	name, err := l.asideName(surplusPrefix, end)
	if err != nil {
		return "", err
	}
	names := append(l.surplus(), name)
	return name, l.Remember(func(p *Pair) { p.Surplus = names })
}

// forgetSurplus removes the oldest of what was never acknowledged when there is too much of it.
func (l *Log) forgetSurplus() {
	for names := l.surplus(); len(names) > keptSurplus; names = names[1:] {
		if err := removeDir(l.fs, l.path(names[0])); err != nil {
			l.logger.Warn("what was never acknowledged cannot be removed", zap.String("directory", names[0]), zap.Error(err))
		}
	}
}

// surplus are the names of what is kept, and was never acknowledged.
func (l *Log) surplus() []string {
	return slices.DeleteFunc(slices.Clone(l.Pair().Surplus), func(name string) bool {
		there, err := occupied(l.fs, l.path(name))
		return err == nil && !there // somebody has removed it
	})
}

// cut removes what the journal has after a position, and keeps it aside: as surplus when the master knows that it was never
// acknowledged, and this node does not know better. It asks agree first, when nothing changes the journal any more and OnDurable has
// told of all that is in it; an error leaves it as it is.
func (l *Log) cut(at journal.Position, surplus bool, agree func() error) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	if err := l.Flush(context.Background()); err != nil {
		return err
	}
	resume := l.opt.Rest()
	defer resume()
	j := l.j()
	if have, err := j.PositionAt(at.Seq); err != nil || have != at {
		l.Resync()
		return fmt.Errorf("cut the journal after seq %d: %w: chain %08x of epoch %d there, %08x of epoch %d here (%v)",
			at.Seq, ErrDiverged, at.Chain, at.Epoch, have.Chain, have.Epoch, err)
	}
	aside, err := l.asideFor(j.End(), surplus && !l.mayHaveCommitted(at.Seq))
	if err != nil {
		return err
	}
	if err := j.Close(); err != nil {
		return l.fatal(err)
	}
	disagreed, refused := agree(), error(nil)
	if disagreed == nil {
		_, refused = journal.Cut(l.fs, l.path(journalName), at.Seq, l.path(aside))
	}
	if err := l.reopen(at.Seq); err != nil {
		return l.fatal(errors.Join(refused, err))
	}
	if refused != nil { // and nothing is changed
		l.Resync()
	}
	if err := errors.Join(disagreed, refused); err != nil {
		return err
	}
	l.forgetSurplus()
	return nil
}

// mayHaveCommitted says whether this node was ever told that something after a Seq is committed, as far as it remembers: the
// other one may be wrong about that where the register, or its disk, is not what it was (A1, A4).
func (l *Log) mayHaveCommitted(after uint64) bool {
	_, known, _, ok := l.Checkpoint()
	return l.Pair().Alone || l.Committed() > after || ok && known > after
}

// fatal is for a disk that has failed: nothing waits for it any more, and the owner of the log is told.
func (l *Log) fatal(err error) error {
	l.mu.Lock()
	l.broken = err
	l.changed.Broadcast()
	l.mu.Unlock()
	if l.opt.Journal.OnFatal != nil {
		l.opt.Journal.OnFatal(err)
	}
	return err
}

// receive makes the journal that a snapshot is received into.
func (l *Log) receive(begin journal.Position) (*journal.Import, error) {
	dir := l.path(receivedName)
	if err := removeDir(l.fs, dir); err != nil {
		return nil, err
	}
	return journal.NewImport(l.fs, dir, begin, l.opt.Journal.SegmentBytes)
}

// replace puts the journal that was received, which is whole, in the place of the one before. keep says whether that is
// kept aside.
func (l *Log) replace(cluster ID, lineage Lineage, keep bool) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	in := Incoming{Cluster: cluster, Lineage: lineage}
	received, err := journal.Inspect(l.fs, l.path(receivedName))
	if err != nil {
		return err
	}
	in.Journal = received.ID
	received.Close()
	if keep {
		if in.Aside, err = l.asideName(divergentPrefix, l.End()); err != nil {
			return err
		}
	}
	if err := l.adopt(in); err != nil {
		return err
	}
	resume := l.opt.Rest()
	defer resume()
	if err := l.j().Close(); err != nil {
		return l.fatal(err)
	}
	if err := l.finishReplacing(); err != nil {
		return l.fatal(err)
	}
	if err := l.reopen(0); err != nil {
		return l.fatal(err)
	}
	return nil
}

// adopt notes that the journal which was received is the one to be: from here on a start finishes what is begun.
func (l *Log) adopt(in Incoming) error {
	if err := removeDir(l.fs, l.path(incomingName)); err != nil {
		return err
	}
	if err := l.rename(receivedName, incomingName); err != nil {
		return err
	}
	return l.Remember(func(p *Pair) { p.Incoming = &in })
}

// rename gives a directory another name, durably.
func (l *Log) rename(from, to string) error {
	if err := l.fs.Rename(l.path(from), l.path(to)); err != nil {
		return err
	}
	return l.fs.SyncDir(l.opt.Data)
}

// finishReplacing goes on where replace, or a crash during it, has left off.
func (l *Log) finishReplacing() error {
	in := l.Pair().Incoming
	if in == nil {
		return errors.Join(removeDir(l.fs, l.path(receivedName)), removeDir(l.fs, l.path(incomingName)))
	}
	waiting, err := occupied(l.fs, l.path(incomingName))
	if err != nil {
		return err
	}
	if waiting {
		if err := l.makeWay(in.Aside); err != nil {
			return fmt.Errorf("replace the journal by the one received: %w", err)
		}
		if err := l.rename(incomingName, journalName); err != nil {
			return fmt.Errorf("replace the journal by the one received: %w", err)
		}
	}
	err = l.Remember(func(p *Pair) {
		p.Cluster, p.Lineage, p.Journal, p.Incoming = in.Cluster, in.Lineage, in.Journal, nil
	})
	if err == nil {
		l.mu.Lock()
		l.resync = false
		l.mu.Unlock()
	}
	return err
}

// makeWay moves the journal aside, or removes it.
func (l *Log) makeWay(aside string) error {
	there, err := occupied(l.fs, l.path(journalName))
	if err == nil && there && aside != "" {
		return l.rename(journalName, aside)
	}
	if err == nil {
		err = removeDir(l.fs, l.path(journalName))
	}
	return err
}

// occupied says whether a directory is there and holds files.
func occupied(fsys journal.FS, dir string) (bool, error) {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(names) > 0, err
}

// removeDir removes a directory and the files in it, durably, if it is there.
func removeDir(fsys journal.FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := fsys.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsys.SyncDir(filepath.Dir(dir))
}
