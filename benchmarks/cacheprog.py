"""What `cacheprog` and `trace` cost on a warm `go build std`, beside go alone and beside the least that any such program costs, in one run.

python benchmarks/cacheprog.py

Writes its section of docs/benchmarks.md. The cache is made for it (about a minute), outside of any other.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from go_cache_safeguard.flows.cacheprog_command import command_line
from go_cache_safeguard.flows.trace import tracer
from page import machine, write_section

ROUNDS = 15
ALONE = "protocol alone"
"""The peer: `protocol_alone.c` speaks the protocol, and neither proves nor notes anything."""
PEER = Path(__file__).with_name("protocol_alone.c")
STARTS = 15
GOALS = {"cacheprog": "1.25", "cacheprog --command": "1.25", "trace": "1.10", "trace --keys": "1.10"}
COMMAND = str(Path(sys.executable).with_name("go-cache-safeguard"))


def main() -> None:
    """Measure, and write the section."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        environ = prepare(folder)
        subprocess.run(["cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", PEER, "-o", folder / "alone"], check=True)
        progs = {
            "native": "",
            ALONE: str(folder / "alone"),
            "cacheprog": f"{COMMAND} cacheprog",
            "cacheprog --command": command_line(()),
            "trace": tracer(folder / "traces"),
        }
        taken: dict[str, list[Taken]] = {name: [] for name in (*progs, "trace --keys")}
        for number in range(-2, ROUNDS):
            for name, prog in progs.items():
                one = build(folder, environ | {"GOCACHEPROG": prog})
                if number >= 0:
                    taken[name].append(one)
            if number >= 0:
                taken["trace --keys"].append(Taken(keyed(folder, environ), None))
        starts = [start(environ) for _ in range(STARTS)]
        lookups = count(folder, environ)
    show(taken, starts, lookups)


class Taken(NamedTuple):
    """What one build took.

    Attributes:
        wall: Seconds.
        cpu: Seconds of go and of what it started; None if something else was in it, too.
    """

    wall: float
    cpu: float | None


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


def build(folder: Path, environ: dict[str, str]) -> Taken:
    """One build."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(["go", "build", "std"], cwd=folder / "module", env=environ, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


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


def show(taken: dict[str, list[Taken]], starts: list[float], lookups: int) -> None:
    """Replace the section."""
    native = [one.wall for one in taken["native"]]
    lines = [
        (
            f"`python benchmarks/cacheprog.py`: warm `go build std`, {lookups} lookups, {ROUNDS} rounds by turns. `trace` is the time of the go"
            f" command under it, without what `trace` itself does before and afterwards. `{ALONE}` is the peer, a program in C that answers"
            " lookups and neither proves nor notes anything: the least that any GOCACHEPROG costs."
        ),
        "",
        "| | least, ms | median, ms | least CPU, ms | beside go alone, median of the pairs | goal | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    ratios: dict[str, float] = {}
    for name, builds in taken.items():
        walls = [one.wall for one in builds]
        cpus = [one.cpu * 1000 for one in builds if one.cpu is not None]
        ratios[name] = statistics.median(mine / theirs for mine, theirs in zip(walls, native, strict=True))
        goal = GOALS.get(name, "")
        met = ("met" if ratios[name] <= float(goal) else "**not met**") if goal else ""
        lines.append(
            f"| {name} | {min(walls) * 1000:.0f} | {statistics.median(walls) * 1000:.0f} | {f'{min(cpus):.0f}' if cpus else ''} | "
            f"{ratios[name]:.2f} | {goal} | {met} |"
        )
    lines.append(
        f"| `cacheprog`, until it answers | {min(starts) * 1000:.0f} | {statistics.median(starts) * 1000:.0f} | | | 80 ms | "
        f"{'met' if min(starts) < 0.08 else '**not met**'} |"
    )
    if ratios[ALONE] > float(GOALS["trace"]):
        lines += [
            "",
            f"The goal of `trace` is below what the protocol alone costs ({ratios[ALONE]:.2f}): no GOCACHEPROG can meet it.",
        ]
    write_section("cacheprog", "\n".join([*lines, "", machine()]))


if __name__ == "__main__":
    main()
