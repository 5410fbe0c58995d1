#!/bin/sh
# Builds the image of a node and prints its size. With PLATFORMS it builds for
# several architectures and pushes, which needs Docker's buildx and IMAGE:
#
#   PLATFORMS=linux/amd64,linux/arm64 IMAGE=registry.example.net/vipilot deploy/image.sh
set -eu
cd "$(dirname "$0")/.."
version=${VERSION:-$(git describe --tags --always --dirty)}
image=${IMAGE:-vipilot}:$version
set -- -f deploy/Dockerfile -t "$image" --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(git rev-parse HEAD)" --build-arg "CREATED=$(git log -1 --format=%cI)"
if [ -n "${PLATFORMS:-}" ]; then
    exec docker buildx build --platform "$PLATFORMS" --push "$@" .
fi
if docker buildx version >/dev/null 2>&1; then
    docker buildx build --load "$@" .
else # the classic builder does not know its platform by itself
    platform=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}')
    DOCKER_BUILDKIT=0 docker build --build-arg "BUILDPLATFORM=$platform" "$@" .
fi
docker image inspect --format '{{index .RepoTags 0}}: {{.Size}} bytes' "$image"
