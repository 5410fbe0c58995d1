package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
	"github.com/vipilot/vipilot/controller"
)

// accessFlags add the flags by which Git is reached.
func accessFlags(flags *pflag.FlagSet, a *git.Access) {
	flags.StringVar(&a.TokenFile, "git-token-file", "", "git+https: file with TOKEN or USER:TOKEN")
	flags.StringVar(&a.CAFile, "git-ca-file", "", "git+https: CAs to trust, PEM (default: the system's)")
	flags.StringVar(&a.KeyFile, "git-key-file", "", "git+ssh: private key without passphrase")
	flags.StringVar(&a.KnownHostsFile, "git-known-hosts-file", "", "git+ssh: known_hosts to check the server by (default: OpenSSH's)")
}

// load reads the SOURCE a user named: a directory, or one commit of a Git
// repository, of which nothing stays behind. What inForce says, see [config.LoadOver].
func load(ctx context.Context, source string, access git.Access, inForce *config.Config) (*config.Config, error) {
	if !git.IsURL(source) {
		dir, err := directory(source)
		if err != nil {
			return nil, err
		}
		return config.LoadOver(dir, inForce)
	}
	u, err := git.Parse(source)
	if err != nil {
		return nil, usageError{err}
	}
	dir, err := os.MkdirTemp("", "vipilot-git-")
	if err != nil {
		return nil, fmt.Errorf("make directory for the checkout: %w", err)
	}
	defer os.RemoveAll(dir)
	fetched, err := git.NewSource(git.Options{URL: u, Access: access, Dir: dir})
	if err != nil {
		return nil, err
	}
	return fetched.Load(ctx, inForce)
}

// follow makes the source that `run` follows.
func follow(source, stateDir string, access git.Access, every time.Duration, log *slog.Logger) (controller.Source, error) {
	if !git.IsURL(source) {
		return directory(source)
	}
	u, err := git.Parse(source)
	if err != nil {
		return nil, usageError{err}
	}
	if every < time.Second {
		return nil, usageError{fmt.Errorf("--sync-interval %s is too short; 1s is the least", every)}
	}
	return git.NewSource(git.Options{
		URL: u, Access: access, Dir: filepath.Join(stateDir, "git"), Interval: every, Logger: log.With("component", "git"),
	})
}

// directory is the SOURCE of a user who named one.
func directory(source string) (config.Dir, error) {
	info, err := os.Stat(source)
	switch {
	case err != nil:
		return "", fmt.Errorf("open configuration: %w", err)
	case !info.IsDir():
		return "", usageError{fmt.Errorf("%s is a file; name the directory that holds the configuration", source)}
	}
	return config.Dir(source), nil
}
