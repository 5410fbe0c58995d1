#!/usr/bin/env bash
# Makes a Debian 13 tree, for its HAProxy 3.0 and FRR 10 beside this machine's
# own, from that of image/setup.sh. It is kept: /var/cache/vipilot/trixie, about
# 450 MB.
set -euo pipefail
root=${VIPILOT_TRIXIE:-/var/cache/vipilot/trixie}
packages="haproxy frr iproute2 procps"
"$(dirname "$0")/../image/setup.sh"
slim=${VIPILOT_SLIM:-/var/cache/vipilot/trixie-slim}
of=$(cat "$slim/.complete" "$0" | sha256sum)
[ "$(cat "$root/.complete" 2>/dev/null)" != "$of" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "setup: run as root to make $root" >&2; exit 1; }
echo "setup: making a Debian 13 tree in $root"
rm -rf "$root"
cp -a --reflink=auto "$slim" "$root"
# shellcheck disable=SC2016,SC2086
unshare --mount --propagation private sh -c '
    root=$1; shift
    rm "$root/etc/apt/apt.conf.d/offline"
    printf "#!/bin/sh\nexit 101\n" >"$root/usr/sbin/policy-rc.d"; chmod 755 "$root/usr/sbin/policy-rc.d"
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --bind /etc/resolv.conf "$root/etc/resolv.conf" &&
    DEBIAN_FRONTEND=noninteractive exec chroot "$root" apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io "$@"
' sh "$root" $packages >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; echo "setup: installing $packages failed, see $root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb
echo "$of" >"$root/.complete" # what it was made of
