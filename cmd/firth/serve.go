package main

import (
	"fmt"
	"slices"

	"github.com/firth-project/firth/app"
)

type serveCmd struct {
	Roles     string `help:"Roles to run, comma-separated; default is all." placeholder:"ROLES"`
	Database  string `help:"postgres://… to share with other processes; default is SQLite in the home." placeholder:"URL"`
	Blob      string `help:"Directory of the blob store; default is in the home." placeholder:"DIR"`
	Listen    string `help:"Address of the API." placeholder:"HOST:PORT"`
	PublicURL string `help:"URL prefix under which providers reach the pieces." placeholder:"URL" name:"public-url"`
	Upstream  string `help:"Of role commp: the node whose imports are computed." placeholder:"URL"`
	Parallel  int    `help:"Of role commp: how many CARs side by side." placeholder:"N"`
	RPC       string `help:"Filecoin node to ask." placeholder:"URL" name:"rpc"`
}

// flags are the keys of the configuration that were set on the command line.
func (s *serveCmd) flags() map[string]any {
	set := map[string]any{}
	for key, value := range map[string]string{
		"roles": s.Roles, "database": s.Database, "blob": s.Blob,
		"listen.api": s.Listen, "public_url": s.PublicURL, "chain.rpc": s.RPC,
		"commp.upstream": s.Upstream,
	} {
		if value != "" {
			set[key] = value
		}
	}
	if s.Parallel != 0 {
		set["commp.parallel"] = s.Parallel
	}
	return set
}

// serving is the line `firth serve --json` prints when the node is ready.
type serving struct {
	API     string   `json:"api,omitempty"`
	Gateway string   `json:"gateway,omitempty"`
	Token   string   `json:"token,omitempty"` // the admin token, on the first start only
	Roles   []string `json:"roles"`
}

func (s *serveCmd) Run(call *call) error {
	flags := s.flags()
	if call.global.Token != "" { // of a node, it is the one for upstream
		flags["commp.token"] = call.global.Token
	}
	cfg, _, err := call.load(flags)
	if err != nil {
		return err
	}
	log, err := app.NewLogger(cfg.Log, call.err)
	if err != nil {
		return err
	}
	node, err := app.New(call.ctx, cfg, log)
	if err != nil {
		return err
	}
	ready := serving{API: node.APIURL(), Gateway: node.GatewayURL(), Token: node.FirstToken(), Roles: node.Roles()}
	if call.global.JSON {
		err = call.printJSON(ready)
	} else {
		err = s.tell(call, cfg, ready)
	}
	if err != nil {
		return err
	}
	return node.Run(call.ctx)
}

// tell greets the person who started the node.
func (s *serveCmd) tell(call *call, cfg app.Config, r serving) error {
	if slices.Contains(r.Roles, app.CommPRole) {
		_, err := fmt.Fprintf(call.out, "Firth computes commitments for %s, %d CARs side by side. Stop with Ctrl-C.\n", cfg.CommP.Upstream, cfg.CommP.Parallel)
		return err
	}
	fmt.Fprintf(call.out, "Firth is running; everything it keeps is in %s.\n", cfg.Home)
	if r.API != "" {
		fmt.Fprintf(call.out, "  API        %s/v1/docs\n", r.API)
	}
	if r.Gateway != "" {
		fmt.Fprintf(call.out, "  gateway    %s/ipfs/…\n", r.Gateway)
	}
	if r.Token != "" {
		fmt.Fprintf(call.out, "  admin token, shown this once:\n    %s\n", r.Token)
	}
	_, err := fmt.Fprintln(call.out, "Store something with `firth add PATH`. Stop with Ctrl-C.")
	return err
}
