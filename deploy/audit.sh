#!/bin/sh
# Are the modules those of go.sum, are their licences listed, and has none a
# known vulnerability? The last asks the Go vulnerability database, and what
# cannot be asked is a failure. VULNDB may name a copy of it, such as a clone of
# github.com/golang/vulndb: VULNDB=file:///src/vulndb/data/osv. VULNDB=reachable
# is for CI on machines without a way out: it says loudly what was not looked for.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go mod verify
deploy/build.sh "$(go env GOHOSTARCH)" "$work/vipilot"
go run ./internal/inventory -page "$work/vipilot" >"$work/licences.md"
diff docs/licences.md "$work/licences.md" || { echo "audit: docs/licences.md is out of date; make licences" >&2; exit 1; }
echo "audit: the licences of $(grep -c '^| [a-z]*\.' docs/licences.md) modules are listed"

database=${VULNDB:-https://vuln.go.dev}
if [ "$database" = reachable ]; then
    database=https://vuln.go.dev
    if ! curl -fsS -m 20 -o /dev/null "$database/index/db.json"; then
        echo "audit: ############ NOT LOOKED FOR KNOWN VULNERABILITIES ############" >&2
        echo "audit: $database cannot be reached from here; run make audit where it can, before a release" >&2
        exit 0
    fi
fi
go run golang.org/x/vuln/cmd/govulncheck@v1.8.0 -db "$database" -format json ./... >"$work/report.json" ||
    { echo "audit: govulncheck did not run; is $database reachable? VULNDB names another copy" >&2; exit 1; }
go run ./internal/inventory -advisories <"$work/report.json"
