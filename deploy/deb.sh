#!/bin/sh
# Makes the Debian package: deb.sh BINARY VERSION ARCH DIR writes
# DIR/vipilot_VERSION_ARCH.deb. The same input gives the same bytes.
set -eu
binary=$1 version=$2 arch=$3 out=$4
here=$(cd "$(dirname "$0")" && pwd)
: "${SOURCE_DATE_EPOCH:=$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
umask 022

# v1.2.0-3-gabc is after 1.2.0; what has no number is before every release.
version=$(printf %s "$version" | sed -e 's/^v\([0-9]\)/\1/' -e 's/-rc/~rc/' -e 's/-/+/g')
case $version in [0-9]*.*) ;; *) version="0~$version" ;; esac

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
put() { install -D -m "$1" "$2" "$tree/$3"; } # MODE FILE PATH
zip() { mkdir -p "$tree/$(dirname "$2")"; gzip -9n <"$1" >"$tree/$2"; chmod 644 "$tree/$2"; }

put 755 "$binary" usr/bin/vipilot
put 644 "$here/vipilot.service" usr/lib/systemd/system/vipilot.service
put 644 "$here/deb/default" etc/default/vipilot
install -d -m 750 "$tree/etc/vipilot"
put 644 "$here/deb/vipilot.yaml" usr/share/doc/vipilot/examples/vipilot.yaml
put 644 "$here/deb/copyright" usr/share/doc/vipilot/copyright
put 644 "$here/deb/overrides" usr/share/lintian/overrides/vipilot
date=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
printf 'vipilot (%s) unstable; urgency=medium\n\n  * What changed: /usr/share/doc/vipilot/NEWS.md.gz\n\n -- The vipilot authors <vipilot@example.org>  %s\n' "$version" "$date" >"$tree/changes"
zip "$tree/changes" usr/share/doc/vipilot/changelog.gz
zip "$here/../CHANGELOG.md" usr/share/doc/vipilot/NEWS.md.gz
[ -z "${VIPILOT_LICENSES:-}" ] || zip "$VIPILOT_LICENSES" usr/share/doc/vipilot/THIRD_PARTY_LICENSES.gz

# The pages are the same for every architecture, so any vipilot may write them.
${VIPILOT_MAN:-$binary} man -o "$tree/pages"
for page in "$tree"/pages/man1/*.1; do zip "$page" "usr/share/man/man1/$(basename "$page").gz"; done
put 644 "$tree/pages/completions/vipilot.bash" usr/share/bash-completion/completions/vipilot
put 644 "$tree/pages/completions/_vipilot" usr/share/zsh/vendor-completions/_vipilot
put 644 "$tree/pages/completions/vipilot.fish" usr/share/fish/vendor_completions.d/vipilot.fish
rm -rf "$tree/pages" "$tree/changes"

mkdir "$tree/DEBIAN"
size=$(du -sk --exclude=DEBIAN "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" "$here/deb/control" >"$tree/DEBIAN/control"
echo /etc/default/vipilot >"$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do put 755 "$here/deb/$script" "DEBIAN/$script"; done
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz -z3 --build "$tree" "$out/vipilot_${version}_${arch}.deb"
