#!/bin/sh
# Makes the release twice, in two directories and from nothing (each with a
# build cache of its own), and compares every byte: reproduce.sh VERSION
set -eu
cd "$(dirname "$0")/.."
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for copy in here/vipilot somewhere/else/entirely; do
    mkdir -p "$work/$copy"
    git ls-files -coz --exclude-standard | xargs -0 cp --parents -t "$work/$copy"
    echo "reproduce: building in $work/$copy, which takes a minute or two"
    GOCACHE=$work/cache "$work/$copy/deploy/release.sh" "$1" "$work/$copy/bin" >"$work/sums"
    rm -rf "$work/cache"
done
diff -r "$work/here/vipilot/bin" "$work/somewhere/else/entirely/bin"
cat "$work/sums"
echo "reproduce: both are the same, byte by byte"
