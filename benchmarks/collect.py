"""How long a collection takes to see what nobody needs: mark and plan, on a made-up cache of 300,000 index entries.

Run: `python benchmarks/collect.py [--rounds N] [--entries N] [--dry]`. A third as many outputs, named by three entries each as in real
caches; half of all is needed by twenty recorded runs, the rest by nobody. `go clean -n -cache` and `find` look at the same files in
the same run; neither knows who needs what. Each contender is a process of its own, whose whole life and memory are measured.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.gc import Wanted, plan_gc
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.uses import record_use
from go_cache_safeguard.tree.root import open_root
from page import machine, median, write_section

RUNS = 20
AGED_S = 10 * 86_400
GOAL_S, GOAL_MB = 5.0, 500


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--measure", type=Path, help="measure one collection in this directory, and print it")
    asked = parser.parse_args()
    if asked.measure is not None:
        print(json.dumps(measure(asked.measure)))
        return
    with tempfile.TemporaryDirectory(prefix="gc-benchmark-") as name:
        scratch = Path(name)
        make_cache(scratch, asked.entries)
        text = section(scratch, asked.rounds, asked.entries)
    if asked.dry:
        print(text)
    else:
        write_section("gc", text)


def make_cache(scratch: Path, entries: int) -> None:
    """A cache, and what recorded runs needed of it."""
    root = scratch / "gocache"
    for shard in range(256):
        (root / f"{shard:02x}").mkdir(parents=True)
    (root / "README").write_text("This directory holds cached build artifacts from the Go build system.\n")
    (root / "trim.txt").write_text(f"{int(time.time())}")
    at_s = time.time() - AGED_S
    needed: list[list[bytes]] = [[] for _ in range(RUNS)]
    for number in range(entries):
        action = sha256(b"action %d" % number).digest()
        content = b"./file%d.go\n" % (number // 3)
        output = sha256(content).digest()
        if number % 3 == 0:
            write(root, f"{output.hex()}-d", content, at_s)
        line = f"v1 {action.hex()} {output.hex()} {len(content):20d} {int(at_s * 1e9):20d}\n"
        write(root, f"{action.hex()}-a", line.encode("ascii"), at_s)
        if number // 3 % 2:
            needed[number % RUNS].append(action)
    record(scratch, needed)


def write(root: Path, name: str, content: bytes, at_s: float) -> None:
    """One file of the cache, last used long ago."""
    path = root / name[:2] / name
    path.write_bytes(content)
    os.utime(path, (at_s, at_s))


def record(scratch: Path, needed: Sequence[Sequence[bytes]]) -> None:
    """Remember the runs as `trace` does."""
    session = session_of(scratch)
    for number, actions in enumerate(needed):
        record_use(
            session,
            project=scratch / f"project{number}",
            command=("build", "./..."),
            toolchain="go1.27.3",
            at_ns=time.time_ns(),
            actions=actions,
        )


def session_of(scratch: Path) -> Session:
    """A session with a state directory of its own."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(scratch), "GOCACHE": str(scratch / "gocache")}
    arguments = {"state.dir": str(scratch / "state")}
    return Session(load_config(environ=environ, cwd=scratch, home=scratch, arguments=arguments), environ, scratch)


def measure(scratch: Path) -> dict[str, float]:
    """One collection in this process: seconds to list the cache, seconds to mark and plan, most memory in MB."""
    session = session_of(scratch)
    began = time.perf_counter()
    with open_root(scratch / "gocache") as root:
        look(session, root)
    looked = time.perf_counter() - began
    began = time.perf_counter()
    found = plan_gc(session, scratch / "gocache", Wanted())
    digest = found.plan.digest
    whole = time.perf_counter() - began
    if not digest or not found.plan.items:
        raise SystemExit("nothing was collected")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"look": looked, "whole": whole, "memory": memory, "items": len(found.plan.items)}


def section(scratch: Path, rounds: int, entries: int) -> str:
    """Run all contenders, and say how they did."""
    environ = {
        **os.environ,
        "GOCACHE": str(scratch / "gocache"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "GOTELEMETRY": "off",
    }
    ours = [
        json.loads(run([sys.executable, __file__, "--measure", str(scratch)], environ)[2]) for _ in range(rounds + 1)
    ]
    peers = {
        "`go clean -n -cache`": ["go", "clean", "-n", "-cache"],
        "`find`, names, sizes and times": ["find", str(scratch / "gocache"), "-printf", "%p %s %T@\\n"],
    }
    rows = []
    for name, command in peers.items():
        if shutil.which(command[0]) is None:
            raise SystemExit(f"{command[0]} is not there")
        told = [run(command, environ)[:2] for _ in range(rounds)]
        rows.append((name, median([one[0] for one in told]), median([one[1] for one in told]), None))
    warm = ours[1:]
    whole, listed = median([one["whole"] for one in warm]), median([one["look"] for one in warm])
    mark = median([one["whole"] - one["look"] for one in warm])
    memory = max(one["memory"] for one in ours)
    lines = [
        (
            f"{entries:,} index entries and {entries // 3:,} outputs; half is needed by {RUNS} recorded runs, "
            f"{int(warm[0]['items']):,} files would go."
        ),
        "",
        "| what | wall s | CPU s | most memory |",
        "|---|---|---|---|",
        f"| `gc`: all of it: list the cache from the index, mark, plan | {whole:.2f} | | {memory:.0f} MB |",
        f"| of it, list the cache | {listed:.2f} | | |",
        f"| of it, mark and plan | {mark:.2f} | | |",
        f"| list the cache for the first time, without an index | {ours[0]['look']:.2f} | | |",
        *(f"| {name} | {wall:.2f} | {cpu:.2f} | |" for name, wall, cpu, _ in rows),
        "",
        (
            f"Goals: mark and plan under {GOAL_S:g} s: {'met' if mark < GOAL_S else '**not met**'}; "
            f"under {GOAL_MB} MB: {'met' if memory < GOAL_MB else '**not met**'}."
        ),
        "",
        machine(),
    ]
    return "\n".join(lines)


def run(command: list[str], environ: dict[str, str]) -> tuple[float, float, bytes]:
    """Wall seconds, CPU seconds and standard output of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


if __name__ == "__main__":
    main()
