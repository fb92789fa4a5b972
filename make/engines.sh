#!/bin/sh
# Build Jaeger and a Collector from Go modules, once for each state of deploy/engines.
# go.sum names every module's digest, so what is fetched is what was tried; go's own cache makes a second build short.
set -eu

source=deploy/engines
target=.toolchains/engines
newest=$PWD/.toolchains/go1.27.3/go/bin/go

key=$(cat "$source/go.mod" "$source/go.sum" "$source"/collector/*.go make/engines.sh | sha256sum)
if [ "$(cat "$target/.made" 2>/dev/null)" = "$key" ] && [ -x "$target/jaeger" ] && [ -x "$target/collector" ]; then
    touch "$target/.made"
    exit
fi

# The machine's own go, if it is not older than go.mod wants.
wanted=$(sed -n 's/^go //p' "$source/go.mod")
own=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//') || own=
go=$newest
if [ -n "$own" ] && [ "$(printf '%s\n%s\n' "$wanted" "$own" | sort -V | head -n 1)" = "$wanted" ]; then
    go=$(command -v go)
fi

export GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
began=$(date +%s)
mkdir -p "$target"
for engine in collector jaeger; do
    case $engine in
        collector) package=./collector ;;
        jaeger) package=github.com/jaegertracing/jaeger/cmd/jaeger ;;
    esac
    echo "building $engine with $("$go" env GOVERSION): minutes the first time" >&2
    (cd "$source" && "$go" build -trimpath -ldflags='-s -w' -o "../../$target/partial-$engine" "$package")
    mv "$target/partial-$engine" "$target/$engine"
done
echo "built in $(($(date +%s) - began)) s" >&2
printf '%s\n' "$key" >"$target/.made"
