package main

import (
	"fmt"

	"github.com/firth-project/firth/app"
)

type versionCmd struct{}

func (versionCmd) Run(call *call) error {
	v := app.Version()
	if call.global.JSON {
		return call.printJSON(v)
	}
	_, err := fmt.Fprintf(call.out, "firth %s (%s, %s)\n", v.Version, v.Commit, v.Go)
	return err
}
