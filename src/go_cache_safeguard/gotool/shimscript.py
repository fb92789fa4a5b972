"""The small `go` that stands in front of the real one.

Knows:     its text, and how it is told from any other program of that name.
Called by: `flows.shim`.
Never:     is more than a turnstile: whatever is not `go clean` with a cache flag goes to the next go in PATH at once.
Source:    POSIX sh only, so that it starts in a millisecond or two; measured in benchmarks/shim.py. Where flags of GOFLAGS come from:
           cmd/go/internal/cfg/cfg.go `EnvFile`; `go env -w` writes them there.
"""

import shlex
from collections.abc import Sequence

MARK = ".go-cache-safeguard-shim"
"""A file beside the script: whoever looks for the real go passes over directories that have it."""
FIRST = "#!/bin/sh\n# go-cache-safeguard shim"
"""How a script of ours begins."""

_TEXT = """ 1: made by `go-cache-safeguard shim install`, taken away by `shim remove`.
# All goes to the next go in PATH, but `go clean` with -cache, -modcache, -testcache or -fuzzcache: that is
# checked, planned, and moved to quarantine, from which it can be put back.
set -f
real=
before=$IFS
IFS=:
for folder in $PATH; do
    case $folder in /*) ;; *) continue ;; esac
    if [ -x "$folder/go" ] && [ -f "$folder/go" ] && [ ! -e "$folder/{mark}" ]; then
        real=$folder/go
        break
    fi
done
IFS=$before
set +f
if [ -z "$real" ]; then
    echo "go-cache-safeguard shim: there is no other go in PATH" >&2
    exit 127
fi
case ${{1-}} in
clean) word=clean ;;
-C | --C) word=${{3-}} ;;
-C=* | --C=*) word=${{2-}} ;;
*) exec "$real" "$@" ;;
esac
[ "$word" = clean ] || exec "$real" "$@"
flags=${{GOFLAGS-}}
file=${{GOENV:-${{XDG_CONFIG_HOME:-${{HOME-}}/.config}}/go/env}}
if [ -z "$flags" ] && [ -f "$file" ] && [ -r "$file" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in GOFLAGS=*) flags=${{line#GOFLAGS=}} ;; esac
    done <"$file"
fi
case " $* $flags " in
*cache*) ;;
*) exec "$real" "$@" ;;
esac
if [ ! -x {python} ]; then
    echo "go-cache-safeguard shim: {plain} is gone, so nothing was removed" >&2
    echo "hint: install go-cache-safeguard again and run \\`shim install\\`, or delete $0 and {mark} beside it" >&2
    exit 13
fi
exec {command} shim clean --real "$real" -- "$@"
"""


def make_script(command: Sequence[str]) -> str:
    """The text of the script.

    Args:
        command: How the guard is started: an absolute path, and its arguments.

    Raises:
        ValueError: It is not an absolute path, or holds what cannot be written into a script.
    """
    if not command or not command[0].startswith("/") or any("\n" in word or "\0" in word for word in command):
        raise ValueError("the guard needs an absolute path, without line breaks")
    plain = "".join(char if char.isalnum() or char in "/._-+@ " else "?" for char in command[0])
    return FIRST + _TEXT.format(mark=MARK, python=shlex.quote(command[0]), plain=plain, command=shlex.join(command))


def is_ours(text: str) -> bool:
    """Whether a file's beginning is that of a script of ours."""
    return text.startswith(FIRST)
