package mk12

import (
	"strings"

	"github.com/google/uuid"
)

// unknownDeal begins the Error of Boost (and of droplet) for a deal it has not.
const unknownDeal = "no storage deal found with deal UUID"

// UnknownDeal is the answer about a deal the provider has never heard of, in
// Boost's words.
func UnknownDeal(deal uuid.UUID) DealStatusResponse {
	return DealStatusResponse{DealUUID: deal, Error: unknownDeal + " " + deal.String()}
}

// Unknown reports whether the provider says that it has no such deal: a
// proposal whose answer was lost never arrived. False proves nothing: Curio has
// no words for it, a deal it does not know looks like any failure of its own.
func (r DealStatusResponse) Unknown() bool {
	return r.DealStatus == nil && strings.HasPrefix(r.Error, unknownDeal)
}
