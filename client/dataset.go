package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Dataset is a named set of sources that are onboarded in place, with the rules
// by which they become pieces.
type Dataset struct {
	ID          int64        `json:"id"`
	Name        string       `json:"name"`
	Sources     []Source     `json:"sources" nullable:"false"`
	PieceSize   Size         `json:"piece_size" doc:"bytes of a full piece, a power of two"`
	MinSize     Size         `json:"min_size,omitempty" doc:"least data of a piece; absent: 0.6 of what it holds"`
	MaxSize     Size         `json:"max_size,omitempty" doc:"most data of a piece; absent: 0.9 of what it holds"`
	Include     []string     `json:"include" nullable:"false"`
	Exclude     []string     `json:"exclude" nullable:"false"`
	Hidden      bool         `json:"hidden" doc:"names that begin with a dot are packed too"`
	Dedup       bool         `json:"dedup" doc:"equal blocks are in a piece once"`
	Out         string       `json:"out,omitempty" doc:"directory of the node, or s3://bucket/prefix, that CARs are written into"`
	Revision    int64        `json:"revision" doc:"of these rules; grows when they are changed"`
	CreatedAt   time.Time    `json:"created_at"`
	UpdatedAt   time.Time    `json:"updated_at"`
	Published   *DatasetName `json:"published,omitempty" doc:"its IPNS name; absent until it is published"`
	Preparation *Preparation `json:"preparation,omitempty" doc:"the latest one; absent until it is started"`
}

// Source is where bytes of a dataset are. Its options are never shown.
type Source struct {
	ID  int64  `json:"id"`
	URL string `json:"url" doc:"without a password"`
	At  string `json:"at,omitempty" doc:"directory of the dataset that it fills; absent is its root"`
}

// NewDataset is what a dataset is made of. What is left out takes the default.
type NewDataset struct {
	Name      string      `json:"name" minLength:"1" maxLength:"200"`
	Sources   []NewSource `json:"sources" minItems:"1" maxItems:"1000" nullable:"false"`
	PieceSize Size        `json:"piece_size,omitempty" doc:"a power of two from 4MiB to 64GiB; default 32GiB"`
	MinSize   Size        `json:"min_size,omitempty" doc:"least data of a piece; default 0.6 of what it holds"`
	MaxSize   Size        `json:"max_size,omitempty" doc:"most data of a piece; default 0.9 of what it holds"`
	Include   []string    `json:"include,omitempty" doc:"globs; only what matches is packed. ** crosses slashes"`
	Exclude   []string    `json:"exclude,omitempty" doc:"globs; what matches is left out"`
	Hidden    *bool       `json:"hidden,omitempty" doc:"pack names that begin with a dot; default true"`
	Dedup     *bool       `json:"dedup,omitempty" doc:"put equal blocks into a piece once; default true"`
	Out       string      `json:"out,omitempty" doc:"absolute directory of the node, or s3://bucket/prefix, to write CARs into; needs the scope admin"`
	Start     bool        `json:"start,omitempty" doc:"prepare it at once"`
}

// NewSource says where bytes are.
type NewSource struct {
	URL     string            `json:"url" minLength:"1" maxLength:"4096" doc:"where: a bucket (s3:bucket/prefix, gs:, azure:), a server by its URL (web, webdav+, sftp), or an absolute path of the node"`
	Options map[string]string `json:"options,omitempty" doc:"credentials and settings by rclone's names; kept encrypted and never shown"`
	At      string            `json:"at,omitempty" doc:"directory of the dataset that it fills; needed from the second source on"`
}

