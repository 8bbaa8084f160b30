package app

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/vrproxy/vrproxy/configs"
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
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

func setLevel(level zap.AtomicLevel, l configs.LogLevel) {
	parsed, err := zapcore.ParseLevel(string(l))
	if err != nil {
		parsed = zapcore.InfoLevel // the configuration allows nothing that does not parse
	}
	level.SetLevel(parsed)
}
