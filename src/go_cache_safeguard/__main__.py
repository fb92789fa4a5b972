"""Where the process begins: `go-cache-safeguard` and `python -m go_cache_safeguard`.

Knows:     nothing but the command line's entry.
Called by: the console script and the interpreter.
Never:     holds logic.
"""

import gc
import sys

from go_cache_safeguard.cli.app import run

_GARBAGE = 50_000
"""New objects after which cycles are looked for: most commands end before it would pay."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    gc.set_threshold(_GARBAGE)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
