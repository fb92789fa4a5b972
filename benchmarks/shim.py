"""How much the small `go` in front of the real one costs each command.

Run: `PYTHONPATH=tests python benchmarks/shim.py [--rounds N]`. Both in turn, in one run: `go version` as it is, and through the shim.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from page import machine, write_section

_EACH = 20


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        folder, state = Path(scratch) / "shim", Path(scratch) / "state"
        environ = {
            **os.environ,
            "GO_CACHE_SAFEGUARD_STATE_DIR": str(state),
            "GOCACHE": f"{scratch}/cache",
            "GOTOOLCHAIN": "local",
        }
        command = [sys.executable, "-m", "go_cache_safeguard", "shim", "install", "--dir", str(folder)]
        subprocess.run(command, env=environ, check=True, capture_output=True)
        through = environ | {"PATH": f"{folder}:{environ['PATH']}"}
        plain, shimmed = [], []
        for _ in range(rounds):
            plain.append(_once(environ))
            shimmed.append(_once(through))
    added = [(after - before) * 1000 for before, after in zip(plain, shimmed, strict=True)]
    before, after = statistics.median(plain) * 1000, statistics.median(shimmed) * 1000
    write_section(
        "shim",
        "\n".join(
            [
                f"`python benchmarks/shim.py`: `go version`, median of {rounds} rounds of {_EACH}, as it is and through the shim in turn.",
                "",
                "| | ms |",
                "| --- | ---: |",
                f"| `go version` | {before:.1f} |",
                f"| through the shim | {after:.1f} |",
                f"| added, median of the pairs (goal: under 15) | {statistics.median(added):.1f} |",
                "",
                machine(),
            ]
        ),
    )


def _once(environ: dict[str, str]) -> float:
    started = time.perf_counter()
    for _ in range(_EACH):
        subprocess.run(["/usr/bin/env", "go", "version"], env=environ, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) / _EACH


if __name__ == "__main__":
    main()
