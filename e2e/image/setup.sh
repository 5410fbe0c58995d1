#!/usr/bin/env bash
# Makes what the image's Dockerfile starts from, for a machine that reaches no
# registry: a tree like debian:trixie-slim, with the packages of the image
# downloaded and not installed. It is kept: /var/cache/vipilot/trixie-slim,
# about 250 MB.
set -euo pipefail
root=${VIPILOT_SLIM:-/var/cache/vipilot/trixie-slim}
packages=$(sed -n '/^# packages of the image$/,/^$/s/^    \([a-z][a-z0-9 -]*\) \\$/\1/p' "$(dirname "$0")/../../deploy/Dockerfile")
[ -n "$packages" ] || { echo "setup: deploy/Dockerfile names no packages" >&2; exit 1; }
of=$(echo "$packages" | cat - "$0" | sha256sum)
[ "$(cat "$root/.complete" 2>/dev/null)" != "$of" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "setup: run as root to make $root" >&2; exit 1; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$' || true)
[ -n "$mirror" ] || { echo "setup: apt names no Debian mirror; see /etc/apt/sources.list" >&2; exit 1; }
echo "setup: making a small Debian 13 tree in $root"
rm -rf "$root"
mkdir -p "$root"
failed() { tail -n 5 "$root.log" >&2; echo "setup: $1 failed, see $root.log" >&2; exit 1; }
debootstrap --variant=minbase trixie "$root" "$mirror" >"$root.log" 2>&1 || failed debootstrap
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/usr/share/{doc,info,man}/* "$root"/var/log/*.log
find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name 'locale.alias' -exec rm -rf {} +
# As in Debian's own image: what is installed later leaves these out as well.
printf 'path-exclude /usr/share/%s/*\n' doc info man locale >"$root/etc/dpkg/dpkg.cfg.d/docker"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || cp /etc/resolv.conf "$root/etc/resolv.conf"
trap 'umount "$root/etc/resolv.conf" 2>/dev/null || true' EXIT
# shellcheck disable=SC2086
{ chroot "$root" apt-get update && chroot "$root" apt-get install -y --no-install-recommends --download-only $packages; } >>"$root.log" 2>&1 || failed "the download of $packages"
echo 'Acquire::Retries "0";' >"$root/etc/apt/apt.conf.d/offline" # builds reach no mirror, and need none
echo "$of" >"$root/.complete" # what it was made of
