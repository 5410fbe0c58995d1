package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh/knownhosts"
)

// explain says what a failure of the library means to an operator.
func explain(err error) error {
	var unknown *knownhosts.KeyError
	var refused *net.OpError
	var odd *plumbing.UnexpectedError
	if errors.As(err, &odd) { // it does not unwrap
		err = odd.Err
	}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown) && len(unknown.Want) > 0:
		return errors.New("the server's host key is not the one in known_hosts: somebody may be in between")
	case errors.As(err, &unknown):
		return errors.New("the server's host key is not in known_hosts; add it (ssh-keyscan) after comparing it")
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return errors.New("the server wants a login; give --git-token-file")
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return errors.New("the server refuses the login; see --git-token-file")
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return errors.New("the server knows no such repository, or hides it from this login")
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return errors.New("the repository is empty: nothing was committed yet")
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the server took too long")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("the server broke off: %w", err)
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return fmt.Errorf("the revision is not complete: %w", err)
	case errors.As(err, &refused):
		return fmt.Errorf("the server cannot be reached: %w", refused)
	}
	return err
}
