#!/bin/sh
# Builds the image of a node and prints its size. With PLATFORMS it builds for
# several architectures and pushes, which needs Docker's buildx and IMAGE:
#
#   PLATFORMS=linux/amd64,linux/arm64 IMAGE=registry.example.net/vipilot deploy/image.sh
set -eu
cd "$(dirname "$0")/.."
wrong() { echo "image: $1" >&2; exit 2; }
[ $# = 0 ] || wrong "takes no arguments; VERSION, IMAGE and PLATFORMS are variables"
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || true)}
[ -n "$version" ] || wrong "this is no clone of the repository: say which VERSION it is"
[ -z "${PLATFORMS:-}" ] || [ -n "${IMAGE:-}" ] || wrong "what is built for PLATFORMS is pushed: say where to, such as IMAGE=registry.example.net/vipilot"
command -v docker >/dev/null || wrong "docker is not installed"
image=${IMAGE:-vipilot}:$version
set -- -f deploy/Dockerfile -t "$image" --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" --build-arg "CREATED=$(git log -1 --format=%cI 2>/dev/null || true)"
buildx=$(docker buildx version 2>/dev/null || true)
if [ -n "${PLATFORMS:-}" ]; then
    [ -n "$buildx" ] || wrong "PLATFORMS needs Docker's buildx, which is not installed (Debian 13: apt install docker-buildx)"
    docker buildx build --platform "$PLATFORMS" --push "$@" .
    list=$(docker buildx imagetools inspect "$image" --format '{{range .Manifest.Manifests}}{{if ne .Platform.OS "unknown"}}{{.Platform.OS}}/{{.Platform.Architecture}} {{.Digest}}
{{end}}{{end}}' 2>/dev/null) || list=$PLATFORMS # one platform, and nothing said of where it is from
    echo "$list" | while read -r platform digest; do
        size=$(docker buildx imagetools inspect --raw "$image${digest:+@$digest}" | tr ',{' '\n\n' | sed -n 's/.*"size": *\([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n }')
        echo "$image for $platform: $size bytes, packed"
    done
    exit
fi
if [ -n "$buildx" ]; then
    docker buildx build --load "$@" .
else # the classic builder does not know its platform by itself
    platform=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}')
    DOCKER_BUILDKIT=0 docker build --build-arg "BUILDPLATFORM=$platform" "$@" .
fi
docker image inspect --format '{{index .RepoTags 0}}: {{.Size}} bytes' "$image"
