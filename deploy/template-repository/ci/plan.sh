#!/bin/sh
# ci/plan.sh BASE: what this tree would change against the commit or branch
# BASE, as Markdown.
set -eu
cd "$(dirname "$0")/.."
commit=$(git rev-parse --verify --quiet "${1:?name the branch or commit to compare with}^{commit}") ||
	{ echo "plan: there is no commit $1 here; fetch it" >&2; exit 1; }
exec vipilot plan fleet --base "git+file://$(git rev-parse --show-toplevel)?ref=$commit&path=fleet" --markdown
