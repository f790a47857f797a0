package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/firth-project/firth/base/fault"
)

// pairs are flags NAME=VALUE, of which some are secret: NAME=@FILE reads the
// value from a file, so that it stands in no list of processes and no history.
// A value that begins with @ is written @@.
type pairs map[string]string

// Decode implements kong.MapperValue.
func (p pairs) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("NAME=VALUE", &text); err != nil {
		return err
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return fmt.Errorf("want NAME=VALUE or NAME=@FILE, not %q", text)
	}
	if file, at := strings.CutPrefix(value, "@"); at {
		if value = file; !strings.HasPrefix(file, "@") {
			var err error
			if value, err = secretIn(file); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	p[name] = value
	return nil
}

// maxSecret is the most that a file of a pair may hold.
const maxSecret = 64 << 10

// secretIn reads a file without the end of its last line.
func secretIn(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSecret {
		return "", fault.New(fault.Invalid, "%s: holds more than %d bytes", file, maxSecret)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}
