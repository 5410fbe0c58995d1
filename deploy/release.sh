#!/bin/sh
# Makes what a release holds: release.sh VERSION DIR writes, for amd64 and
# arm64, the binary, a tarball, the Debian package and the bill of materials,
# and for all of them THIRD_PARTY_LICENSES and SHA256SUMS. The same source and
# SOURCE_DATE_EPOCH give the same bytes, in whatever directory (make reproduce).
# ARCHS="amd64" leaves the other out.
set -eu
version=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -f "$out"/vipilot-* "$out"/vipilot_* "$out"/*.cdx.json "$out"/SHA256SUMS

go build -o "$work/inventory" ./internal/inventory
archs=${ARCHS:-amd64 arm64}
for arch in $archs; do
    VERSION=$version deploy/build.sh "$arch" "$out/vipilot-$version-linux-$arch"
done
# Manual pages are written by the one that runs here.
VIPILOT_MAN=$out/vipilot-$version-linux-$(go env GOHOSTARCH)
if [ ! -e "$VIPILOT_MAN" ]; then
    VIPILOT_MAN=$work/native
    VERSION=$version deploy/build.sh "$(go env GOHOSTARCH)" "$VIPILOT_MAN"
fi
export VIPILOT_MAN
"$VIPILOT_MAN" man -o "$work/pages"

for arch in $archs; do
    name=vipilot-$version-linux-$arch
    "$work/inventory" -version "$version" -sbom "$out/$name" >"$out/$name.cdx.json"
    "$work/inventory" -texts "$out/$name" >"$work/licences-$arch"
    VIPILOT_LICENSES=$work/licences-$arch deploy/deb.sh "$out/$name" "$version" $arch "$out" >/dev/null

    tree=$work/$name
    mkdir -p "$tree"
    install -m 755 "$out/$name" "$tree/vipilot"
    install -m 644 LICENSE README.md CHANGELOG.md deploy/vipilot.service "$tree"
    install -m 644 "$work/licences-$arch" "$tree/THIRD_PARTY_LICENSES"
    cp -R "$work/pages/man1" "$work/pages/completions" "$tree"
    chmod -R u=rwX,go=rX "$tree"
    tar -C "$work" -c --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$name" |
        gzip -9n >"$out/$name.tar.gz"
done
# One list for all architectures: it must be the same.
for arch in $archs; do
    cmp "$work/licences-${archs%% *}" "$work/licences-$arch"
    cp "$work/licences-$arch" "$out/THIRD_PARTY_LICENSES"
done
cd "$out"
sha256sum vipilot-* vipilot_* THIRD_PARTY_LICENSES >SHA256SUMS
cat SHA256SUMS
