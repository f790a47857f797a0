package source

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	_ "github.com/rclone/rclone/backend/azureblob"
	_ "github.com/rclone/rclone/backend/googlecloudstorage"
	_ "github.com/rclone/rclone/backend/http"
	_ "github.com/rclone/rclone/backend/s3"
	_ "github.com/rclone/rclone/backend/sftp"
	_ "github.com/rclone/rclone/backend/webdav"
	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/rclone/rclone/fs/fshttp"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source/unconfigured"
)

// backend is one of rclone's, configured from a Spec alone. Its context holds
// the connections and rclone's global settings as this source wants them.
type backend struct {
	ctx  context.Context
	stop context.CancelFunc
	set  settings
	info *rclone.RegInfo
}

// quiet makes rclone log nothing: what goes wrong is in the errors.
var quiet = sync.OnceFunc(func() {
	unconfigured.Done()
	rclone.GetConfig(context.Background()).LogLevel = rclone.LogLevelEmergency
})

func newBackend(kind string, set settings) (*backend, error) {
	quiet()
	info, err := rclone.Find(kind)
	if err != nil {
		return nil, fault.Mark(fault.Internal, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ctx, ci := rclone.AddConfig(once(ctx))
	ci.LowLevelRetries = 1 // they are ours, who tell of them
	ci.Timeout = rclone.Duration(set.timeout)
	ci.ConnectTimeout = rclone.Duration(min(set.timeout, maxConnect))
	ci.UserAgent = "firth"
	ci.NoGzip = true
	ci.UseServerModTime = true // another request for each object otherwise
	return &backend{ctx: ctx, stop: stop, set: set, info: info}, nil
}

// maxConnect is how long a server may take to accept a connection.
const maxConnect = 15 * time.Second

// pages is the backend for listings that come in pages: rclone asks for a page
// once more by itself, since for us the only way is to begin the listing anew.
func (b *backend) pages() *backend {
	ctx, ci := rclone.AddConfig(b.ctx)
	ci.LowLevelRetries = min(b.set.retries, 1) + 1
	return &backend{ctx: ctx, stop: b.stop, set: b.set, info: b.info}
}

// with is ctx with this backend's settings for rclone.
func (b *backend) with(ctx context.Context) context.Context {
	return once(rclone.CopyConfig(ctx, b.ctx))
}

// once keeps Azure's client from trying each request four times within each of
// our tries.
func once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
}

// client is an HTTP client with rclone's time limits.
func (b *backend) client() *http.Client { return fshttp.NewClient(b.ctx) }

// config is what a backend asks for its options: ours, then rclone's defaults.
// Neither a configuration file nor the environment is behind it, and what a
// backend wants to store is forgotten.
type config struct {
	given map[string]string
	info  *rclone.RegInfo
}

// Get is configmap.Getter's.
func (c config) Get(name string) (string, bool) {
	if v, ok := c.given[name]; ok {
		return v, true
	}
	for i := range c.info.Options {
		if o := &c.info.Options[i]; o.Name == name && o.Default != nil {
			plain := rclone.Option{Name: name, Default: o.Default}
			return plain.String(), true
		}
	}
	return "", false
}

// Set is configmap.Setter's.
func (config) Set(string, string) {}

var _ configmap.Mapper = config{}

// start makes rclone's Fs of root; isFile says that root is one file, and the
// Fs the directory around it. Connecting ends when ctx does.
func (b *backend) start(ctx context.Context, root string, options map[string]string) (f rclone.Fs, isFile bool, err error) {
	given := map[string]string{}
	for name, value := range options {
		i := slices.IndexFunc(b.info.Options, func(o rclone.Option) bool { return o.Name == name })
		if i < 0 {
			return nil, false, fault.New(fault.Invalid, "option %q: this source has none of that name", name)
		}
		if b.info.Options[i].IsPassword && value != "" {
			if value, err = obscure.Obscure(value); err != nil {
				return nil, false, fault.Mark(fault.Internal, err)
			}
		}
		given[name] = value
	}
	defer context.AfterFunc(ctx, b.stop)()
	err = b.set.try(ctx, func() error {
		f, err = b.info.NewFs(b.ctx, "source", root, config{given, b.info})
		isFile = errors.Is(err, rclone.ErrorIsFile)
		if isFile || err == nil {
			return nil
		}
		return startFault(err)
	})
	return f, isFile, err
}

// startFault is remoteFault for what is wrong before a tree can be asked:
// unless the network says so, it is the options, for which rclone has words but
// no kinds.
func startFault(err error) error {
	marked := remoteFault(err)
	var network net.Error
	if !fault.Is(marked, fault.Unavailable) || statusOf(err) != 0 || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return marked
	}
	return fault.New(fault.Invalid, "options: %w", err)
}

// close ends what the backend has running.
func (b *backend) close(list ...rclone.Fs) error {
	for _, f := range list {
		if f == nil {
			continue
		}
		if shut := f.Features().Shutdown; shut != nil {
			ctx, cancel := context.WithTimeout(b.with(context.Background()), 5*time.Second)
			_ = shut(ctx)
			cancel()
		}
	}
	b.stop()
	return nil
}
