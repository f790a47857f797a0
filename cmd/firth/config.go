package main

import (
	"fmt"
	"io"

	"github.com/firth-project/firth/app"
)

type configCmd struct{}

// load merges defaults, file, environment and the given flags.
func (c *call) load(flags map[string]any) (app.Config, []app.Setting, error) {
	if flags == nil {
		flags = map[string]any{}
	}
	if c.global.Home != "" {
		flags["home"] = c.global.Home
	}
	return app.Load(c.global.Config, c.environ, flags)
}

// home is the directory this command line works in.
func (c *call) home() (string, error) {
	cfg, _, err := c.load(nil)
	return cfg.Home, err
}

func (configCmd) Run(call *call) error {
	_, settings, err := call.load(nil)
	if err != nil {
		return err
	}
	if call.global.JSON {
		return call.printJSON(settings)
	}
	return call.table("KEY\tVALUE\tFROM\tMEANING", func(w io.Writer) {
		for _, s := range settings {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Key, s.Value, s.Origin, s.Doc)
		}
	})
}
