package app

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// write makes a configuration file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func setting(t *testing.T, all []Setting, key string) Setting {
	t.Helper()
	for _, s := range all {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("no setting %s", key)
	return Setting{}
}

func TestNothingToldIsTheDefault(t *testing.T) {
	home := t.TempDir()
	got, settings, err := Load("", nil, map[string]any{"home": home})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Home = home
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, s := range settings {
		if s.Doc == "" {
			t.Errorf("%s has no doc", s.Key)
		}
		if (s.Origin == "flag") != (s.Key == "home") || s.Key != "home" && s.Origin != "default" {
			t.Errorf("%s is from %s", s.Key, s.Origin)
		}
	}
}

func TestLaterLayersWin(t *testing.T) {
	path := write(t, `
bucket: {size: 1024, age: 1h, contents: 3}
deal: {silence: 90m}
piece: {cache: true}
secret: from the file
`)
	c, settings, err := Load(path, []string{
		"FIRTH_BUCKET_AGE=2h", "FIRTH_BUCKET_CONTENTS=4", "FIRTH_CHAIN_TOKEN=hush", "FIRTH_PIECE_MAX_SIZE=1048576",
		"FIRTH_API=http://not.a.key", "PATH=/bin", "BUCKET_SIZE=9",
	}, map[string]any{"bucket.contents": 5, "listen.api": "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Bucket != (Bucket{Size: 1024, Age: 2 * time.Hour, Contents: 5}) || c.Deal.Silence != 90*time.Minute || !c.Piece.Cache ||
		c.Piece.MaxSize != 1<<20 || c.Chain.Token != "hush" || c.Secret != "from the file" || c.Listen.API != "127.0.0.1:1" {
		t.Errorf("%+v", c)
	}
	for key, want := range map[string]Setting{
		"bucket.size":     {Value: "1024", Origin: path},
		"bucket.age":      {Value: "2h", Origin: "FIRTH_BUCKET_AGE"},
		"bucket.contents": {Value: "5", Origin: "flag"},
		"deal.interval":   {Value: "30s", Origin: "default"},
		"piece.max_size":  {Value: "1048576", Origin: "FIRTH_PIECE_MAX_SIZE"},
		"secret":          {Value: "(hidden)", Origin: path},
		"chain.token":     {Value: "(hidden)", Origin: "FIRTH_CHAIN_TOKEN"},
	} {
		if got := setting(t, settings, key); got.Value != want.Value || got.Origin != want.Origin {
			t.Errorf("%s = %q from %q, want %q from %q", key, got.Value, got.Origin, want.Value, want.Origin)
		}
	}
}

// The file of the home is read wherever the home was named.
func TestConfigOfTheHome(t *testing.T) {
	home := filepath.Dir(write(t, "log: {level: debug}"))
	for name, load := range map[string]func() (Config, []Setting, error){
		"flag":        func() (Config, []Setting, error) { return Load("", nil, map[string]any{"home": home}) },
		"environment": func() (Config, []Setting, error) { return Load("", []string{"FIRTH_HOME=" + home}, nil) },
	} {
		if c, _, err := load(); err != nil || c.Log.Level != "debug" || c.Home != home {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		environ []string
		flags   map[string]any
		say     string
	}{
		"unknown key":       {file: "bucket: {sise: 1}", say: "bucket.sise"},
		"no YAML":           {file: "bucket: [1,", say: "config.yaml"},
		"wrong type":        {file: "bucket: {size: many}", say: "configuration: 'bucket.size'"},
		"wrong duration":    {environ: []string{"FIRTH_BUCKET_AGE=soon"}, say: "configuration: 'bucket.age'"},
		"empty home":        {flags: map[string]any{"home": ""}, say: "home"},
		"unknown role":      {flags: map[string]any{"roles": "api,cook"}, say: "cook"},
		"no address":        {flags: map[string]any{"listen.api": "here"}, say: "listen.api"},
		"no gateway":        {flags: map[string]any{"listen.gateway": "here"}, say: "listen.gateway"},
		"no URL":            {flags: map[string]any{"public_url": "example.org"}, say: "public_url"},
		"ipns router":       {flags: map[string]any{"ipns.routers": "https://a.example,ftp://b"}, say: "ipns.routers"},
		"same ipns router":  {flags: map[string]any{"ipns.routers": "https://a.example,https://a.example/routing/v1"}, say: "twice"},
		"ipns validity":     {flags: map[string]any{"ipns.validity": "1m"}, say: "ipns.validity"},
		"piece rate":        {flags: map[string]any{"gateway.piece_rate": int64(-1)}, say: "gateway.piece_rate"},
		"access":            {flags: map[string]any{"gateway.access": "all"}, say: "gateway.access"},
		"no power of two":   {flags: map[string]any{"piece.max_size": 1000}, say: "piece.max_size"},
		"piece too large":   {flags: map[string]any{"piece.max_size": 128 << 30}, say: "piece.max_size"},
		"one URL for all":   {flags: map[string]any{"piece.url_template": "https://cdn.example/"}, say: "piece.url_template"},
		"min above max":     {flags: map[string]any{"piece.max_size": 1024, "piece.min_size": 2048}, say: "piece.min_size"},
		"no bucket":         {flags: map[string]any{"bucket.size": 0}, say: "bucket.size"},
		"negative duration": {flags: map[string]any{"deal.silence": "-1s"}, say: "deal.silence"},
		"no workers":        {flags: map[string]any{"workers.net": 0}, say: "workers.net"},
		"log level":         {flags: map[string]any{"log.level": "loud"}, say: "log.level"},
		"log format":        {flags: map[string]any{"log.format": "xml"}, say: "log.format"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Load(write(t, c.file), c.environ, c.flags)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, _, err := Load(filepath.Join(t.TempDir(), "absent.yaml"), nil, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a file that was named and is not there: %v", err)
	}
}

// No environment variable may mean two keys.
func TestEnvironmentIsUnambiguous(t *testing.T) {
	seen := map[string]string{}
	for key := range keys(reflect.TypeFor[Config](), "") {
		name := EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
		if other, taken := seen[name]; taken {
			t.Errorf("%s means %s and %s", name, key, other)
		}
		seen[name] = key
		if name == "FIRTH_API" || name == "FIRTH_TOKEN" {
			t.Errorf("%s is the command line's", name)
		}
	}
}

func TestParseRoles(t *testing.T) {
	all, err := ParseRoles(AllRoles)
	if err != nil || len(all) != len(Roles()) {
		t.Fatalf("%v, %v", all, err)
	}
	some, err := ParseRoles("tracker, api,tracker")
	if err != nil || len(some) != 2 || some[0].Name != "tracker" || some[1].Name != "api" {
		t.Errorf("%v, %v", some, err)
	}
	for _, bad := range []string{"", "api,", "all,api", "API"} {
		if _, err := ParseRoles(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
