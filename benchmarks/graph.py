"""How long the graph of a thousand packages takes, beside what `go list` takes to list the same packages.

Run: `python benchmarks/graph.py [--rounds N] [--packages N]`. A module of small packages is made up, each importing up to eight earlier
ones, and built once with the newest toolchain. Contenders are processes of their own, by turns, their whole life measured: `graph` as a table and
as JSON, with every entry, price and edit of every package; `go list -deps -json`, which knows nothing of the cache; and
`go list -deps -export -json`, which does, and builds what is missing.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from page import machine, median, write_section

REPOSITORY = Path(__file__).resolve().parents[1]
GO = REPOSITORY / ".toolchains" / "go1.27.3" / "go" / "bin" / "go"


@dataclass(frozen=True, slots=True)
class Run:
    """One process's life.

    Attributes:
        wall_s: Seconds from start to end.
        cpu_s: Seconds of processor time, its children included.
    """

    wall_s: float
    cpu_s: float


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packages", type=int, default=1000)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graph-benchmark-") as name:
        text = section(Path(name), asked.rounds, asked.packages)
    if asked.dry:
        print(text)
    else:
        write_section("graph", text)


def section(scratch: Path, rounds: int, packages: int) -> str:
    """Make the module, let the contenders run, and tell."""
    module = scratch / "module"
    make_module(module, packages)
    environ = {
        "PATH": f"{GO.parent}:{os.environ['PATH']}",
        "HOME": str(scratch),
        "GOCACHE": str(scratch / "cache"),
        "GOMODCACHE": str(scratch / "mod"),
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOFLAGS": "",
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(scratch / "state"),
        "PYTHONPATH": str(REPOSITORY / "src"),
    }
    measure([str(GO), "build", "./..."], module, environ)
    ours = [sys.executable, "-m", "go_cache_safeguard", "graph"]
    contenders = {
        "`graph`": ours,
        "`graph --json`": [*ours, "--json"],
        "`go list -deps -json`": [str(GO), "list", "-deps", "-json", "./..."],
        "`go list -deps -export -json`": [str(GO), "list", "-deps", "-export", "-json", "./..."],
    }
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, command in contenders.items():
            runs[name].append(measure(command, module, environ))
    lines = [
        f"{packages:,} packages, go1.27.3; {rounds} rounds by turns, medians. {machine()}",
        "",
        "| how | wall s | CPU s | wall, of `go list -deps -export -json` |",
        "| --- | ---: | ---: | ---: |",
    ]
    peer = median([run.wall_s for run in runs["`go list -deps -export -json`"][1:]])
    for name, found in runs.items():
        wall_s, cpu_s = median([run.wall_s for run in found[1:]]), median([run.cpu_s for run in found[1:]])
        lines.append(f"| {name} | {wall_s:.2f} | {cpu_s:.2f} | {wall_s / peer:.2f} |")
    return "\n".join(lines)


def make_module(module: Path, packages: int) -> None:
    """Packages of a few lines; each but the first imports up to eight of the eighty before it."""
    chance = random.Random(1)  # noqa: S311 - the same module each time
    module.mkdir()
    (module / "go.mod").write_text("module example.com/m\n\ngo 1.21\n")
    for number in range(packages):
        needs = sorted({chance.randrange(max(0, number - 80), number) for _ in range(8)}) if number else []
        imports = "".join(f'import "example.com/m/p{need}"\n' for need in needs)
        total = " + ".join(["1", *(f"p{need}.F{need}()" for need in needs)])
        folder = module / f"p{number}"
        folder.mkdir()
        (folder / "p.go").write_text(f"package p{number}\n\n{imports}\nfunc F{number}() int {{ return {total} }}\n")


def measure(command: list[str], cwd: Path, environ: dict[str, str]) -> Run:
    """Run a command to its end and demand success."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd, env=environ)
    _pid, status, used = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed with {process.returncode}")
    return Run(wall_s, used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
