"""How fast a Go build cache is verified, beside what people use for that today.

Run it on an otherwise idle machine:

    python benchmarks/fsck.py [GOCACHE] [--rounds 3]

Without a cache it builds one with the newest toolchain. All contenders read the same files in the same run, interleaved, so
that what else the machine does hits all of them. Each is a process of its own, started anew, its whole life measured. The
result goes to stdout and between the markers in docs/benchmarks.md; a goal that was missed is printed as missed.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import pack

from go_cache_safeguard.gocache.inventory import id_half
from go_cache_safeguard.gocache.layout import SHARDS, action_name, output_name

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "benchmarks.md"
BEGIN, END = "<!-- fsck:begin -->", "<!-- fsck:end -->"
TARGETS = ("linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64")
MIB = 1 << 20
LATER_S = 3600
"""Synthetic files are seconds old; a look an hour from now may remember them."""

README = b"This directory holds cached build artifacts from the Go build system.\n"


@dataclass(frozen=True, slots=True)
class Run:
    """One process's life.

    Attributes:
        wall_s: Seconds from start to end.
        cpu_s: Seconds of processor time, its children included.
        rss_mb: Most memory that one process of it had, in MB.
    """

    wall_s: float
    cpu_s: float
    rss_mb: float


def measure(command: list[str], **environ: str) -> Run:
    """Run a command to its end and demand success."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | environ)
    _pid, status, used = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed with {process.returncode}")
    return Run(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def look(root: str, index: str, level: str) -> None:
    """What `measure` starts as ours: a look from an empty process."""
    from go_cache_safeguard.gocache.disk import Level, inspect  # noqa: PLC0415 - its import is part of what is measured

    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    now_ns = time.time_ns() + LATER_S * 10**9
    found = inspect(fd, index_path=Path(index), level=Level(level), now_ns=now_ns)
    bad = [finding for finding in found.findings if finding.severity != "PASS"]
    if bad:
        raise SystemExit(f"the cache is damaged: {bad[0]}")


def ours(root: Path, index: Path, level: str) -> list[str]:
    """The command that looks."""
    return [sys.executable, str(Path(__file__).resolve()), "--look", str(root), str(index), level]


def hashing(root: Path, program: str) -> list[str]:
    """The command that people write down in wikis."""
    return ["sh", "-c", f'find "$1" -type f -print0 | xargs -0 -P2 {program}', "sh", str(root)]


def drop_caches() -> None:
    """Make the next reader go to the disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")


# Caches.


def build_cache(directory: Path) -> Path:
    """Build std and cmd for several targets with the newest toolchain: at least 1.5 GB."""
    go = max((REPOSITORY / ".toolchains").glob("go*/go/bin/go"), key=lambda path: path.parts[-4])
    root = directory / "gocache"
    environ = os.environ | {
        "GOCACHE": str(root),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    for target in TARGETS:
        goos, goarch = target.split("/")
        command = [str(go), "build", "std", "cmd"]
        subprocess.run(command, env=environ | {"GOOS": goos, "GOARCH": goarch}, cwd=go.parents[1] / "src", check=True)
    return root


def make_member(name: bytes, content: bytes) -> bytes:
    """One member of an ar archive."""
    header = name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"644".ljust(8)
    return (
        header
        + b"%d" % len(content)
        + b" " * (10 - len(b"%d" % len(content)))
        + b"`\n"
        + content
        + b"\n" * (len(content) % 2)
    )


def make_archive(action: bytes, package: bytes) -> bytes:
    """A small archive on which all three seals hold."""
    name = b"go:cuinfo.packagename." + package
    head = 8 + 12 + 19 * 4
    start = head + len(name)
    symbol = pack("<IIHBBBII", len(name), head, 0, 12, 0, 0, 0, 1)
    blocks = [start] * 7 + [start + len(symbol)] * 12
    code = b"\x00go120ld" + bytes(12) + pack("<19I", *blocks) + name + symbol
    mark = bytes(41)
    lines = b'go object linux amd64 go1.27.3 GOAMD64=v1 X:regabi\nbuild id "' + mark + b'"\n'
    blank = (
        b"!<arch>\n" + make_member(b"__.PKGDEF", lines + b"\n$$B\n") + make_member(b"_go_.o", lines + b"\n!\n" + code)
    )
    build_id = f"{id_half(action)}/{id_half(sha256(blank).digest())}".encode()
    return blank.replace(b'"' + mark + b'"', b'"' + build_id + b'"')


def make_synthetic(root: Path, files: int) -> None:
    """A valid cache of so many files: a third archives, a third their entries, a third entries of the one empty output."""
    for shard in SHARDS:
        (root / shard).mkdir(parents=True)
    (root / "README").write_bytes(README)
    nothing = sha256(b"").digest()
    (root / output_name(nothing)).touch()
    for number in range(files // 3):
        action = sha256(b"action %d" % number).digest()
        data = make_archive(action, b"example.com/m/p%d" % (number % 3000))
        (root / output_name(sha256(data).digest())).write_bytes(data)
        put_entry(root, action, sha256(data).digest(), len(data))
        put_entry(root, sha256(b"stdout %d" % number).digest(), nothing, 0)


def put_entry(root: Path, action: bytes, output: bytes, size: int) -> None:
    """Write an index entry as `go` does."""
    text = f"v1 {action.hex()} {output.hex()} {size:20d} {1_795_337_500_000_000_000:20d}\n"
    (root / action_name(action)).write_bytes(text.encode("ascii"))


# Measuring.


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        name: What ran.
        runs: Each round.
        size: Bytes that it had to read.
    """

    name: str
    runs: list[Run]
    size: int

    @property
    def wall_s(self) -> float:
        """Median."""
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        """Median."""
        return statistics.median(run.cpu_s for run in self.runs)

    @property
    def rss_mb(self) -> float:
        """Most."""
        return max(run.rss_mb for run in self.runs)

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.size / 1e6 / self.wall_s


FIRST = "ours, first look ever: all three seals"
AGAIN = "ours, `--all`: every byte read again"
CHANGED = "ours, incremental, nothing changed"
COREUTILS = "`find \\| xargs -P2 sha256sum`"
OPENSSL = "`find \\| xargs -P2 openssl dgst -sha256`"
RESTIC = "`restic check --read-data`"


def contenders(root: Path, scratch: Path) -> dict[str, Callable[[], Run]]:
    """What runs in each round, in this order."""
    index = scratch / "index"
    repository = {"RESTIC_REPOSITORY": str(scratch / "restic"), "RESTIC_PASSWORD": "x", "RESTIC_PROGRESS_FPS": "0"}

    def first() -> Run:
        index.unlink(missing_ok=True)
        return measure(ours(root, index, "changed"))

    return {
        FIRST: first,
        COREUTILS: lambda: measure(hashing(root, "sha256sum")),
        AGAIN: lambda: measure(ours(root, index, "all")),
        OPENSSL: lambda: measure(hashing(root, "openssl dgst -sha256")),
        CHANGED: lambda: measure(ours(root, index, "changed")),
        RESTIC: lambda: measure(["restic", "check", "--read-data", "--no-cache"], **repository),
    }


def compare(root: Path, scratch: Path, rounds: int, *, cold: bool) -> list[Row]:
    """Let all run, interleaved."""
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    race = contenders(root, scratch)
    runs: dict[str, list[Run]] = {name: [] for name in race}
    for number in range(rounds):
        for name, run in race.items():
            if cold:
                drop_caches()
            runs[name].append(run())
            print(f"{number + 1}/{rounds} {'cold' if cold else 'warm'} {name}: {runs[name][-1]}", file=sys.stderr)
    return [Row(name, found, size) for name, found in runs.items()]


def table(rows: list[Row]) -> Iterator[str]:
    """As Markdown; ratios are to the first look ever and to the full re-read of ours."""
    first = next(row for row in rows if row.name == FIRST)
    again = next(row for row in rows if row.name == AGAIN)
    yield "| how | wall s | CPU s | MB/s | RSS MB | wall, of our first look | of our `--all` |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        rate = "" if row.name == CHANGED else f"{row.rate:,.0f}"
        times = f"{row.wall_s / first.wall_s:.2f} | {row.wall_s / again.wall_s:.2f}"
        yield f"| {row.name} | {row.wall_s:.2f} | {row.cpu_s:.2f} | {rate} | {row.rss_mb:.0f} | {times} |"


def goal(text: str, value: float, limit: float, unit: str) -> str:
    """One goal and whether it was met."""
    verdict = "met" if value <= limit else "**not met**"
    return f"| {text} | {limit:g} {unit} | {value:.2f} {unit} | {verdict} |"


def synthetic(scratch: Path, files: int, rounds: int) -> tuple[Row, Row]:
    """A first look and re-checks of a made-up cache."""
    root, index = scratch / f"synthetic-{files}", scratch / f"index-{files}"
    make_synthetic(root, files)
    first = Row("first look", [measure(ours(root, index, "changed"))], 0)
    again = Row("re-check", [measure(ours(root, index, "changed")) for _ in range(rounds)], 0)
    return first, again


def section(root: Path, scratch: Path, rounds: int) -> Iterator[str]:
    """The whole result as Markdown."""
    environ = os.environ | {"RESTIC_REPOSITORY": str(scratch / "restic"), "RESTIC_PASSWORD": "x"}
    subprocess.run(["restic", "init", "--quiet"], env=environ, check=True)
    subprocess.run(["restic", "backup", "--quiet", "--no-cache", str(root)], env=environ, check=True)
    files = sum(path.is_file() for path in root.rglob("*"))
    warm = compare(root, scratch, rounds, cold=False)
    rows = {row.name: row for row in warm}
    load = os.getloadavg()[0]
    yield f"Python {platform.python_version()}, {os.cpu_count()} processors, load {load:.1f} besides, {rounds} rounds, medians."
    yield f"The cache: {files:,} files, {warm[0].size / 1e6:,.0f} MB."
    yield ""
    yield "Warm page cache:"
    yield ""
    yield from table(warm)
    yield ""
    cold: dict[str, Row] = {}
    if os.geteuid() == 0:
        found = compare(root, scratch, 1, cold=True)
        cold = {row.name: row for row in found}
        yield "Cold page cache (dropped before each run, one round):"
        yield ""
        yield from table(found)
    else:
        yield "Cold page cache: not measured, because that needs root."
    yield ""
    _first, recheck = synthetic(scratch, 100_000, rounds)
    large, large_again = synthetic(scratch, 300_000, 1)
    yield "| goal | at least, or at most | measured | |"
    yield "| --- | ---: | ---: | --- |"
    yield faster("`--all`, times as fast as two `sha256sum`", rows, AGAIN, COREUTILS, 4)
    yield faster("`--all`, times as fast as two `openssl`", rows, AGAIN, OPENSSL, 1)
    yield faster("`--all`, times as fast as `restic check --read-data`", rows, AGAIN, RESTIC, 3)
    if cold:
        yield faster("`--all`, cold, times as fast as two `openssl`", cold, AGAIN, OPENSSL, 1.4)
    yield goal("re-check of 100,000 unchanged files", recheck.wall_s, 1.0, "s")
    yield goal("first look at 300,000 files, RSS", large.rss_mb, 300, "MB")
    yield goal("re-check of 300,000 files, RSS", large_again.rss_mb, 300, "MB")
    yield ""
    yield "`--all` reads and hashes every byte; seal (iii), a second hash of each archive with its build ID blanked, is a property of"
    yield "the content and so of the name: it is computed at the first look, and remembered by name. Beside hashing, it reads and"
    yield "checks every index entry, which the others merely hash. SHA-256 itself is the limit: ours and two `openssl` use the same code"
    yield "for it, and what is above is reading names, entries and marks in Python."
    yield ""
    yield "Again: `python benchmarks/fsck.py [GOCACHE]`."


def faster(text: str, rows: dict[str, Row], ours_: str, theirs: str, least: float) -> str:
    """One goal about speed beside a peer, by the clock."""
    ratio = rows[theirs].wall_s / rows[ours_].wall_s
    verdict = "met" if ratio >= least else "**not met**"
    return f"| {text} | {least:g} x | {ratio:.2f} x | {verdict} |"


def write_page(text: str) -> None:
    """Put the section between its markers, or at the end."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n\n"
    if BEGIN not in page:
        page = f"{page.rstrip()}\n\n## Verifying a cache\n\n{BEGIN}\n{END}\n"
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cache", nargs="?", type=Path, help="a GOCACHE that nobody writes; built if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--look", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.look:
        look(*asked.look)
        return
    for tool in ("restic", "openssl", "sha256sum"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for the comparison and is not installed")
    with tempfile.TemporaryDirectory(prefix="fsck-benchmark-") as name:
        scratch = Path(name)
        text = "\n".join(section(asked.cache or build_cache(scratch), scratch, asked.rounds))
    print(text)
    write_page(text)


if __name__ == "__main__":
    main()
