package git

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// verify wants a commit signed by one of the signers. An SSH key must have been
// allowed when the commit was made, as git has it; an OpenPGP key must be valid now.
func (s signers) verify(commit *object.Commit) error {
	if commit.PGPSignature == "" {
		return fmt.Errorf("commit %s is not signed, and the source wants allowed signers", commit.Hash)
	}
	message, err := signedPart(commit)
	if err != nil {
		return fmt.Errorf("commit %s: %w", commit.Hash, err)
	}
	check := s.verifyPGP
	if strings.HasPrefix(commit.PGPSignature, "-----BEGIN SSH SIGNATURE-----") {
		check = s.verifySSH
	}
	if err := check(commit.PGPSignature, message, commit.Committer.When); err != nil {
		return fmt.Errorf("commit %s is refused: %w", commit.Hash, err)
	}
	return nil
}

// signedPart is the commit without its signature.
func signedPart(commit *object.Commit) ([]byte, error) {
	bare := new(plumbing.MemoryObject)
	if err := commit.EncodeWithoutSignature(bare); err != nil {
		return nil, err
	}
	r, err := bare.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (s signers) verifySSH(armored string, message []byte, at time.Time) error {
	signature, err := parseSSHSignature(armored)
	if err != nil {
		return err
	}
	if signature.namespace != "git" {
		return fmt.Errorf("it is signed for the namespace %q, not for git", signature.namespace)
	}
	if err := signature.verify(message); err != nil {
		return err
	}
	why := "its key is not among the allowed signers"
	for _, signer := range s.ssh {
		refusal := signer.refuses(signature.key, at)
		if refusal == "" {
			return nil
		}
		if signer.holds(signature.key, at) {
			why = refusal
		}
	}
	return errors.New(why)
}

func (s signers) verifyPGP(armored string, message []byte, _ time.Time) error {
	_, err := openpgp.CheckArmoredDetachedSignature(s.pgp, strings.NewReader(string(message)), strings.NewReader(armored), nil)
	if err != nil {
		return fmt.Errorf("its OpenPGP signature: %w", err)
	}
	return nil
}
