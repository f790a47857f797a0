package sourcetest

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

// Refused takes a port of 127.0.0.1 on which connections are refused until listen
// is called. The port is held all the time: nobody else can get it in between.
func Refused(t testing.TB) (host string, listen func() net.Listener) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	must(err)
	file := os.NewFile(uintptr(socket), "a port that refuses")
	t.Cleanup(func() { file.Close() })
	must(syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	bound, err := syscall.Getsockname(socket)
	must(err)
	host = fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	return host, func() net.Listener {
		t.Helper()
		must(syscall.Listen(socket, syscall.SOMAXCONN))
		l, err := net.FileListener(file)
		must(err)
		return l
	}
}
