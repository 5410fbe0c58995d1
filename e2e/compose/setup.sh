#!/usr/bin/env bash
# Gets Docker Compose, which runs deploy/compose.yaml in the tests: that of
# Debian 13, by the tree of image/setup.sh, since Debian 12 has version 1 alone.
# It is kept: /var/cache/vipilot/docker-compose, 64 MB.
set -euo pipefail
slim=${VIPILOT_SLIM:-/var/cache/vipilot/trixie-slim}
to=$(dirname "$slim")/docker-compose
[ ! -x "$to" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "setup: run as root to make $to" >&2; exit 1; }
"$(dirname "$0")/../image/setup.sh"
echo "setup: getting Docker Compose"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2016
unshare --mount --propagation private sh -c '
    mount --bind "$2" "$1/tmp" && mount --bind /etc/resolv.conf "$1/etc/resolv.conf" &&
    exec chroot "$1" sh -c "cd /tmp && { apt-get download docker-compose || { apt-get update && apt-get download docker-compose; }; }"
' sh "$slim" "$work" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; echo "setup: the download of docker-compose failed" >&2; exit 1; }
dpkg-deb --extract "$work"/docker-compose_*.deb "$work/tree"
mv "$work/tree/usr/libexec/docker/cli-plugins/docker-compose" "$to.new"
mv "$to.new" "$to" # whole or not at all
