// Package sourcetest starts real servers for tests of what reads sources.
//
// It promises that a server is this test's own, on loopback, and gone when the
// test ends, even when the test's process is killed. It refuses to be imported
// by anything but tests.
package sourcetest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	bucket    = "dataset"
	accessKey = "firth"
	secretKey = "firth-secret"
)

// S3 starts an S3 server (versitygw over a folder) with one empty bucket. It
// returns the bucket as a source's URL, the options to read it with, and put,
// which makes an object. The server's first start compiles it.
func S3(t testing.TB) (source string, options map[string]string, put func(key string, body []byte)) {
	t.Helper()
	cmd := exec.Command("go", "run", "github.com/firth-project/firth/base/source/sourcetest/bucketd", t.TempDir(), accessKey, secretKey)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stderr = &said
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop.Close()
		_ = cmd.Wait()
		t.Fatalf("the S3 server did not start: %v\n%s", err, said.String())
	}
	endpoint := strings.TrimSpace(line)
	send(t, endpoint+"/"+bucket, nil)
	put = func(key string, body []byte) {
		t.Helper()
		send(t, endpoint+"/"+bucket+"/"+strictly(key), body)
	}
	return "s3:" + bucket, map[string]string{
		"endpoint": endpoint, "access_key_id": accessKey, "secret_access_key": secretKey,
		"region": "us-east-1", "force_path_style": "true",
	}, put
}

// strictly spells a key as signatures have it: all but what RFC 3986 calls
// unreserved is escaped.
func strictly(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if c == '/' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// send makes a signed PUT.
func send(t testing.TB, at string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, at, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Content-Sha256", hash)
	key := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).
		SignHTTP(t.Context(), key, req, hash, "s3", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s", at, res.Status)
	}
}
