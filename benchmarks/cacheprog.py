"""What `cacheprog` and `trace` cost on a warm `go build std`, beside go alone, in one run.

python benchmarks/cacheprog.py

Writes its section of docs/benchmarks.md. The cache is made for it (about a minute), outside of any other.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from go_cache_safeguard.flows.cacheprog_command import command_line
from go_cache_safeguard.flows.trace import tracer
from page import machine, write_section

ROUNDS = 15
STARTS = 15
GOALS = {"cacheprog": "1.25", "cacheprog --command": "1.25", "trace": "1.10", "trace --keys": "1.10"}
COMMAND = str(Path(sys.executable).with_name("go-cache-safeguard"))


def main() -> None:
    """Measure, and write the section."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        environ = prepare(folder)
        progs = {
            "native": "",
            "cacheprog": f"{COMMAND} cacheprog",
            "cacheprog --command": command_line(()),
            "trace": tracer(folder / "traces"),
        }
        walls: dict[str, list[float]] = {name: [] for name in (*progs, "trace --keys")}
        for number in range(-2, ROUNDS):
            for name, prog in progs.items():
                seconds = build(folder, environ | {"GOCACHEPROG": prog})
                if number >= 0:
                    walls[name].append(seconds)
            if number >= 0:
                walls["trace --keys"].append(keyed(folder, environ))
        starts = [start(environ) for _ in range(STARTS)]
        lookups = count(folder, environ)
    show(walls, starts, lookups)


def prepare(folder: Path) -> dict[str, str]:
    """A warm cache of std, and the environment that uses it."""
    (folder / "traces").mkdir()
    (folder / "module").mkdir()
    (folder / "module" / "go.mod").write_text("module example.com/m\n\ngo 1.21\n")
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GO", "XDG"))},
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "GOENV": "off",
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(folder / "state"),
    }
    build(folder, environ)
    return environ


def build(folder: Path, environ: dict[str, str]) -> float:
    """Seconds of one build."""
    began = time.perf_counter()
    subprocess.run(["go", "build", "std"], cwd=folder / "module", env=environ, check=True)
    return time.perf_counter() - began


def keyed(folder: Path, environ: dict[str, str]) -> float:
    """Seconds of one build whose keys are looked at, as `trace --keys` says itself."""
    command = [COMMAND, "trace", "--keys", "--json", "--", "go", "build", "std"]
    done = subprocess.run(command, cwd=folder / "module", env=environ, check=True, capture_output=True)
    return float(json.loads(done.stdout)["wall_ns"]) / 1e9


def start(environ: dict[str, str]) -> float:
    """Seconds until it says what it can do."""
    began = time.perf_counter()
    inlet, ours = os.pipe()
    theirs, outlet = os.pipe()
    with subprocess.Popen([COMMAND, "cacheprog"], env=environ, stdin=inlet, stdout=outlet):
        os.read(theirs, 4096)
        seconds = time.perf_counter() - began
        for descriptor in (inlet, ours, theirs, outlet):
            os.close(descriptor)
    return seconds


def count(folder: Path, environ: dict[str, str]) -> int:
    """Lookups of one build."""
    done = subprocess.run(
        [COMMAND, "trace", "--json", "--", "go", "build", "std"],
        cwd=folder / "module",
        env=environ,
        check=True,
        capture_output=True,
    )
    return len(json.loads(done.stdout)["lookups"])


def show(walls: dict[str, list[float]], starts: list[float], lookups: int) -> None:
    """Replace the section."""
    native = walls["native"]
    lines = [
        (
            f"`python benchmarks/cacheprog.py`: warm `go build std`, {lookups} lookups, {ROUNDS} rounds by turns. `trace` is the time of the go"
            " command under it, without what `trace` itself does before and afterwards."
        ),
        "",
        "| | least, ms | median, ms | beside go alone, median of the pairs | goal |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, taken in walls.items():
        paired = statistics.median(mine / theirs for mine, theirs in zip(taken, native, strict=True))
        lines.append(
            f"| {name} | {min(taken) * 1000:.0f} | {statistics.median(taken) * 1000:.0f} | {paired:.2f} | {GOALS.get(name, '')} |"
        )
    lines.append(
        f"| `cacheprog`, until it answers | {min(starts) * 1000:.0f} | {statistics.median(starts) * 1000:.0f} | | 80 ms |"
    )
    write_section("cacheprog", "\n".join([*lines, "", machine()]))


if __name__ == "__main__":
    main()
