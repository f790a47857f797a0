package source_test

import (
	"testing"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// What reaches into the machine or its network is told from what anybody may
// name.
func TestPrivate(t *testing.T) {
	o := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, test := range []struct {
		spec    source.Spec
		private bool
	}{
		{source.Spec{URL: "/etc"}, true},
		{source.Spec{URL: "file:///etc"}, true},
		{source.Spec{URL: "http://127.0.0.1/"}, true},
		{source.Spec{URL: "http://localhost:80/"}, true},
		{source.Spec{URL: "http://[::1]/"}, true},
		{source.Spec{URL: "http://[::ffff:10.0.0.1]/"}, true},
		{source.Spec{URL: "https://169.254.169.254/latest"}, true},
		{source.Spec{URL: "https://100.64.1.1/"}, true},
		{source.Spec{URL: "webdav+https://192.168.1.1/dav"}, true},
		{source.Spec{URL: "sftp://u:p@10.1.1.1/x"}, true},
		{source.Spec{URL: "sftp://u@8.8.8.8/x"}, true}, // by the machine's own keys
		{source.Spec{URL: "s3:bucket", Options: o("env_auth", "true")}, true},
		{source.Spec{URL: "s3:bucket", Options: o("endpoint", "127.0.0.1:9000")}, true},
		{source.Spec{URL: "gs:bucket", Options: o("service_account_file", "/x")}, true},
		{source.Spec{URL: "azure:box", Options: o("connection_string", "x")}, true},
		{source.Spec{URL: "azure:box", Options: o("sas_url", "https://10.0.0.1/box?sig=x")}, true},
		{source.Spec{URL: "https://8.8.8.8/x"}, false},
		{source.Spec{URL: "sftp://u:p@8.8.8.8/x"}, false},
		{source.Spec{URL: "s3:bucket/prefix", Options: o("access_key_id", "a", "secret_access_key", "b", "env_auth", "false")}, false},
		{source.Spec{URL: "s3:bucket", Options: o("endpoint", "https://8.8.8.8")}, false},
	} {
		what, err := test.spec.Private(t.Context())
		if err != nil || (what != "") != test.private {
			t.Errorf("%s: %q, %v", test.spec, what, err)
		}
	}
	if _, err := (source.Spec{URL: "ftp://host/"}).Private(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Errorf("a scheme nobody speaks: %v", err)
	}
}
