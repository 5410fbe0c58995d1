#!/bin/sh
# ci/install.sh: vipilot, and the daemons whose parsers it asks, where they are
# missing. Without the daemons validate still finds everything but their own objections.
set -eu
version=${VIPILOT_VERSION:-latest}
command -v vipilot >/dev/null || GOBIN=/usr/local/bin go install "github.com/vipilot/vipilot@$version"
missing=
for program in haproxy keepalived; do
	PATH=$PATH:/usr/sbin command -v $program >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
	apt-get update -qq
	# shellcheck disable=SC2086 # names without spaces
	apt-get install -y -qq --no-install-recommends $missing
fi
