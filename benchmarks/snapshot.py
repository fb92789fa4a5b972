"""How fast a snapshot with a manifest is made, beside the recipe that people use for that and beside a plain copy.

Run it on an otherwise idle machine, on a cache that nobody writes:

    python benchmarks/snapshot.py [GOCACHE] [--rounds 3]

Without a cache it builds one with the newest toolchain. All contenders read the same files in the same run, interleaved; each is a
process of its own, its whole life measured. Ours waits until its archive is on the disk; the others do not, and before each of
them the disk is given time to write what the one before left. The result goes into docs/benchmarks.md.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fsck import Run, build_cache, measure
from page import machine, median, verdict, write_section

OURS = "ours, `snapshot create -o x.tar`"
CLASSIC = "`tar` + `find` + `sha256sum`, the recipe"
TUNED = "the same, deterministic, and `openssl` for hashing"
COPY = "`cp -a`"
DURABLE_COPY = "`cp -a`, and `sync -f` so that it is on the disk, too"
DIGEST = "ours, `--sha256`: a SHA-256 of the archive, too"
PACKED = "ours, `--zstd`"
CLASSIC_PACKED = "the recipe, with `zstd -3 -T2`"
VERIFY = "ours, `snapshot verify x.tar`"

_TIMES = "find . -type f -printf '%P %s %m %T@\\n' | LC_ALL=C sort > \"$2/times\""
_SUMS = 'find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > "$2/sums"'
_FAST_SUMS = 'find . -type f -print0 | LC_ALL=C sort -z | xargs -0 openssl dgst -sha256 -r > "$2/sums"'
_FLAGS = "--sort=name --owner=0 --group=0 --numeric-owner --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime"
RECIPE = f'set -e; cd "$1"; tar --format=posix -cf "$2/x.tar" .; {_TIMES}; {_SUMS}; sha256sum "$2/x.tar" > "$2/x.sum"'
TUNED_RECIPE = (
    f'set -e; cd "$1"; tar --format=posix {_FLAGS} -cf "$2/x.tar" .; {_TIMES}; {_FAST_SUMS}; '
    'openssl dgst -sha256 -r "$2/x.tar" > "$2/x.sum"'
)
PACKED_RECIPE = (
    f'set -e; cd "$1"; tar --format=posix -cf - . | zstd -q -3 -T2 -o "$2/x.tar.zst"; {_TIMES}; {_SUMS}; '
    'sha256sum "$2/x.tar.zst" > "$2/x.sum"'
)


def shell(recipe: str, root: Path, out: Path) -> list[str]:
    """The command line of a recipe."""
    return ["sh", "-c", recipe, "sh", str(root), str(out)]


def ours(*arguments: str | Path) -> list[str]:
    """The command line of ours."""
    return [sys.executable, "-m", "go_cache_safeguard", "snapshot", *map(str, arguments), "--quiet"]


def contenders(root: Path, scratch: Path) -> dict[str, Callable[[], Run]]:
    """What runs in each round, in this order; each into an empty directory."""
    environ = {"GO_CACHE_SAFEGUARD_STATE_DIR": str(scratch / "state")}
    kept = scratch / "kept.tar"
    if not kept.exists():
        measure(ours("create", "--gocache", root, "-o", kept), **environ)
    out = scratch / "out"
    return {
        OURS: lambda: measure(ours("create", "--gocache", root, "-o", out / "x.tar"), **environ),
        CLASSIC: lambda: measure(shell(RECIPE, root, out)),
        COPY: lambda: measure(["cp", "-a", str(root), str(out / "copy")]),
        DURABLE_COPY: lambda: measure(shell('cp -a "$1" "$2/copy" && sync -f "$2"', root, out)),
        DIGEST: lambda: measure(ours("create", "--gocache", root, "-o", out / "x.tar", "--sha256"), **environ),
        TUNED: lambda: measure(shell(TUNED_RECIPE, root, out)),
        PACKED: lambda: measure(ours("create", "--gocache", root, "-o", out / "x.tar.zst"), **environ),
        CLASSIC_PACKED: lambda: measure(shell(PACKED_RECIPE, root, out)),
        VERIFY: lambda: measure(ours("verify", kept), **environ),
    }


def compare(root: Path, scratch: Path, rounds: int) -> dict[str, list[Run]]:
    """Let all run, interleaved."""
    race = contenders(root, scratch)
    runs: dict[str, list[Run]] = {name: [] for name in race}
    for number in range(rounds):
        for name, run in race.items():
            shutil.rmtree(scratch / "out", ignore_errors=True)
            (scratch / "out").mkdir()
            os.sync()
            runs[name].append(run())
            print(f"{number + 1}/{rounds} {name}: {runs[name][-1]}", file=sys.stderr)
    return runs


def section(root: Path, scratch: Path, rounds: int) -> Iterator[str]:
    """The result as Markdown."""
    files = [path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    measure(["sh", "-c", 'find "$1" -type f -exec cat {} +', "sh", str(root)])
    runs = compare(root, scratch, rounds)
    wall = {name: median([run.wall_s for run in found]) for name, found in runs.items()}
    ratio = {
        name: median([their.wall_s / our.wall_s for our, their in zip(runs[OURS], found, strict=True)])
        for name, found in runs.items()
    }
    goals = {CLASSIC: 3.0, COPY: 1.0, DURABLE_COPY: 1.0}
    yield f"A real cache of {len(files):,} files, {sum(files) / 1e6:,.0f} MB; {rounds} rounds, interleaved, medians, warm page cache."
    yield machine()
    yield ""
    yield "| what | seconds | CPU s | RSS MB | times as long as ours | goal |"
    yield "| --- | ---: | ---: | ---: | ---: | --- |"
    for name, found in runs.items():
        cpu, rss = median([run.cpu_s for run in found]), max(run.rss_mb for run in found)
        met = verdict(ratio[name], goals[name]) if name in goals else ""
        yield f"| {name} | {wall[name]:.2f} | {cpu:.2f} | {rss:.0f} | {ratio[name]:.2f} | {met} |"
    yield ""
    yield "The recipe gives an archive, a list of sizes and times, a SHA-256 of every file and one of the archive; its archive differs from"
    yield "day to day and from user to user. Ours is always the same and on the disk when it ends; the SHA-256 of its manifest, which is beside"
    yield "it, leaves no bit of it open, and that of the archive itself is made on request."
    yield "Seconds are of the whole process, Python's start and the record in the journal included."
    yield ""
    yield "Again: `python benchmarks/snapshot.py [GOCACHE]`."


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cache", nargs="?", type=Path, help="a GOCACHE that nobody writes; built if not given")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="snapshot-benchmark-") as name:
        scratch = Path(name)
        root = (asked.cache or build_cache(scratch)).resolve()
        write_section("snapshot", "\n".join(section(root, scratch, asked.rounds)))


if __name__ == "__main__":
    main()
