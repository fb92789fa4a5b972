# Look at this machine's Go build cache with three commands that change nothing. Called by `make run`.
#
# The check `reuse` builds a throw-away program, so a few entries are added; go's own trim is kept from running meanwhile.
# Where there is no Go, or nothing cached yet, everything is shown on a small real cache in a scratch folder.
set -eu

tool=$(pwd)/.venv/bin/go-cache-safeguard
python=$(pwd)/.venv/bin/python
failed=0

# 0 and 10 to 13 are answers about the cache; anything else is a failure of the tool or of the machine.
look() {
    printf '\n$ go-cache-safeguard %s\n' "$*"
    code=0
    "$tool" "$@" </dev/null || code=$?
    meaning=$("$python" -c 'import sys; from go_cache_safeguard.core.errors import ExitCode as E
code = int(sys.argv[1]); print(E(code).meaning if code in list(E) else "not a code of ours")' "$code")
    printf -- '-> exit code %s: %s\n' "$code" "$meaning"
    case $code in 0 | 10 | 11 | 12 | 13) ;; *) failed=$code ;; esac
}

entries() {
    find "$1" -mindepth 2 -maxdepth 2 -name '*-a' 2>/dev/null | head -n 1
}

make_scratch_cache() {
    scratch=$(mktemp -d)
    trap 'rm -rf -- "$scratch"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir "$scratch/hello"
    printf 'module example.com/hello\n\ngo 1.21\n' >"$scratch/hello/go.mod"
    printf 'package main\n\nfunc main() { println("hello") }\n' >"$scratch/hello/main.go"
    export GOCACHE="$scratch/cache" GO_CACHE_SAFEGUARD_STATE_DIR="$scratch/state"
    export GOFLAGS= GOENV=off GOWORK=off GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0
    echo "Building a small program with $("$1" version), to have a cache to look at."
    (cd "$scratch/hello" && "$1" build -o hello .) </dev/null
}

if go=$(command -v go); then
    if cache=$("$go" env GOCACHE </dev/null) && [ -n "$(entries "$cache")" ]; then
        echo "Looking at $cache"
    else
        echo "There is Go here, and nothing in its build cache yet (GOCACHE is ${cache:-not known})."
        echo "Run \`go build\` in a module of yours and come back; until then:"
        make_scratch_cache "$go"
    fi
else
    echo "There is no \`go\` on PATH. Get one from https://go.dev/dl or with your system's packages; until then:"
    "${MAKE:-make}" --no-print-directory --silent .toolchains/go1.27.3/.made
    PATH=$(pwd)/.toolchains/go1.27.3/go/bin:$PATH
    export PATH
    make_scratch_cache "$(command -v go)"
fi

look status
look check
look fsck
exit "$failed"
