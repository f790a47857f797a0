package source

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
	"github.com/rclone/rclone/lib/encoder"
	"github.com/rclone/rclone/lib/rest"

	"github.com/firth-project/firth/base/fault"
)

// remote is a tree behind one of rclone's backends that knows sizes and times.
type remote struct {
	*backend
	kind  string
	tree  rclone.Fs
	every rclone.Fs // sftp: the same, telling symbolic links too, as what they point to
	links rclone.Fs // buckets: the same, for listings; of S3 it signs URLs without asking for the object first
	file  string    // name of the one file that is the source
	fetch *fetcher  // reads by our own HTTP, where the backend lets us
}

// rclone shows names in a spelling of its own, where "." and control bytes have
// look-alikes, and takes them in it. standard is that spelling of a path, plain
// the path.
func standard(path string) string { return encoder.EncodeRaw.ToStandardPath(path) }
func plain(path string) string    { return encoder.EncodeRaw.FromStandardPath(path) }

// maxDepth ends a tree whose server follows a link in a circle.
const maxDepth = 128

func openRemote(ctx context.Context, p place, options map[string]string, set settings) (*remote, error) {
	if err := settle(p.kind, options); err != nil {
		return nil, err
	}
	b, err := newBackend(p.kind, set)
	if err != nil {
		return nil, err
	}
	r := &remote{backend: b, kind: p.kind}
	if err := r.connect(ctx, p, options); err != nil {
		_ = r.close()
		return nil, err
	}
	return r, nil
}

// settle sets what no Spec may choose otherwise, and refuses what rclone would
// take as leave to look around.
func settle(kind string, options map[string]string) error {
	options["encoding"] = "Raw" // names are sent as they are
	switch kind {
	case "s3":
		options["no_check_bucket"] = "true"
		setDefault(options, "region", "us-east-1")
		setDefault(options, "list_version", "2")
		if options["provider"] == "" {
			options["provider"] = "AWS"
			if options["endpoint"] != "" {
				options["provider"] = "Other"
			}
		}
		if options["env_auth"] == "true" {
			break
		}
		if (options["access_key_id"] == "") != (options["secret_access_key"] == "") {
			return fault.New(fault.Invalid, "options access_key_id and secret_access_key: give both, or neither for a public bucket")
		}
	case "google cloud storage":
		if options["env_auth"] != "true" && options["anonymous"] != "true" && options["service_account_credentials"] == "" &&
			options["service_account_file"] == "" && options["access_token"] == "" {
			return fault.New(fault.Invalid, "no credentials: give option service_account_credentials, access_token, env_auth=true, or anonymous=true for a public bucket")
		}
	case "azureblob":
		if options["env_auth"] != "true" && options["use_msi"] != "true" && options["key"] == "" && options["sas_url"] == "" &&
			options["connection_string"] == "" && options["client_id"] == "" && options["use_emulator"] != "true" && options["account"] == "" {
			return fault.New(fault.Invalid, "no account: give option account with key, sas_url, connection_string, client_id with its secret, or env_auth=true")
		}
	case "sftp":
		options["shell_type"], options["disable_hashcheck"] = "none", "true" // runs no commands there
		options["skip_links"], options["set_modtime"] = "true", "false"
		if options["user"] == "" {
			return fault.New(fault.Invalid, "no user: write sftp://user@host/path, or give option user")
		}
		if options["known_hosts_file"] == "" && options["host_keys"] == "" {
			return fault.New(fault.Invalid, "no host key to expect: give option host_keys (as \"ssh-ed25519 AAAA…\") or known_hosts_file (\"none\" trusts anybody)")
		}
		if options["pass"] == "" && options["key_pem"] == "" && options["key_file"] == "" && options["key_use_agent"] != "true" {
			return fault.New(fault.Invalid, "no way to log in: give option pass, key_pem, key_file or key_use_agent=true")
		}
		options["key_pem"] = strings.ReplaceAll(options["key_pem"], "\n", `\n`)
	}
	return nil
}

func setDefault(options map[string]string, name, value string) {
	if options[name] == "" {
		options[name] = value
	}
}

func (r *remote) connect(ctx context.Context, p place, options map[string]string) (err error) {
	var isFile bool
	root := standard(p.path)
	if r.tree, isFile, err = r.start(ctx, root, options); err != nil {
		return err
	}
	if isFile {
		r.file = path.Base(p.path)
	}
	if r.kind == "webdav" {
		if r.fetch, err = davFetcher(r.backend, plain(r.tree.Root()), options); err != nil {
			return err
		}
	}
	if err := r.look(ctx, r.tree); err != nil {
		return err
	}
	if r.flat() {
		if r.kind == "s3" {
			options["no_head_object"] = "true"
		}
		if r.links, _, err = r.pages().start(ctx, r.tree.Root(), options); err != nil {
			return err
		}
	}
	switch r.kind {
	case "sftp":
		options["skip_links"] = "false"
		r.every, _, err = r.start(ctx, root, options)
	case "s3":
		if options["requester_pays"] == "true" || options["sse_customer_algorithm"] != "" || options["v2_auth"] == "true" {
			break // not to be had by a signed URL
		}
		r.fetch = &fetcher{client: r.client(), set: r.set, md5: true, atomic: true, address: r.signed}
		if options["access_key_id"] == "" && options["env_auth"] != "true" {
			r.fetch.address = publicAddress(plain(r.tree.Root()), options)
		}
		if r.file == "" { // it learns the bucket's region, with which it signs
			err = r.look(ctx, r.links)
		}
	}
	return err
}

