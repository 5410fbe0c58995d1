// Command authority is an ACME certificate authority for the lab: Pebble, Let's
// Encrypt's own test server, with a name server for it that gives every name
// the same address. It asks on port 80, as HTTP-01 wants it.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

func main() {
	address := flag.String("address", "127.0.0.1", "address to listen on, port 14000, and 8053 for names")
	site := flag.String("site", "", "address that every name stands for")
	cert := flag.String("cert", "", "file for the certificate of the server itself")
	flag.Parse()
	if err := serve(*address, *site, *cert); err != nil {
		fmt.Fprintln(os.Stderr, "authority:", err)
		os.Exit(1)
	}
}

func serve(address, site, certFile string) error {
	logger := log.New(os.Stdout, "", log.LstdFlags)
	names, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{address + ":8053"}, Log: logger})
	if err != nil {
		return err
	}
	names.SetDefaultDNSIPv4(site)
	names.SetDefaultDNSIPv6("")
	go names.Run()
	store := db.NewMemoryStore()
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "lab", ValidityPeriod: 90 * 24 * 3600}})
	validator := va.New(logger, 80, 443, false, address+":8053", store)
	front := wfe.New(logger, store, validator, issuer, []string{"authority.test"}, false, false, 1, 1)
	own, err := selfSigned(address, certFile)
	if err != nil {
		return err
	}
	server := http.Server{Addr: address + ":14000", Handler: front.Handler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}}, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServeTLS("", "")
}

// selfSigned makes the server's own certificate and writes it for its clients.
func selfSigned(address, file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
