package sourcetest

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Environment variables that name the programs behind Azure and GCS: Azurite's
// azurite-blob, and fake-gcs-server. Neither is part of this project.
const (
	AzuriteVar = "FIRTH_TEST_AZURITE"
	FakeGCSVar = "FIRTH_TEST_FAKE_GCS"
)

// The account that every Azurite has.
const (
	azureAccount = "devstoreaccount1"
	azureKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Azure starts Azurite with one empty container and returns what S3 does. The
// test is skipped unless FIRTH_TEST_AZURITE names the program.
func Azure(t testing.TB) (source string, options map[string]string, put func(key string, body []byte)) {
	t.Helper()
	port := emulator(t, AzuriteVar, "listens on", func(port string) []string {
		return []string{"--blobHost", "127.0.0.1", "--blobPort", port, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"}
	})
	endpoint := "http://127.0.0.1:" + port + "/" + azureAccount
	call := func(path, query string, body []byte) {
		t.Helper()
		u := url.URL{Path: "/" + bucket + path}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, endpoint+u.EscapedPath()+query, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
		req.Header.Set("x-ms-version", "2021-12-02")
		if path != "" {
			req.Header.Set("x-ms-blob-type", "BlockBlob")
		}
		signAzure(t, req, len(body))
		expect(t, req, http.StatusCreated)
	}
	call("", "?restype=container", nil)
	put = func(key string, body []byte) {
		t.Helper()
		call("/"+key, "", body)
	}
	return "azure:" + bucket, map[string]string{"account": azureAccount, "key": azureKey, "endpoint": endpoint}, put
}

// signAzure signs a request that has no headers but those of ours: "Authorize
// with Shared Key" of the Blob service's reference.
func signAzure(t testing.TB, req *http.Request, length int) {
	t.Helper()
	size := ""
	if length > 0 {
		size = fmt.Sprint(length)
	}
	text := req.Method + "\n\n\n" + size + "\n\n\n\n\n\n\n\n\n"
	for _, name := range []string{"x-ms-blob-type", "x-ms-date", "x-ms-version"} {
		if v := req.Header.Get(name); v != "" {
			text += name + ":" + v + "\n"
		}
	}
	text += "/" + azureAccount + req.URL.EscapedPath()
	for name, values := range req.URL.Query() {
		text += "\n" + name + ":" + values[0]
	}
	key, err := base64.StdEncoding.DecodeString(azureKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, text)
	req.Header.Set("Authorization", "SharedKey "+azureAccount+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// GCS starts fake-gcs-server with one empty bucket and returns what S3 does. The
// test is skipped unless FIRTH_TEST_FAKE_GCS names the program. It lets anybody
// in.
func GCS(t testing.TB) (source string, options map[string]string, put func(key string, body []byte)) {
	t.Helper()
	port := emulator(t, FakeGCSVar, "server started", func(port string) []string {
		return []string{"-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory"}
	})
	endpoint := "http://127.0.0.1:" + port
	post := func(path, kind string, body []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		expect(t, req, http.StatusOK)
	}
	post("/storage/v1/b", "application/json", []byte(`{"name":"`+bucket+`"}`))
	put = func(key string, body []byte) {
		t.Helper()
		post("/upload/storage/v1/b/"+bucket+"/o?uploadType=media&name="+url.QueryEscape(key), "application/octet-stream", body)
	}
	return "gs:" + bucket, map[string]string{"anonymous": "true", "endpoint": endpoint + "/storage/v1/"}, put
}

func expect(t testing.TB, req *http.Request, status int) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != status {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		t.Fatalf("%s %s: %s: %s", req.Method, req.URL, res.Status, said)
	}
}

// emulator starts the program that a variable names on a free port and waits
// until it says that it is ready. A shell ends it when this process is gone.
func emulator(t testing.TB, variable, ready string, args func(port string) []string) (port string) {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Skipf("%s names no program", variable)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(free.Addr().String())
	free.Close()
	cmd := exec.Command("sh", append([]string{"-c", `"$0" "$@" </dev/null 2>&1 & cat >/dev/null; kill $!`, program}, args(port)...)...)
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
	said := bufio.NewReader(out)
	over := make(chan struct{})
	t.Cleanup(func() {
		stop.Close()
		<-over
		_ = cmd.Wait()
	})
	var before strings.Builder
	for {
		line, err := said.ReadString('\n')
		before.WriteString(line)
		if err != nil {
			close(over)
			t.Fatalf("%s did not start: %v\n%s", program, err, before.String())
		}
		if strings.Contains(line, ready) {
			break
		}
	}
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, said)
	}()
	return port
}
