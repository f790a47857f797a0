package client

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Deal is one agreement about one piece with one provider.
type Deal struct {
	ID          int64     `json:"id"`
	UUID        string    `json:"uuid" doc:"the name both sides know it by"`
	Policy      int64     `json:"policy"`
	Piece       int64     `json:"piece"`
	PieceCID    string    `json:"piece_cid"`
	Provider    string    `json:"provider" doc:"f0…"`
	Market      string    `json:"market" doc:"protocol it was made by, such as mk12"`
	Client      string    `json:"client" doc:"address of the wallet that pays"`
	State       string    `json:"state" enum:"draft,sending,proposed,transferring,published,active,slashed,terminated,expired,rejected,proposal_expired,failed"`
	Reason      string    `json:"reason,omitempty"`
	ProposalCID string    `json:"proposal_cid,omitempty"`
	PublishCID  string    `json:"publish_cid,omitempty" doc:"the message that published it"`
	DealID      int64     `json:"deal_id,omitempty" doc:"its number on chain, once published"`
	StartEpoch  int64     `json:"start_epoch"`
	EndEpoch    int64     `json:"end_epoch"`
	Price       string    `json:"price" doc:"attoFIL per GiB and epoch"`
	URL         string    `json:"url,omitempty" doc:"where the provider was told to fetch the CAR, once that is signed"`
	Outside     bool      `json:"outside" doc:"that is where a url_template says, and not this node"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// DealObservation is one change of a deal's state, as it was learned.
type DealObservation struct {
	At       time.Time       `json:"at"`
	Source   string          `json:"source" enum:"us,provider,chain,clock" doc:"who said it"`
	From     string          `json:"from,omitempty"`
	To       string          `json:"to"`
	Reason   string          `json:"reason,omitempty"`
	Evidence json.RawMessage `json:"evidence,omitempty"`
}

// DealDetail is a deal with its history, oldest first.
type DealDetail struct {
	Deal
	Observations []DealObservation `json:"observations" nullable:"false"`
}

// Liveness tells a provider whether a deal is still wanted.
type Liveness struct {
	Wanted bool   `json:"wanted"`
	State  string `json:"state"`
}

// DealFilter narrows a list of deals; zero fields do not.
type DealFilter struct {
	State, Provider string
	Piece, Policy   int64
}

// Deal returns one deal by its UUID, with its history.
func (c *Client) Deal(ctx context.Context, uuid string) (DealDetail, error) {
	return get[DealDetail](ctx, c, "/v1/deals/"+seg(uuid))
}

// Deals lists deals, newest first.
func (c *Client) Deals(ctx context.Context, f DealFilter) iter.Seq2[Deal, error] {
	return list[Deal](ctx, c, "/v1/deals",
		query("state", f.State, "provider", f.Provider, "piece", number(f.Piece), "policy", number(f.Policy)))
}

// DealLiveness asks whether a deal is still wanted, by UUID or proposal CID.
func (c *Client) DealLiveness(ctx context.Context, ref string) (Liveness, error) {
	return get[Liveness](ctx, c, "/v1/deals/"+seg(ref)+"/liveness")
}
