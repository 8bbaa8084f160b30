package app

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/vrproxy/vrproxy/configs"
)

// Of lines with the same text and level, so many a second are written, and then each
// hundredth.
const (
	sameLines = 100
	everyLine = 100
)

// newLogger writes to w in the configured form. The level can be changed later.
func newLogger(w io.Writer, cfg configs.Log, level zap.AtomicLevel) *zap.Logger {
	setLevel(level, cfg.Level)
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339TimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if cfg.Format == configs.LogConsole {
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	out := zapcore.Lock(zapcore.AddSync(w))
	debug := zap.LevelEnablerFunc(func(l zapcore.Level) bool { return l == zapcore.DebugLevel && level.Enabled(l) })
	above := zap.LevelEnablerFunc(func(l zapcore.Level) bool { return l > zapcore.DebugLevel && level.Enabled(l) })
	// Who asks for debug lines wants each.
	return zap.New(zapcore.NewTee(
		zapcore.NewCore(encoder, out, debug),
		zapcore.NewSamplerWithOptions(zapcore.NewCore(encoder.Clone(), out, above), time.Second, sameLines, everyLine),
	))
}

func setLevel(level zap.AtomicLevel, l configs.LogLevel) {
	parsed, err := zapcore.ParseLevel(string(l))
	if err != nil {
		parsed = zapcore.InfoLevel // the configuration allows nothing that does not parse
	}
	level.SetLevel(parsed)
}