// look asks whether the root is there, so that Open says so and not the first
// Walk. A bucket's prefix with nothing below it does not exist.
func (r *remote) look(ctx context.Context, tree rclone.Fs) error {
	if r.file != "" { // which may be rclone's guess where it was told nothing
		_, err := r.only(ctx, "")
		return fault.Wrap(err, "look at %q", r.file)
	}
	err := r.set.try(ctx, func() error {
		ctx, stop := context.WithCancel(r.with(ctx))
		defer stop()
		if !r.flat() {
			_, err := tree.List(ctx, "")
			return r.fetch.throttled(ctx, "", remoteFault(err))
		}
		found := false
		err := tree.Features().ListP(ctx, "", func(page rclone.DirEntries) error {
			if found = len(page) > 0; found {
				return errEnough
			}
			return nil
		})
		if err == nil && !found && strings.Contains(plain(r.tree.Root()), "/") {
			return fault.New(fault.NotFound, "no key begins with this prefix")
		}
		if found {
			return nil
		}
		return remoteFault(err)
	})
	return fault.Wrap(err, "list the root")
}

func (r *remote) current(context.Context) error { return nil }

func (r *remote) close() error { return r.backend.close(r.tree, r.every, r.links) }

// open opens a file of the tree.
func (r *remote) open(ctx context.Context, path, id string) (content, Item, error) {
	if !wellFormed(path) || r.file != "" && path != r.file {
		return nil, Item{}, fault.New(fault.NotFound, "not in this source")
	}
	if r.fetch != nil {
		return r.fetch.open(ctx, path, id)
	}
	return r.openObject(ctx, path, id)
}

// flat reports whether the source is a bucket: names without directories,
// listed in order.
func (r *remote) flat() bool { return r.tree.Features().BucketBased }

// publicAddress makes the URL of an object that anybody may read; there is
// nothing to sign it with.
func publicAddress(root string, options map[string]string) func(context.Context, string) (string, error) {
	bucket, prefix, _ := strings.Cut(root, "/")
	base := options["endpoint"]
	switch {
	case base == "" && !strings.Contains(bucket, "."):
		base = "https://" + bucket + ".s3.amazonaws.com"
	case base == "":
		base = "https://s3." + options["region"] + ".amazonaws.com/" + bucket
	case strings.HasPrefix(base, "http"):
		base = strings.TrimRight(base, "/") + "/" + bucket
	default:
		base = "https://" + strings.TrimRight(base, "/") + "/" + bucket
	}
	return func(_ context.Context, key string) (string, error) {
		u := url.URL{Path: "/" + path.Join(prefix, key)}
		return base + u.EscapedPath(), nil
	}
}

// signed is the URL by which the next request may read an object.
func (r *remote) signed(ctx context.Context, path string) (string, error) {
	const good = 12 * time.Hour // as long as one stream may need to begin, and clocks to differ
	link, err := r.links.Features().PublicLink(r.with(ctx), standard(path), rclone.Duration(good), false)
	return link, remoteFault(err)
}

// davFetcher reads WebDAV files by plain GET, unless the server has ways of
// its own to be let in.
func davFetcher(b *backend, root string, options map[string]string) (*fetcher, error) {
	switch options["vendor"] {
	case "", "other", "nextcloud", "owncloud", "infinitescale", "fastmail", "rclone":
	default:
		return nil, nil
	}
	headers, err := readHeaders(options)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(options["url"])
	if err != nil {
		return nil, fault.New(fault.Invalid, "not a URL")
	}
	return &fetcher{client: b.client(), set: b.set, headers: headers, address: func(_ context.Context, file string) (string, error) {
		u, err := rest.URLJoin(base, rest.URLPathEscape(strings.TrimPrefix(path.Join(root, file), "/")))
		if err != nil {
			return "", fault.Mark(fault.Invalid, err)
		}
		return u.String(), nil
	}}, nil
}

// readHeaders makes the headers of every request of the options headers
// ("Name,value,…" as CSV), user and pass, bearer_token.
func readHeaders(options map[string]string) (http.Header, error) {
	h := http.Header{}
	var list rclone.CommaSepList
	if err := list.Set(options["headers"]); err != nil || len(list)%2 != 0 {
		return nil, fault.New(fault.Invalid, "option headers: give Name,value pairs separated by commas")
	}
	for i := 0; i < len(list); i += 2 {
		h.Add(list[i], list[i+1])
	}
	if options["bearer_token"] != "" {
		h.Set("Authorization", "Bearer "+options["bearer_token"])
	}
	if options["user"] != "" || options["pass"] != "" {
		req := http.Request{Header: h}
		req.SetBasicAuth(options["user"], options["pass"])
	}
	return h, nil
}

// itemOfObject is what a listing or a look at an object tells. No request is
// made for what it leaves out.
func (r *remote) itemOfObject(o rclone.Object, at string) Item {
	i := Item{Path: at, Size: o.Size(), ModTime: o.ModTime(r.ctx).UTC()}
	if i.ModTime.Unix() == 0 || i.ModTime.IsZero() {
		i.ModTime = time.Time{}
	}
	if r.kind == "s3" || r.kind == "webdav" {
		i.ModTime = i.ModTime.Truncate(time.Second) // what a read tells is no finer
	}
	if o.Fs().Hashes().Contains(hash.MD5) {
		// The S3 backend asks the server for the hash of an object that was
		// uploaded in parts, unless it may not ask anybody.
		ctx, stop := context.WithCancel(r.ctx)
		stop()
		if sum, err := o.Hash(ctx, hash.MD5); err == nil && isMD5(sum) {
			i.Hash = "md5:" + sum
		}
	}
	if i.Size < 0 {
		i.Unreadable = "the server does not tell its size"
	}
	return i
}
