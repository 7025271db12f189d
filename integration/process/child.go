package process

import "os/exec"

// StartChild starts cmd as cmd.Start does. On Linux the kernel kills it when this process dies first.
func StartChild(cmd *exec.Cmd) error {
	cmd.SysProcAttr = dieWithParent()
	return start(cmd)
}
