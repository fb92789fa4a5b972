"""More than ten thousand cases for the API, made from its own description: `make api-fuzz`.

The first answer that is a fault of the server, or is not as described, ends it with an error that shows the case. `SEED=n` sends others.
"""

import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from apifuzz import Fuzzed, fuzz

LEAST = 10_000
EACH = 190
"""Good cases, and bad ones, for each operation and process."""
PROCESSES = 2


def one(number: int) -> Fuzzed:
    """What one process does."""
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(Path(folder), each=EACH, number=number)


def main() -> int:
    """Run them, and say how many there were."""
    first, began = int(os.environ.get("SEED", "1")), time.monotonic()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        found = list(pool.map(one, range(first, first + PROCESSES)))
    cases = sum(fuzzed.cases for fuzzed in found)
    statuses: Counter[int] = sum((fuzzed.statuses for fuzzed in found), Counter())
    told = Fuzzed(cases, statuses).told()
    sys.stdout.write(f"api-fuzz: {told} in {time.monotonic() - began:.0f} s, SEED={first}: no fault\n")
    if cases < LEAST:
        sys.stderr.write(f"these are fewer than {LEAST}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
