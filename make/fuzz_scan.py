"""Compare both twins of the scanner with the strict reader, on very many hostile streams, with every access to memory checked.

    PYTHONPATH=tests python make/fuzz_scan.py [STREAMS] [SEED] [--fast]

So are both twins of a lane, on real sockets. The compiled twin is built with the address and undefined behaviour sanitizers of gcc,
and this program starts itself again with their library loaded first. `--fast` leaves the sanitizers out. The first difference, or the
first bad access, ends it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from go_cache_safeguard.redis.fast import Fast, fast_calls, scan_python
from go_cache_safeguard.redis.resp import Limits
from go_cache_safeguard.redis.rules import Rules, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table
from redislanes import PYTHON, play, steps
from redislanes import compiled as lane_twin
from redisstreams import Twin, compiled, expected, forms, stream

CHECKED = ("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
STREAMS, EVERY = 200_000, 100_000
_LANES = 20
"""How many streams are compared for each lane."""


def compare(twin: Twin, streams: int, seed: int) -> None:
    """Make streams, and let all three say how far they are harmless."""
    table = load_table()
    plain = fast_calls(table, Rules(), soon_ms=1_000)
    protected = fast_calls(table, Rules(protect=parse_patterns("session:*")), soon_ms=0)
    small = Fast(protected.calls, limits=Limits(arguments=3, argument_bytes=9, request_bytes=20), timed=protected.timed)
    sent = forms(plain, table)
    random = Random(seed)  # noqa: S311 - a seed, so that a difference can be seen again
    both = PYTHON, lane_twin(twin.module)
    size = taken = requests = whole = 0
    began = time.monotonic()
    for number in range(1, streams + 1):
        data = stream(random, sent)
        fast = (plain, protected, small)[number % 3]
        wanted, found = expected(data, fast)
        if not wanted == scan_python(data, fast) == twin(data, fast):
            raise SystemExit(f"{data!r}: {wanted}, {scan_python(data, fast)}, {twin(data, fast)}")
        if number % _LANES == 0:
            happens = steps(random, sent, 3)
            one, other = (play(of, happens, (plain, protected, small)) for of in both)
            if one != other:
                raise SystemExit(f"{happens!r}: {one}, {other}")
        size, taken, requests, whole = (
            size + len(data),
            taken + wanted[0],
            requests + len(found),
            whole + (wanted[0] == len(data)),
        )
        if number % EVERY == 0 or number == streams:
            sys.stderr.write(
                f"{number:,} streams of {size:,} bytes alike; {requests:,} harmless requests, {taken:,} bytes, "
                f"{whole:,} streams harmless to their end; {time.monotonic() - began:.0f} s\n"
            )


def main(words: list[str]) -> None:
    """Build, start again with the library of the sanitizers, compare."""
    built = os.environ.get("SCAN_TWIN")
    numbers = [int(word) for word in words if word != "--fast"]
    if built:
        compare(Twin(Path(built)), *numbers)
        return
    numbers = [*numbers, *(STREAMS, 1)[len(numbers) :]]
    with tempfile.TemporaryDirectory(prefix="safeguard-fuzz-") as folder:
        if "--fast" in words:
            compare(Twin(compiled(Path(folder))), *numbers)
            return
        made = compiled(Path(folder), *CHECKED)
        library = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        settings = {
            "SCAN_TWIN": str(made),
            "LD_PRELOAD": library.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps what it has until it ends
            "PYTHONMALLOC": "malloc",  # so that each object has borders of its own
        }
        command = [sys.executable, str(Path(__file__).resolve()), *map(str, numbers)]
        sys.exit(subprocess.run(command, env=os.environ | settings, check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
