package app

import (
	"io"
	"log/slog"

	"github.com/firth-project/firth/base/fault"
)

// NewLogger makes the logger that everything below is handed.
func NewLogger(c Log, w io.Writer) (*slog.Logger, error) {
	level, err := logLevel(c.Level)
	if err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}

func logLevel(name string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return 0, fault.New(fault.Invalid, "configuration log.level: %q is none of debug, info, warn, error", name)
	}
	return level, nil
}
