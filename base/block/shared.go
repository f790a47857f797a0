package block

import (
	"context"
	"io"

	"github.com/firth-project/firth/base/fault"
)

func openShared(context.Context, string, io.Closer, Options) (home, error) {
	return nil, fault.New(fault.Invalid, "shared segments are not supported by this build")
}
