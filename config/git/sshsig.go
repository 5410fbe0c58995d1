package git

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// sshSignature is what `ssh-keygen -Y sign` makes, and git with
// gpg.format=ssh: PROTOCOL.sshsig of OpenSSH.
type sshSignature struct {
	key       ssh.PublicKey
	namespace string
	hash      string
	signature *ssh.Signature
}

const sshMagic = "SSHSIG"

func parseSSHSignature(armored string) (sshSignature, error) {
	block, _ := pem.Decode([]byte(armored))
	if block == nil || block.Type != "SSH SIGNATURE" || !bytes.HasPrefix(block.Bytes, []byte(sshMagic)) {
		return sshSignature{}, errors.New("the SSH signature cannot be read")
	}
	var wire struct {
		Version   uint32
		Key       []byte
		Namespace string
		Reserved  string
		Hash      string
		Signature []byte
	}
	if err := ssh.Unmarshal(block.Bytes[len(sshMagic):], &wire); err != nil || wire.Version != 1 {
		return sshSignature{}, errors.New("the SSH signature cannot be read")
	}
	key, err := ssh.ParsePublicKey(wire.Key)
	if err != nil {
		return sshSignature{}, fmt.Errorf("the key of the SSH signature cannot be read: %w", err)
	}
	signature := new(ssh.Signature)
	if err := ssh.Unmarshal(wire.Signature, signature); err != nil {
		return sshSignature{}, errors.New("the SSH signature cannot be read")
	}
	return sshSignature{key, wire.Namespace, wire.Hash, signature}, nil
}

// verify checks that the signature's key signed the message. Whether the key may
// is another question.
func (s sshSignature) verify(message []byte) error {
	var digest []byte
	switch s.hash {
	case "sha256":
		sum := sha256.Sum256(message)
		digest = sum[:]
	case "sha512":
		sum := sha512.Sum512(message)
		digest = sum[:]
	default:
		return fmt.Errorf("the SSH signature uses the hash %q; sha256 and sha512 are known", s.hash)
	}
	if s.signature.Format == ssh.KeyAlgoRSA { // RSA with SHA-1
		return errors.New("the SSH signature uses SHA-1")
	}
	signed := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{s.namespace, "", s.hash, digest})...)
	if err := s.key.Verify(signed, s.signature); err != nil {
		return errors.New("the SSH signature does not fit the commit")
	}
	return nil
}
