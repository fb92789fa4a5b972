"""Send a hundred thousand spans with secrets in every place through the sampler, and look for them in what is exported.

Run: `make fuzz`, or `python make/fuzz_redaction.py [spans] [seed]`. A secret that is found is printed with what is around it.
"""

import sys
from time import process_time

from canaries import leaks


def main(spans: int = 100_000, seed: int = 1) -> None:
    """Fuzz, and say what was found."""
    for part in range(0, spans, 5_000):
        found = leaks(seed + part, min(5_000, spans - part), b"a key")
        if found:
            sys.exit(f"seed {seed + part}: {found[:3]}")
    sys.stdout.write(f"{spans:,} spans, no secret found, {process_time():.0f} s of CPU\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
