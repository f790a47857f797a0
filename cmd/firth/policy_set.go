package main

import (
	"context"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type policySetCmd struct {
	policyRef
	Name             *string  `help:"What people call it." placeholder:"NAME"`
	Copies           *int     `help:"Copies to keep of each piece, each with another provider." placeholder:"N"`
	Piece            []int64  `help:"Ids of pieces, instead of those before; 0 is every piece of the project." placeholder:"ID"`
	Provider         []string `help:"Providers to choose from, instead of those before; an empty one is any in the index." sep:"none" placeholder:"f0…"`
	Wallet           *string  `help:"Address that signs and pays; an empty one is the keystore's first." placeholder:"ADDRESS"`
	MaxPrice         *string  `help:"Most to pay, in attoFIL per GiB and epoch." placeholder:"ATTOFIL"`
	DurationEpochs   *int64   `help:"How long a deal lasts; on mainnet a day has 2880 epochs." placeholder:"N"`
	StartDelayEpochs *int64   `help:"How long a provider has until a deal must be active." placeholder:"N"`
	Verified         *bool    `help:"Make verified deals, with datacap, or not." negatable:""`
	DeleteCARAfter   *int     `help:"Delete the CARs the node wrote of a piece once it has N active deals; 0 keeps them." name:"delete-car-after" placeholder:"N"`
	URLTemplate      *string  `help:"Where providers fetch the pieces; an empty one is the node's setting again, and takes the headers away." name:"url-template" placeholder:"URL"`

	HTTPHeader    pairs `help:"What providers send along to the server of the template, instead of the headers before; the value *** keeps the one that is there, NAME=@FILE reads it from a file. May be repeated." name:"http-header" placeholder:"NAME=VALUE" xor:"headers"`
	NoHTTPHeaders bool  `help:"Send no headers along." name:"no-http-headers" xor:"headers"`
}

// Help says what kong prints below the arguments.
func (policySetCmd) Help() string {
	return `What is not named stays. Where pieces are fetched may be said again as it is: providers that could not fetch one are then asked at once. For example
  firth policy set 3 --copies 5 --url-template 'https://cdn.example/{piece_cid}.car' --http-header 'Authorization=Bearer …'`
}

func (s *policySetCmd) Run(call *call) error {
	change := client.PolicyChange{
		Name: s.Name, Copies: s.Copies, Wallet: s.Wallet, MaxPrice: s.MaxPrice, DurationEpochs: s.DurationEpochs,
		StartDelayEpochs: s.StartDelayEpochs, Verified: s.Verified, DeleteCARAfter: s.DeleteCARAfter, URLTemplate: s.URLTemplate,
	}
	if len(s.Piece) > 0 {
		pieces := slices.DeleteFunc(slices.Clone(s.Piece), func(id int64) bool { return id == 0 })
		change.Pieces = &pieces
	}
	if len(s.Provider) > 0 {
		providers := strings.FieldsFunc(strings.Join(s.Provider, ","), func(r rune) bool { return r == ',' })
		change.Providers = &providers
	}
	if len(s.HTTPHeader) > 0 || s.NoHTTPHeaders {
		headers := client.Headers{}
		if !s.NoHTTPHeaders {
			headers = s.HTTPHeader
		}
		change.HTTPHeaders = &headers
	}
	if change == (client.PolicyChange{}) {
		return fault.New(fault.Invalid, "nothing to set; `firth policy set --help` lists what there is")
	}
	return show(call, func(ctx context.Context, cl *client.Client) (client.Policy, error) {
		return cl.UpdatePolicy(ctx, s.ID, change)
	}, call.policy)
}
