package arch

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// packageBudget is how many packages, the standard library's included, a build
// of the binary may compile. A library that would pass it needs a reason
// beside the new figure: 1,150 held the product without datasets; the six
// backends of rclone that base/source reads through bring 530 more, the SDKs of
// AWS, Google and Azure most of them.
const packageBudget = 1600

// TestBudget holds the weight of the binary: every package compiled is paid for
// by whoever builds it for the first time.
func TestBudget(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "./cmd/firth")
	cmd.Dir = house
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		n++
	}
	t.Logf("cmd/firth compiles %d packages of at most %d", n, packageBudget)
	if n > packageBudget {
		t.Errorf("cmd/firth compiles %d packages, more than %d: a heavy guest has come in; `go list -deps ./cmd/firth` names it", n, packageBudget)
	}
}
