package main

import (
	"io"
	"os"
	"time"

	"baton/config"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// newLogger writes to out as the configuration, which has been validated, says.
func newLogger(cfg config.Log, out io.Writer) *zap.Logger {
	level, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		panic("BUG: validated log level: " + err.Error())
	}
	core := zapcore.NewCore(logEncoder(cfg.Format, out), zapcore.Lock(zapcore.AddSync(out)), level)
	// Of what is said over and over, by a flood of connections for example, a part is enough.
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Second, 100, 100))
}

func logEncoder(format string, out io.Writer) zapcore.Encoder {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.ISO8601TimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	if format == "console" || format == "auto" && isTerminal(out) {
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		return zapcore.NewConsoleEncoder(encoding)
	}
	return zapcore.NewJSONEncoder(encoding)
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
