package app

import (
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
)

// ipnsRouters reads ipns.routers.
func ipnsRouters(cfg Config) (all []*indexdag.Router, err error) {
	for url := range strings.SplitSeq(cfg.IPNS.Routers, ",") {
		if url = strings.TrimSpace(url); url == "" {
			continue
		}
		r, err := indexdag.OpenRouter(url, nil)
		if err != nil {
			return nil, fault.Wrap(err, "configuration ipns.routers")
		}
		if slices.ContainsFunc(all, func(o *indexdag.Router) bool { return o.String() == r.String() }) {
			return nil, fault.New(fault.Invalid, "configuration ipns.routers: %s is there twice", r)
		}
		all = append(all, r)
	}
	return all, nil
}
