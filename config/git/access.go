package git

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
)

// Access says how to identify ourselves and the server. The files are read at
// every fetch, so that a token that was rotated is used at once.
type Access struct {
	TokenFile      string // https: TOKEN or USER:TOKEN
	CAFile         string // https: CAs to trust instead of the system's
	KeyFile        string // ssh: private key without passphrase
	KnownHostsFile string // ssh: known_hosts; "" = ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
}

const dialTimeout = 10 * time.Second

// open begins a conversation with the repository.
func (a Access) open(u URL, limits Limits) (repository, error) {
	if u.Scheme == "file" {
		return openLocal(u.Path)
	}
	endpoint, err := transport.NewEndpoint(u.remote())
	if err != nil {
		return nil, fmt.Errorf("read the URL: %w", err)
	}
	open := a.https
	if u.Scheme == "ssh" {
		open = a.ssh
	}
	client, auth, err := open(u, endpoint)
	if err != nil {
		return nil, err
	}
	session, err := client.NewUploadPackSession(endpoint, auth)
	if err != nil {
		return nil, explain(err)
	}
	return &distant{session: session, limits: limits}, nil
}

func (a Access) https(u URL, _ *transport.Endpoint) (transport.Transport, transport.AuthMethod, error) {
	trusted := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		pem, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, nil, fmt.Errorf("read --git-ca-file: %w", err)
		}
		trusted.RootCAs = x509.NewCertPool()
		if !trusted.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("read --git-ca-file: no certificate in PEM form in %s", a.CAFile)
		}
	}
	client := &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: trusted, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: time.Minute,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Host != via[0].URL.Host || r.URL.Scheme != "https" {
				return fmt.Errorf("the server redirects to %s://%s; name that in the URL if you trust it", r.URL.Scheme, r.URL.Host)
			}
			return nil
		},
	}
	if a.TokenFile == "" {
		return githttp.NewClient(client), nil, nil
	}
	data, err := os.ReadFile(a.TokenFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read --git-token-file: %w", err)
	}
	login := &githttp.BasicAuth{Username: u.User, Password: strings.TrimSpace(string(data))}
	if user, token, both := strings.Cut(login.Password, ":"); both {
		login.Username, login.Password = user, token
	}
	if login.Username == "" {
		login.Username = "git" // GitHub and GitLab look at the token alone
	}
	if login.Password == "" {
		return nil, nil, fmt.Errorf("read --git-token-file: %s is empty", a.TokenFile)
	}
	return githttp.NewClient(client), login, nil
}

func (a Access) ssh(u URL, endpoint *transport.Endpoint) (transport.Transport, transport.AuthMethod, error) {
	if a.KeyFile == "" {
		return nil, nil, errors.New("git+ssh needs a key; name it with --git-key-file")
	}
	pem, err := os.ReadFile(a.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read --git-key-file: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if locked := new(ssh.PassphraseMissingError); errors.As(err, &locked) {
		return nil, nil, fmt.Errorf("read --git-key-file: %s has a passphrase, and nobody is there to type it; use a deploy key without one", a.KeyFile)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read --git-key-file: %s is not a private key", a.KeyFile)
	}
	files := knownHostsFiles(a.KnownHostsFile)
	if len(files) == 0 {
		return nil, nil, errors.New("no known_hosts file is there to check the server's key by; name one with --git-known-hosts-file (ssh-keyscan makes it)")
	}
	known, err := gitssh.NewKnownHostsDb(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("read known_hosts: %w", err)
	}
	user := u.User
	if user == "" {
		user = "git"
	}
	port := endpoint.Port
	if port == 0 {
		port = 22
	}
	return gitssh.DefaultClient, login{&ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, Timeout: dialTimeout,
		HostKeyCallback:   known.HostKeyCallback(),
		HostKeyAlgorithms: known.HostKeyAlgorithms(net.JoinHostPort(endpoint.Host, fmt.Sprint(port))),
	}}, nil
}

// knownHostsFiles are those of OpenSSH that exist, unless one is named.
func knownHostsFiles(named string) []string {
	if named != "" {
		return []string{named}
	}
	candidates := []string{"/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".ssh", "known_hosts"))
	}
	var there []string
	for _, name := range candidates {
		if _, err := os.Stat(name); err == nil {
			there = append(there, name)
		}
	}
	return there
}

// login is one way to log in over ssh.
type login struct{ config *ssh.ClientConfig }

func (login) Name() string                               { return "ssh-public-key" }
func (l login) String() string                           { return l.Name() + " of " + l.config.User }
func (l login) ClientConfig() (*ssh.ClientConfig, error) { c := *l.config; return &c, nil }
