# vipilot. `make demo` shows it, `make test` proves it; both want root and Debian.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 20s
DEB_ARCH ?= $(shell go env GOARCH)
DEBIAN13 := TestFirstRequest|TestScale|TestRollingReplacement|TestDrainKeepsRequests|TestDrainByHand|TestControllerKill|TestNewServiceUnderLoad|TestCertificateFile|TestACME|TestNothingLost|TestTierScale
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

.PHONY: help setup build test man deb image release reproduce audit licences unit e2e e2e-upgrade e2e-debian13 demo demo-down race faults bench bench-scale fuzz lint golden screenshots docs clean
help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: ## install what tests and demo need and the machine lacks (apt), and compile their programs
	@e2e/setup.sh
	@go run ./e2e/demo -prepare

build: ## build the static binary bin/vipilot
	VERSION=$(VERSION) deploy/build.sh $$(go env GOHOSTARCH) bin/vipilot

test: setup lint ## everything but most of the fault matrix and e2e-upgrade; fails, and never skips, where something cannot run
	go test -race -timeout 10m ./...
	@$(MAKE) --no-print-directory e2e e2e-debian13

man: build ## manual pages and shell completions, in bin/
	bin/vipilot man -o bin

deb: build ## Debian package of this machine's architecture (DEB_ARCH=arm64 for the other), in bin/
	VERSION=$(VERSION) deploy/build.sh $(DEB_ARCH) bin/linux/$(DEB_ARCH)/vipilot
	VIPILOT_MAN=bin/vipilot deploy/deb.sh bin/linux/$(DEB_ARCH)/vipilot $(VERSION) $(DEB_ARCH) bin

image: ## container image vipilot:VERSION, with its size (PLATFORMS=linux/amd64,linux/arm64 IMAGE=… pushes one for both)
	@VERSION=$(VERSION) deploy/image.sh

release: audit ## what a release holds, for amd64 and arm64, in bin/release
	deploy/release.sh $(VERSION) bin/release

reproduce: ## make the release twice, from nothing and elsewhere, and compare every byte
	deploy/reproduce.sh $(VERSION)

unit: ## tests that need neither root nor daemons
	go test ./...

e2e: ## tests on real daemons, but for most of the fault matrix and e2e-upgrade; RUN=TestScale for one
	@e2e/image/setup.sh && e2e/compose/setup.sh
	VIPILOT_E2E=1 go test -count=1 -p 2 -timeout 30m $(if $(RUN),-v -run '$(RUN)' ./e2e,-skip '^TestUpgrade$$' ./e2e ./vrrp ./...)

e2e-upgrade: setup ## upgrade running nodes of the previous release, which is taken out of the repository's history
	VIPILOT_E2E=1 go test -count=1 -v -timeout 30m -run '^TestUpgrade$$' ./e2e

e2e-debian13: ## what touches HAProxy or FRR, again on Debian 13's 3.0 and 10.3
	@e2e/trixie/setup.sh
	PATH=$(CURDIR)/e2e/trixie:$$PATH VIPILOT_E2E=1 VIPILOT_E2E_HAPROXY=$(CURDIR)/e2e/trixie/haproxy VIPILOT_E2E_ROOT=$${VIPILOT_TRIXIE:-/var/cache/vipilot/trixie} \
	    go test -count=1 -p 2 -timeout 15m -run 'TestE2E|$(DEBIAN13)' ./e2e ./haproxy ./routing/frr

race: setup ## every test with Go's race detector in it, and the nodes' vipilot with it too
	@e2e/image/setup.sh && e2e/compose/setup.sh
	VIPILOT_E2E=1 VIPILOT_E2E_RACE=1 go test -race -count=1 -p 2 -timeout 60m $(if $(RUN),-v -run '$(RUN)' ./e2e,-skip '^TestUpgrade$$' ./e2e ./vrrp ./...)

faults: setup ## the whole fault matrix on real daemons; prints the table and writes docs/faults.md
	VIPILOT_E2E=1 VIPILOT_FAULTS=all go test -count=1 -v -timeout 90m ./e2e/faults -write

demo: setup ## a fleet on this machine, until Ctrl-C (DEMO_ONCE=1: until the story is told)
	@exec go run ./e2e/demo

demo-down: ## end a demo and remove what it left
	@go run ./e2e/demo -down

bench: setup ## print the figures
	@go run ./e2e/bench

bench-scale: setup ## of the figures, those for 1,000 to 50,000 containers on simulated engines
	@go run ./e2e/bench -scale

fuzz: ## every fuzz target for FUZZTIME (20s); what is found stays as a seed in testdata/fuzz
	@grep -rno --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's/:[0-9]*:func / /' | while read -r file name; do \
		echo "fuzz: $$name of $$(dirname "$$file")"; \
		go test -run='^$$' -fuzz="^$$name\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=10x "$$(dirname "$$file")" || exit 1; done

lint: ## gofmt and go vet
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted" >&2; exit 1; }
	go vet ./...

golden: ## write the golden files anew
	go test $$(grep -rl --include='*_test.go' internal/golden . | xargs -n1 dirname | sort -u) -update

screenshots: setup ## take the pictures of docs/images anew
	VIPILOT_E2E=1 VIPILOT_SCREENSHOTS=1 go test -count=1 ./status -run TestE2EPage

docs: ## write the generated documentation anew
	go test ./config -run TestSchemaFiles -update

audit: ## modules unchanged, licences listed, no known vulnerability (VULNDB=file:///… is a copy of the database)
	@deploy/audit.sh

licences: build ## write docs/licences.md anew
	go run ./internal/inventory -page bin/vipilot >docs/licences.md

clean: ## remove what was built
	rm -rf bin
