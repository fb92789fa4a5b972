"""How fast a large cache is seen through, from the index and from nothing, beside `du` and `find`.

Run: `python benchmarks/xray.py [--rounds N] [--entries N]`. The cache is made up, of real archives: those of the standard library's
small packages and of a module that was compiled as if in many checkouts, each under a name of its own and as long, with a hole at its end, as to
make 10 GB of all. The file system gives no more for that than the archives take. All contenders look at the same files in one run,
each a process of its own, its whole life measured. As root also with nothing in memory.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.gocache.archive import build_id_at
from go_cache_safeguard.gocache.inventory import id_half
from page import machine, median, write_section

REPOSITORY = Path(__file__).resolve().parents[1]
SIZE = 10 * 10**9
LARGEST = 48 << 10
"""Bytes: only archives up to that size are copied, so that the copies take little."""
PACKAGES = 40
CHECKOUTS = 90
FIRST, AGAIN = "X-ray, first look ever", "X-ray from the index"
AGED_S = 10 * 86_400


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
    parser.add_argument("--entries", type=int, default=60_000)
    parser.add_argument("--dry", action="store_true", help="print only, and leave the page cache of the machine alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xray-benchmark-") as name:
        scratch = Path(name)
        files, size = make_cache(scratch, asked.entries)
        what = f"{files:,} files ({asked.entries:,} index entries), {size / 1e9:.1f} GB"
        text = section(scratch, asked.rounds, what, cold_too=os.geteuid() == 0 and not asked.dry)
    if asked.dry:
        print(text)
    else:
        write_section("xray", text)


# The cache.


def make_cache(scratch: Path, entries: int) -> tuple[int, int]:
    """Files and bytes of a cache with so many index entries, and half as many outputs."""
    std, own = compiled(scratch)
    root, chance = scratch / "gocache", random.Random(1)  # noqa: S311 - the same cache each time
    for shard in range(256):
        (root / f"{shard:02x}").mkdir(parents=True)
    (root / "README").write_text("This directory holds cached build artifacts from the Go build system.\n")
    (root / "trim.txt").write_text(f"{int(time.time())}")
    nothing = hashlib.sha256().digest()
    (root / nothing[:1].hex() / f"{nothing.hex()}-d").touch()
    outputs, size = entries // 2, 0
    for number in range(outputs):
        if number % 2:
            data = std[number % len(std)]
        else:
            checkout = b"/%05d/" % (number // 2 % CHECKOUTS)
            data = own[number // 2 // CHECKOUTS % len(own)].replace(b"/00000/", checkout)
        actions = [hashlib.sha256(b"action %d %d" % (number, twice)).digest() for twice in range(2)]
        mark = build_id_at(data[:4096])
        if mark is None:
            raise SystemExit("an archive has no build ID")
        data = data.replace(mark[0][:20], id_half(actions[0]).encode("ascii"))
        key = hashlib.sha256(b"output %d" % number).digest()
        length = max(len(data), int(chance.expovariate(outputs / SIZE)))
        path = root / key[:1].hex() / f"{key.hex()}-d"
        with path.open("wb") as file:
            file.write(data)
            file.truncate(length)
        size += length
        for action, output, said in zip(actions, (key, nothing), (length, 0), strict=True):
            line = f"v1 {action.hex()} {output.hex()} {said:20d} {time.time_ns():20d}\n"
            (root / action[:1].hex() / f"{action.hex()}-a").write_text(line)
    old = time.time() - AGED_S
    for path in (path for path in root.rglob("*-?") if chance.random() < 0.5):
        os.utime(path, (old, old))
    time.sleep(2.5)  # what is younger is not remembered
    return entries + outputs + 1, size + 175 * entries


def compiled(scratch: Path) -> tuple[list[bytes], list[bytes]]:
    """Small real archives: of the standard library, and of a module with many packages."""
    go = max((REPOSITORY / ".toolchains").glob("go*/go/bin/go"), key=lambda path: path.parts[-4])
    module = scratch / "00000" / "app"
    for number in range(PACKAGES):
        folder = module / f"p{number}"
        folder.mkdir(parents=True)
        body = "\n".join(f"func F{at}(a int) int {{ return a + {at} }}" for at in range(20 + number))
        (folder / "p.go").write_text(f"package p{number}\n\n{body}\n")
    (module / "go.mod").write_text("module example.com/app\n\ngo 1.21\n")
    cache = scratch / "real"
    environ = {
        **os.environ,
        "GOCACHE": str(cache),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    listed = [
        subprocess.run(
            [str(go), "list", "-deps", "-export", "-f", "{{.Export}}", wanted],
            cwd=module,
            env=environ,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for wanted in ("encoding/json", "./...")
    ]
    archives = [[Path(path).read_bytes() for path in paths] for paths in listed]
    shutil.rmtree(cache)
    std, own = ([data for data in found if len(data) <= LARGEST] for found in archives)
    return std, own


# Measuring.


def section(scratch: Path, rounds: int, what: str, *, cold_too: bool) -> str:
    """The whole result as Markdown."""
    root, state = scratch / "gocache", scratch / "state"
    race = {
        FIRST: ours(scratch),
        AGAIN: ours(scratch),
        "`du -s`": ["du", "-s", str(root)],
        "`find -printf`": ["find", str(root), "-printf", "%s %T@ %p\n"],
    }
    rows: dict[str, list[Run]] = {name: [] for name in race}
    for _round in range(rounds):
        for name, command in race.items():
            if name == FIRST:
                shutil.rmtree(state, ignore_errors=True)
            rows[name].append(measure(command, scratch))
            print(name, rows[name][-1], file=sys.stderr)
    lines = [
        f"`python benchmarks/xray.py`: {what}. `status --by project,package,toolchain`, median of {rounds} rounds, each in turn.",
        "",
    ]
    lines += ["| how | wall s | CPU s |", "| --- | ---: | ---: |"]
    lines += [
        f"| {name} | {wall(runs):.2f} | {median([run.cpu_s for run in runs]):.2f} |" for name, runs in rows.items()
    ]
    if cold_too:
        cold = {}
        for name, command in race.items():
            if name == FIRST:
                shutil.rmtree(state, ignore_errors=True)
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
            cold[name] = measure(command, scratch)
            lines.append(f"| {name}, nothing in memory, once | {cold[name].wall_s:.2f} | {cold[name].cpu_s:.2f} |")
        lines += ["", goal("nothing in memory", cold[FIRST].wall_s, 10)]
    lines += ["", goal("from the index", wall(rows[AGAIN]), 1), "", machine()]
    return "\n".join(lines)


def wall(runs: list[Run]) -> float:
    """Median of the seconds."""
    return median([run.wall_s for run in runs])


def goal(name: str, seconds: float, most: float) -> str:
    """A goal, and whether it was met."""
    return f"Goal, {name}: under {most:g} s; {'met' if seconds < most else '**not met**'} ({seconds:.2f} s)."


def ours(scratch: Path) -> list[str]:
    """The command line as a person types it."""
    words = ["status", "--by", "project,package,toolchain", "--gocache", str(scratch / "gocache")]
    return [sys.executable, "-m", "go_cache_safeguard", *words, "--state-dir", str(scratch / "state")]


def measure(command: list[str], scratch: Path) -> Run:
    """Run a command to its end and demand success."""
    environ = os.environ | {"GOMODCACHE": str(scratch / "mod"), "GOTOOLCHAIN": "local"}
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environ)
    _pid, status, used = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed with {process.returncode}")
    return Run(wall_s, used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
