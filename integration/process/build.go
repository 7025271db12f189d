package process

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build compiles baton/cmd/baton of the module around the working directory into dir and returns the binary's path. Flags
// are more flags for go build, such as -race.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "baton")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	args := append([]string{"build", "-o", binary}, flags...)
	out, err := exec.CommandContext(ctx, "go", append(args, "baton/cmd/baton")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build baton/cmd/baton: %w\n%s", err, out)
	}
	return binary, nil
}
