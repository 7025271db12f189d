package arbiter

import (
	"fmt"

	"go.uber.org/zap"
)

// logger hands the lines of nats-server to zap. Fatal ones end the arbiter, not the process.
type logger struct {
	log    *zap.SugaredLogger
	failed chan<- string // has room for one
}

func (l *logger) Noticef(format string, args ...any) { l.log.Debugf(format, args...) }
func (l *logger) Warnf(format string, args ...any)   { l.log.Warnf(format, args...) }
func (l *logger) Errorf(format string, args ...any)  { l.log.Errorf(format, args...) }
func (l *logger) Debugf(format string, args ...any)  { l.log.Debugf(format, args...) }
func (l *logger) Tracef(format string, args ...any)  { l.log.Debugf(format, args...) }

func (l *logger) Fatalf(format string, args ...any) {
	select {
	case l.failed <- fmt.Sprintf(format, args...): // whoever is told reports it
	default:
	}
}
