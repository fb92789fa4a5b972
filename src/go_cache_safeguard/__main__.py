"""Where the process begins: `go-cache-safeguard` and `python -m go_cache_safeguard`.

Knows:     the command line's entry, and the one word for which it takes too long to load.
Called by: the console script and the interpreter.
Never:     holds logic.
"""

import gc
import os
import sys

_GARBAGE = 50_000
"""New objects after which cycles are looked for: most commands end before it would pay."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    gc.set_threshold(_GARBAGE)
    if sys.argv[1:2] == ["cacheprog"]:
        from go_cache_safeguard.flows.cacheprog_start import start  # noqa: PLC0415 - go waits until it has begun

        code = start(sys.argv[2:])
        if code is not None:
            os._exit(code)  # a thread may still wait for a server that never answers
    from go_cache_safeguard.cli.app import run  # noqa: PLC0415 - takes five times as long to load

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