// Preparation is one run over a dataset: scan, chunks, pieces, index.
type Preparation struct {
	ID          int64            `json:"id"`
	Dataset     int64            `json:"dataset"`
	Ordinal     int64            `json:"ordinal" doc:"of the dataset's runs, from 1"`
	State       string           `json:"state" enum:"active,paused,complete,failed,removed"`
	Stage       string           `json:"stage" enum:"scan,pack,index,over"`
	Reason      string           `json:"reason,omitempty" doc:"why it failed, or what it waits for"`
	NextAttempt *time.Time       `json:"next_attempt,omitempty"`
	Files       int64            `json:"files" doc:"found so far, links included"`
	Bytes       int64            `json:"bytes" doc:"of these files"`
	Carried     int64            `json:"carried" doc:"of files, those an earlier preparation has packed"`
	Skipped     int64            `json:"skipped" doc:"files that are in no piece; the list of files says why"`
	Total       Count            `json:"total" doc:"what is to pack, as far as it is known; a file that is cut counts once a part"`
	Done        Count            `json:"done" doc:"of the total"`
	Chunks      map[string]Count `json:"chunks" doc:"by state" nullable:"false"`
	Rate        float64          `json:"rate_bytes_per_s" doc:"over the last minutes"`
	Remaining   int64            `json:"eta_s,omitempty" doc:"seconds until it is packed at that rate; absent when unknown"`
	Root        string           `json:"root,omitempty" doc:"CID of the dataset's UnixFS directory"`
	Index       string           `json:"index,omitempty" doc:"CID of the index DAG"`
	IndexPiece  int64            `json:"index_piece,omitempty" doc:"the piece that holds the index"`
	IPFS        string           `json:"ipfs,omitempty" doc:"path of the index: /ipfs/…"`
	DNSLink     string           `json:"dnslink,omitempty" doc:"text for a TXT record at _dnslink.<your domain>"`
	StartedAt   time.Time        `json:"started_at"`
	FinishedAt  *time.Time       `json:"finished_at,omitempty"`
	UpdatedAt   time.Time        `json:"updated_at"`
}

// Count is a number of chunks with what they hold.
type Count struct {
	Chunks int64 `json:"chunks"`
	Files  int64 `json:"files"`
	Bytes  int64 `json:"bytes"`
}

