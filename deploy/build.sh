#!/bin/sh
# Builds the static binary: build.sh ARCH FILE. VERSION says what it calls
# itself. Neither the directory nor the state of the repository gets into it.
set -eu
CGO_ENABLED=0 GOOS=linux GOARCH=$1 GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFLAGS= \
    exec go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=${VERSION:-dev}" -o "$2" .
