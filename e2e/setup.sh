#!/usr/bin/env bash
# Installs the programs that tests and demo run, where they are missing. No
# service is started by it: the lab runs daemons of its own, in namespaces.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin:/usr/local/go/bin"

packages=()
need() { # PROGRAM PACKAGE…
    command -v "$1" >/dev/null || packages+=("${@:2}")
}
need haproxy haproxy
need keepalived keepalived
need dockerd docker.io
need iptables iptables
need ip iproute2
need /usr/lib/frr/bgpd frr
need vtysh frr
need bird bird2
need curl curl
need jq jq
need wrk wrk # benchmarks
need pgrep procps
need ssh openssh-client # engines over ssh
need sshd openssh-server
need git git
need gpg gnupg # signed commits
need gcc gcc libc6-dev # go test -race
need make make
need chromium chromium fonts-dejavu-core # the page
need promtool prometheus # alert rules; the policy below keeps the server from starting
need debootstrap debootstrap # HAProxy 3.0, see trixie/
need systemd-analyze systemd # the unit
need man man-db # manual pages
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
    need apparmor_parser apparmor # Docker starts no container without it
fi

command -v go >/dev/null || { echo "setup: Go is not installed: see https://go.dev/dl/" >&2; exit 1; }
[ ${#packages[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "setup: missing ${packages[*]}; run as root to install" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "setup: missing ${packages[*]}; only Debian's apt is known here" >&2; exit 1; }

# policy-rc.d with exit code 101 keeps packages from starting their services.
policy=/usr/sbin/policy-rc.d
kept=
if [ -e "$policy" ]; then
    kept=$(mktemp "$policy.XXXXXX")
    mv "$policy" "$kept"
fi
restore() { if [ -n "$kept" ]; then mv "$kept" "$policy"; else rm -f "$policy"; fi; }
trap restore EXIT
trap 'exit 1' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

echo "setup: installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
