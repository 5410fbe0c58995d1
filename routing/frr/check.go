package frr

import (
	"context"
	"fmt"

	"github.com/vipilot/vipilot/internal/command"
)

// Check has vtysh read a frr.conf, without any daemon. The error says what it
// does not take.
func Check(ctx context.Context, vtysh, file string) error {
	if out, err := command.Run(ctx, vtysh, "-C", "-f", file); err != nil {
		return fmt.Errorf("check %s: %w: %s", file, err, out)
	}
	return nil
}
