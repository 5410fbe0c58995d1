#!/bin/sh
# ci/validate.sh [FORMAT]: every fault of the fleet, with its place. FORMAT is
# text, json, github or sarif. Exit code 3: there is one.
set -eu
cd "$(dirname "$0")/.."
exec vipilot validate fleet --strict --format "${1:-text}"