// Chunk is the slice of a preparation that becomes one piece.
type Chunk struct {
	ID          int64      `json:"id"`
	Ordinal     int64      `json:"ordinal" doc:"from 1, in the order of paths; verbs take it"`
	Preparation int64      `json:"preparation"`
	State       string     `json:"state" enum:"waiting,packing,packed,paused,failed,removed"`
	Reason      string     `json:"reason,omitempty"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	Worker      string     `json:"worker,omitempty"`
	Files       int64      `json:"files"`
	Bytes       int64      `json:"bytes"`
	DoneFiles   int64      `json:"done_files"`
	DoneBytes   int64      `json:"done_bytes"`
	Skipped     int64      `json:"skipped"`
	First       string     `json:"first,omitempty" doc:"path; bytes that are no UTF-8 are replaced"`
	Final       string     `json:"final,omitempty" doc:"path"`
	Last        bool       `json:"last,omitempty" doc:"it also holds what is above all chunks"`
	Pieces      []Piece    `json:"pieces" nullable:"false" doc:"once it is packed"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

// DatasetFile is one file, link or directory of a dataset.
type DatasetFile struct {
	Path     string     `json:"path" doc:"bytes that are no UTF-8 are replaced"`
	RawPath  []byte     `json:"path_base64,omitempty" doc:"the exact path, where it is no UTF-8"`
	Kind     string     `json:"kind" enum:"file,link,directory"`
	State    string     `json:"state" enum:"pending,packed,skipped,carried"`
	Size     int64      `json:"size"`
	Modified *time.Time `json:"modified,omitempty"`
	Target   string     `json:"target,omitempty" doc:"where a link points"`
	Reason   string     `json:"reason,omitempty" doc:"why it was skipped"`
	CID      string     `json:"cid,omitempty"`
	Parts    []FilePart `json:"parts" nullable:"false" doc:"where its bytes are"`
}

// FilePart is a run of a file's bytes in a piece.
type FilePart struct {
	Chunk     int64  `json:"chunk,omitempty" doc:"ordinal, while the preparation runs"`
	Piece     int64  `json:"piece,omitempty" doc:"id, once the preparation is complete"`
	CID       string `json:"cid,omitempty"`
	Offset    int64  `json:"offset" doc:"in the file, bytes"`
	Length    int64  `json:"length"`
	CAROffset int64  `json:"car_offset" doc:"in the piece's CAR, bytes"`
	CARLength int64  `json:"car_length"`
}

// Found is a page of files. Next is the value of "after" that continues it; a
// page may be short, or empty, and be continued all the same.
type Found struct {
	Items []DatasetFile `json:"items" nullable:"false"`
	Next  string        `json:"next,omitempty" doc:"value of after that continues the search; absent at its end"`
}

// FileQuery says which files are looked for; zero fields match all.
type FileQuery struct {
	Path     string // begins with this; "dir/" is all below a directory
	Name     string // last name begins with this, upper and lower case alike
	Contains string // somewhere in the path, upper and lower case alike
	Glob     string
	State    string
	Chunk    int64 // ordinal
}

// CreateDataset makes a dataset.
func (c *Client) CreateDataset(ctx context.Context, d NewDataset) (Dataset, error) {
	return post[Dataset](ctx, c, "/v1/datasets", d)
}

// Dataset returns a dataset by id or name, with the status of its latest
// preparation.
func (c *Client) Dataset(ctx context.Context, ref string) (Dataset, error) {
	return get[Dataset](ctx, c, datasetPath(ref, ""))
}

// Datasets lists datasets, newest first.
func (c *Client) Datasets(ctx context.Context) iter.Seq2[Dataset, error] {
	return list[Dataset](ctx, c, "/v1/datasets", query())
}

// RemoveDataset ends a dataset and its preparations; with cars also the CARs
// that were written. Pieces stay.
func (c *Client) RemoveDataset(ctx context.Context, ref string, cars bool) error {
	q := query()
	if cars {
		q.Set("cars", "true")
	}
	return c.do(ctx, http.MethodDelete, datasetPath(ref, ""), q, nil, nil)
}

// AddSource adds a source for later preparations. One that is there already,
// at the same place with the same URL, takes the new options.
func (c *Client) AddSource(ctx context.Context, ref string, s NewSource) (Dataset, error) {
	return post[Dataset](ctx, c, datasetPath(ref, "/sources"), s)
}

// StartDataset begins a preparation, which takes over what is unchanged since
// the one before.
func (c *Client) StartDataset(ctx context.Context, ref string) (Dataset, error) {
	return post[Dataset](ctx, c, datasetPath(ref, "/start"), nil)
}

// PauseDataset has the latest preparation rest; what is done is kept.
func (c *Client) PauseDataset(ctx context.Context, ref string) (Dataset, error) {
	return post[Dataset](ctx, c, datasetPath(ref, "/pause"), nil)
}

// ResumeDataset has a paused or failed preparation go on where it was.
func (c *Client) ResumeDataset(ctx context.Context, ref string) (Dataset, error) {
	return post[Dataset](ctx, c, datasetPath(ref, "/resume"), nil)
}

// RetryDataset has what failed of the latest preparation tried again now.
func (c *Client) RetryDataset(ctx context.Context, ref string) (Dataset, error) {
	return post[Dataset](ctx, c, datasetPath(ref, "/retry"), nil)
}

// Preparations lists the preparations of a dataset, newest first.
func (c *Client) Preparations(ctx context.Context, ref string) iter.Seq2[Preparation, error] {
	return list[Preparation](ctx, c, datasetPath(ref, "/preparations"), query())
}

// Chunks lists the chunks of a dataset's latest preparation, by their ordinals.
func (c *Client) Chunks(ctx context.Context, ref string) iter.Seq2[Chunk, error] {
	return onward[Chunk](ctx, c, datasetPath(ref, "/chunks"), query())
}

// PauseChunk has one chunk rest.
func (c *Client) PauseChunk(ctx context.Context, ref string, ordinal int64) (Chunk, error) {
	return post[Chunk](ctx, c, datasetPath(ref, "/chunks/"+id(ordinal)+"/pause"), nil)
}

// ResumeChunk has a paused chunk go on.
func (c *Client) ResumeChunk(ctx context.Context, ref string, ordinal int64) (Chunk, error) {
	return post[Chunk](ctx, c, datasetPath(ref, "/chunks/"+id(ordinal)+"/resume"), nil)
}

// RetryChunk has a failed chunk tried again now.
func (c *Client) RetryChunk(ctx context.Context, ref string, ordinal int64) (Chunk, error) {
	return post[Chunk](ctx, c, datasetPath(ref, "/chunks/"+id(ordinal)+"/retry"), nil)
}

// RemoveChunk leaves the files of one chunk out.
func (c *Client) RemoveChunk(ctx context.Context, ref string, ordinal int64) (Chunk, error) {
	return post[Chunk](ctx, c, datasetPath(ref, "/chunks/"+id(ordinal)+"/remove"), nil)
}

// DatasetFiles searches the files of a dataset's latest preparation.
func (c *Client) DatasetFiles(ctx context.Context, ref string, q FileQuery) iter.Seq2[DatasetFile, error] {
	return onward[DatasetFile](ctx, c, datasetPath(ref, "/files"), query(
		"path", q.Path, "name", q.Name, "contains", q.Contains, "glob", q.Glob, "state", q.State, "chunk", number(q.Chunk)))
}

func datasetPath(ref, rest string) string { return "/v1/datasets/" + seg(ref) + rest }
