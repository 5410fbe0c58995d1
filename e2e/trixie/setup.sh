#!/usr/bin/env bash
# Makes a Debian 13 tree, for its HAProxy 3.0 beside this machine's own. It is
# kept: /var/cache/vipilot/trixie, about 300 MB.
set -euo pipefail
root=${VIPILOT_TRIXIE:-/var/cache/vipilot/trixie}
[ ! -e "$root/.complete" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "setup: run as root to make $root" >&2; exit 1; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$' || true)
[ -n "$mirror" ] || { echo "setup: apt names no Debian mirror; see /etc/apt/sources.list" >&2; exit 1; }
echo "setup: making a Debian 13 tree in $root"
rm -rf "$root"
mkdir -p "$root"
debootstrap --variant=minbase --include=haproxy trixie "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 5 "$root.log" >&2; echo "setup: debootstrap failed, see $root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb
touch "$root/.complete"
