package git

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// sshKey makes a key with ssh-keygen and gives its file and public half.
func sshKey(t testing.TB, kind string) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "comment", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	data, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(data))
}

func (w work) signSSH(key string) string {
	w.t.Helper()
	w.git("add", "-A")
	w.git("-c", "gpg.format=ssh", "-c", "user.signingkey="+key, "-c", "commit.gpgsign=true", "commit", "-q", "--allow-empty", "-S", "-m", "signed")
	return w.git("rev-parse", "HEAD")
}

func TestSSHSigners(t *testing.T) {
	w := newWork(t)
	file := filepath.Join(t.TempDir(), "allowed")
	u := parse(t, "git+file://"+w.dir+"?path=fleet&allowed_signers="+file)
	ann, annPublic := sshKey(t, "ed25519")
	rsa, rsaPublic := sshKey(t, "rsa")
	bob, bobPublic := sshKey(t, "ecdsa")
	unsigned := w.git("rev-parse", "HEAD")
	secret(t, file, "# ours\nann@example.net "+annPublic+"\nrsa@example.net,r2 namespaces=\"git,file\" "+rsaPublic+"\n")
	live := source(t, Options{URL: u})
	wantRevision(t, live, "", "commit "+unsigned+" is not signed")
	good := w.signSSH(ann)
	wantRevision(t, live, good, "")
	good = w.signSSH(rsa)
	wantRevision(t, live, good, "")
	w.commit("unsigned again")
	wantRevision(t, live, good, "is not signed")
	w.signSSH(bob)
	wantRevision(t, live, good, "not among the allowed signers")
	for options, want := range map[string]string{
		`namespaces="file" `:             "not allowed to sign in the namespace git",
		`valid-before="20200101" `:       "not valid any more",
		`valid-after="20990101120000Z" `: "not valid yet",
		`cert-authority `:                "not among the allowed signers",
		`frobnicate `:                    "unknown option",
		`valid-after="soon" `:            "is not a time",
	} {
		secret(t, file, "bob "+options+bobPublic+"\n")
		wantRevision(t, live, good, want)
	}
	secret(t, file, "\n# nobody\n")
	wantRevision(t, live, good, "names nobody")
	secret(t, file, "ann\n")
	wantRevision(t, live, good, ":1: wanted principals")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	wantRevision(t, live, good, "read allowed signers")
	secret(t, file, `bob valid-after="20200101",valid-before="209901010000Z",namespaces="g*" `+bobPublic+"\n")
	wantRevision(t, live, w.git("rev-parse", "HEAD"), "")

	// A signature over something else: the message of a signed commit is changed.
	raw := strings.Replace(w.git("cat-file", "commit", "HEAD"), "\nsigned", "\nforged", 1)
	secret(t, filepath.Join(w.dir, "forged"), raw+"\n")
	forged := w.git("hash-object", "-t", "commit", "-w", "forged")
	w.git("update-ref", "refs/heads/main", forged)
	wantRevision(t, live, live.newest().commit, "does not fit the commit")
}

func TestSSHCertificates(t *testing.T) {
	w := newWork(t)
	authority, authorityPublic := sshKey(t, "ed25519")
	ann, _ := sshKey(t, "ed25519")
	if out, err := exec.Command("ssh-keygen", "-q", "-s", authority, "-I", "ann", "-n", "ann@example.net", "-V", "-1h:+1h", ann+".pub").CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	if err := os.Rename(ann+"-cert.pub", ann+".pub"); err != nil {
		t.Fatal(err)
	}
	commit := w.signSSH(ann + ".pub")
	file := filepath.Join(t.TempDir(), "allowed")
	live := source(t, Options{URL: parse(t, "git+file://"+w.dir+"?path=fleet&allowed_signers="+file)})
	secret(t, file, "*@example.org cert-authority "+authorityPublic+"\n")
	wantRevision(t, live, "", "not among the allowed signers")
	secret(t, file, "*@example.net cert-authority "+authorityPublic+"\n")
	wantRevision(t, live, commit, "")
}

// TestOpenPGPSigners signs with gpg itself, beside a key that Go made.
func TestOpenPGPSigners(t *testing.T) {
	w := newWork(t)
	home, err := os.MkdirTemp("", "gpg") // gpg's sockets want a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GNUPGHOME", home)
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--kill", "all").Run()
		os.RemoveAll(home)
	})
	gpg := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("gpg", append([]string{"--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("gpg %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	gpg("--quick-generate-key", "Ann <ann@example.net>", "rsa2048", "sign", "never")
	w.git("add", "-A")
	w.git("-c", "user.signingkey=ann@example.net", "commit", "-q", "--allow-empty", "-S", "-m", "signed")
	commit := w.git("rev-parse", "HEAD")

	file := filepath.Join(t.TempDir(), "allowed")
	live := source(t, Options{URL: parse(t, "git+file://"+w.dir+"?path=fleet&allowed_signers="+file)})
	_, sshPublic := sshKey(t, "ed25519")
	secret(t, file, "bob "+sshPublic+"\n"+otherPGPKey(t))
	wantRevision(t, live, "", "OpenPGP signature")
	secret(t, file, otherPGPKey(t)+"bob "+sshPublic+"\n"+gpg("--armor", "--export", "ann@example.net"))
	wantRevision(t, live, commit, "")
	secret(t, file, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
	w.put("fleet/vipilot.yaml", fleet+"# 2\n")
	w.commit("another")
	wantRevision(t, live, commit, "has no end")
}

// otherPGPKey is a public key that nobody signs with.
func otherPGPKey(t testing.TB) string {
	t.Helper()
	entity, err := openpgp.NewEntity("Other", "", "other@example.net", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = entity.Serialize(w)
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}

func FuzzSigners(f *testing.F) {
	f.Add("ann@example.net namespaces=\"git\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ", "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----")
	f.Fuzz(func(t *testing.T, list, signature string) {
		_, _ = parseSigners(list)
		if s, err := parseSSHSignature(signature); err == nil {
			_ = s.verify([]byte("x"))
		}
	})
}
