package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Policy is the replication that is wanted. The node keeps comparing it with
// what is true and acts.
type Policy struct {
	ID               int64        `json:"id"`
	Name             string       `json:"name"`
	Copies           int          `json:"copies"`
	Pieces           []int64      `json:"pieces" nullable:"false" doc:"empty: every piece of the project"`
	Providers        []string     `json:"providers" nullable:"false" doc:"empty: any in the index"`
	Wallet           string       `json:"wallet"`
	MaxPrice         string       `json:"max_price" doc:"attoFIL per GiB and epoch"`
	DurationEpochs   int64        `json:"duration_epochs"`
	StartDelayEpochs int64        `json:"start_delay_epochs"`
	Verified         bool         `json:"verified"`
	DeleteCARAfter   int          `json:"delete_car_after" doc:"active deals after which the CARs that the node wrote of a piece are deleted; 0 keeps them"`
	URLTemplate      string       `json:"url_template,omitempty" doc:"where providers fetch the pieces instead of from this node"`
	HTTPHeaders      Headers      `json:"http_headers,omitempty" doc:"what they send along there; every value is shown as ***"`
	State            string       `json:"state" enum:"active,paused,removed"`
	Reason           string       `json:"reason,omitempty"`
	Status           PolicyStatus `json:"status"`
	CreatedAt        time.Time    `json:"created_at"`
	UpdatedAt        time.Time    `json:"updated_at"`
}

// PolicyStatus counts what a policy wants and what is true, in pieces and in
// copies of them.
type PolicyStatus struct {
	Pieces     int `json:"pieces"`
	Wanted     int `json:"wanted"`
	Active     int `json:"active"`
	InProgress int `json:"in_progress"`
	Failed     int `json:"failed"`
}

// Headers are HTTP headers, each with one value.
type Headers = map[string]string

// NewPolicy is what a policy is made of. What is left out takes the node's
// default.
type NewPolicy struct {
	Name             string   `json:"name,omitempty"`
	Copies           int      `json:"copies,omitempty" minimum:"0" doc:"default 6"`
	Pieces           []int64  `json:"pieces,omitempty" doc:"empty: every piece of the project"`
	Providers        []string `json:"providers,omitempty" doc:"empty: any in the index"`
	Wallet           string   `json:"wallet,omitempty"`
	MaxPrice         string   `json:"max_price,omitempty" doc:"attoFIL per GiB and epoch"`
	DurationEpochs   int64    `json:"duration_epochs,omitempty" minimum:"0"`
	StartDelayEpochs int64    `json:"start_delay_epochs,omitempty" minimum:"0"`
	Verified         bool     `json:"verified,omitempty"`
	DeleteCARAfter   int      `json:"delete_car_after,omitempty" minimum:"0" doc:"delete the CARs that the node exported or cached of a piece once it has so many active deals, if no other policy, project or import wants them; 0 keeps them"`
	URLTemplate      string   `json:"url_template,omitempty" maxLength:"2048" doc:"where providers fetch the pieces instead of from this node: an http or https URL with {piece_cid} or {piece_cid_v1} in its path or query. Empty: the node's piece.url_template, or the node itself"`
	HTTPHeaders      Headers  `json:"http_headers,omitempty" doc:"what providers are told to send along there, such as Authorization; kept encrypted and never shown again"`
}

// PolicyChange is what may be changed of a policy; nil fields stay.
type PolicyChange struct {
	Name             *string   `json:"name,omitempty"`
	Copies           *int      `json:"copies,omitempty" minimum:"1"`
	Pieces           *[]int64  `json:"pieces,omitempty"`
	Providers        *[]string `json:"providers,omitempty"`
	Wallet           *string   `json:"wallet,omitempty"`
	MaxPrice         *string   `json:"max_price,omitempty"`
	DurationEpochs   *int64    `json:"duration_epochs,omitempty" minimum:"1"`
	StartDelayEpochs *int64    `json:"start_delay_epochs,omitempty" minimum:"0"`
	Verified         *bool     `json:"verified,omitempty"`
	DeleteCARAfter   *int      `json:"delete_car_after,omitempty" minimum:"0"`
	URLTemplate      *string   `json:"url_template,omitempty" maxLength:"2048" doc:"an empty one takes http_headers away, too"`
	HTTPHeaders      *Headers  `json:"http_headers,omitempty" doc:"all of them; one whose value is *** stays as it is, if url_template names the same server still"`
}

// Step is one thing a policy would do now, and why.
type Step struct {
	Action   string `json:"action" doc:"what would be done, such as propose or wait"`
	Piece    int64  `json:"piece"`
	PieceCID string `json:"piece_cid"`
	Provider string `json:"provider,omitempty"`
	Reason   string `json:"reason"`
}

// PolicyFilter narrows a list of policies; zero fields do not.
type PolicyFilter struct {
	State string
}

// CreatePolicy declares a policy; the node acts on it at once.
func (c *Client) CreatePolicy(ctx context.Context, p NewPolicy) (Policy, error) {
	return post[Policy](ctx, c, "/v1/policies", p)
}

// Policy returns one policy with its status.
func (c *Client) Policy(ctx context.Context, policy int64) (Policy, error) {
	return get[Policy](ctx, c, policyPath(policy, ""))
}

// Policies lists policies, newest first.
func (c *Client) Policies(ctx context.Context, f PolicyFilter) iter.Seq2[Policy, error] {
	return list[Policy](ctx, c, "/v1/policies", query("state", f.State))
}

// UpdatePolicy changes a policy. Deals already made stay as they are. Where it
// says where pieces are fetched, providers that could not are asked at once.
func (c *Client) UpdatePolicy(ctx context.Context, policy int64, change PolicyChange) (Policy, error) {
	var out Policy
	err := c.do(ctx, http.MethodPatch, policyPath(policy, ""), nil, change, &out)
	return out, err
}

// PausePolicy stops new deals until ResumePolicy.
func (c *Client) PausePolicy(ctx context.Context, policy int64) (Policy, error) {
	return post[Policy](ctx, c, policyPath(policy, "/pause"), nil)
}

// ResumePolicy lets a paused policy act again.
func (c *Client) ResumePolicy(ctx context.Context, policy int64) (Policy, error) {
	return post[Policy](ctx, c, policyPath(policy, "/resume"), nil)
}

// RemovePolicy gives a policy up. Its deals run to their end.
func (c *Client) RemovePolicy(ctx context.Context, policy int64) error {
	return c.do(ctx, http.MethodDelete, policyPath(policy, ""), nil, nil, nil)
}

// DryRun returns what a policy would do now, and why, without doing it.
func (c *Client) DryRun(ctx context.Context, policy int64) ([]Step, error) {
	p, err := get[Page[Step]](ctx, c, policyPath(policy, "/dry-run"))
	return p.Items, err
}

func policyPath(policy int64, verb string) string { return "/v1/policies/" + id(policy) + verb }
