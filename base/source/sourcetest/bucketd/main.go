// Command bucketd is a real S3 server for tests: versitygw over a folder. It is
// a program of its own because versitygw moves the process into that folder.
// It prints its URL when it is ready, and ends when its standard input does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/metrics"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: bucketd DIR ACCESS_KEY SECRET_KEY")
		os.Exit(2)
	}
	// versitygw prints what it does; only the URL is for whoever waits.
	told := os.Stdout
	os.Stdout = os.Stderr
	if err := run(told, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "bucketd:", err)
		os.Exit(1)
	}
}

func run(told io.Writer, dir, access, secret string) error {
	buckets, attributes := filepath.Join(dir, "buckets"), filepath.Join(dir, "attributes")
	for _, d := range []string{buckets, attributes} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	side, err := meta.NewSideCar(attributes)
	if err != nil {
		return err
	}
	files, err := posix.New(buckets, side, posix.PosixOpts{SideCarDir: attributes, Concurrency: 64, CopyObjectThreshold: 5 << 30})
	if err != nil {
		return err
	}
	account := auth.Account{Access: access, Secret: secret, Role: auth.RoleAdmin}
	meter, err := metrics.NewManager(context.Background(), metrics.Config{ServiceName: "bucketd"})
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	server, err := s3api.New(files, middlewares.RootUserConfig{Access: access, Secret: secret}, "us-east-1",
		auth.NewIAMServiceSingle(account), nil, nil, nil, meter,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithConcurrencyLimiter(1024, 1024), s3api.WithMpMaxParts(10000),
		s3api.WithOnListen(func() { close(ready) }))
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, "s3")
	ended := make(chan error, 1)
	go func() { ended <- server.ServeMultiPort([]string{socket}) }()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	// The server does not tell which port it got, so it listens on a socket
	// and the port is ours.
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go forward(port, socket)
	fmt.Fprintf(told, "http://%s\n", port.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, port.Close(), server.ShutDown())
}

func forward(port net.Listener, socket string) {
	for {
		in, err := port.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", socket)
		if err != nil {
			in.Close()
			continue
		}
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			to.Close()
			from.Close()
		}
		go pass(in, out)
		go pass(out, in)
	}
}
