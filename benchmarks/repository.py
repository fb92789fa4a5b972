"""Snapshots in a repository, beside restic and borg on the same cache and the same disk.

    python benchmarks/repository.py [GOCACHE] [--rounds 3]

Each contender makes a repository, a first backup, one more after a small rebuild, and then verifies everything it holds. Rounds are
interleaved, each starts with new repositories; whole processes are timed, from start to prompt. The cache is never written: the
rebuild happens in a copy. Without an argument a cache is built.
"""

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clean import GO, REPOSITORY, build_cache
from page import machine, median, verdict, write_section

COMMAND = str(REPOSITORY / ".venv" / "bin" / "go-cache-safeguard")
STEPS = ("first", "second", "verify")
GOALS = {("first", "restic"): 2, ("second", "restic"): 4, ("second", "borg"): 4, ("verify", "restic"): 2}
TITLES = {"first": "first backup", "second": "second, after a small rebuild", "verify": "verify every byte"}


@dataclass
class Contender:
    """One tool.

    Attributes:
        name: As in the table.
        begin: Makes its empty repository.
        backup: Command line of a backup.
        verify: Command line that reads everything.
        folder: Where its repository lies.
        took: By step the seconds of each round, and those of all processors together.
        size: Bytes of the repository after two backups, of the last round.
    """

    name: str
    begin: Callable[[], None]
    backup: list[str]
    verify: list[str]
    folder: Path
    took: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {step: [] for step in STEPS})
    size: int = 0

    def wall(self, step: str) -> float:
        """Seconds from start to prompt, the median of all rounds."""
        return median([wall for wall, _ in self.took[step]])

    def cpu(self, step: str) -> float:
        """Seconds of all processors together, likewise."""
        return median([cpu for _, cpu in self.took[step]])


def timed(command: list[str], environ: Mapping[str, str]) -> tuple[float, float]:
    """Run to the end, demand success; seconds. What others wrote before goes to the disk first: nobody pays for it here."""
    os.sync()
    began, before = time.perf_counter(), _cpu()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began, _cpu() - before


def _cpu() -> float:
    """Seconds that processes took that we waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def contenders(cache: Path, scratch: Path, environ: Mapping[str, str]) -> list[Contender]:
    """Ours, restic with its defaults, borg with its defaults and without encryption, which the others' defaults do not match."""

    def init(*command: str) -> Callable[[], None]:
        def begin() -> None:
            subprocess.run(command, env=environ, check=True, capture_output=True)

        return begin

    snapshot = [COMMAND, "snapshot"]
    return [
        Contender(
            "ours",
            lambda: None,
            [*snapshot, "create", "--gocache", str(cache), "--quiet"],
            [*snapshot, "verify", "--all", "--read-data", "--quiet"],
            scratch / "state",
        ),
        Contender(
            "restic",
            init("restic", "init", "--quiet"),
            ["restic", "backup", "--quiet", str(cache)],
            ["restic", "check", "--read-data", "--quiet"],
            scratch / "restic",
        ),
        Contender(
            "borg",
            init("borg", "init", "--encryption", "none"),
            ["borg", "create", "::{now:%Y%m%d%H%M%S%f}", str(cache)],
            ["borg", "check", "--verify-data"],
            scratch / "borg",
        ),
    ]


def rebuild(cache: Path, module: Path, environ: Mapping[str, str], number: int) -> None:
    """Change a little program and build it: a few new entries and outputs."""
    (module / "main.go").write_text(f'package main\n\nimport "fmt"\n\nfunc main() {{ fmt.Println({number}) }}\n')
    go = {**environ, "GOCACHE": str(cache), "GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    subprocess.run([GO, "build", "-o", module / "program", "."], cwd=module, env=go, check=True)
    time.sleep(3)  # what is younger than two seconds is read again by us, and that is not what is measured


def play(cache: Path, module: Path, scratch: Path, rounds: int) -> list[Contender]:
    """All rounds."""
    environ = {
        **os.environ,
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(scratch / "state"),
        "RESTIC_REPOSITORY": str(scratch / "restic"),
        "RESTIC_PASSWORD": "x",
        "RESTIC_CACHE_DIR": str(scratch / "restic-cache"),
        "BORG_REPO": str(scratch / "borg"),
        "BORG_BASE_DIR": str(scratch / "borg-base"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    }
    all_of = contenders(cache, scratch, environ)
    for number in range(rounds):
        rebuild(cache, module, environ, 2 * number)
        for one in all_of:
            for folder in (one.folder, scratch / "restic-cache", scratch / "borg-base"):
                shutil.rmtree(folder, ignore_errors=True)
            one.begin()
            os.sync()
            one.took["first"].append(timed(one.backup, environ))
        rebuild(cache, module, environ, 2 * number + 1)
        for one in all_of:
            os.sync()
            one.took["second"].append(timed(one.backup, environ))
        for one in all_of:
            one.took["verify"].append(timed(one.verify, environ))
            one.size = sum(path.stat().st_size for path in one.folder.rglob("*") if path.is_file())
    return all_of


def table(all_of: list[Contender], cache: Path, rounds: int) -> str:
    """As Markdown."""
    files = [path for path in cache.rglob("*") if path.is_file()]
    ours, *others = all_of
    version = subprocess.run(["restic", "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    borg = subprocess.run(["borg", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    lines = [
        f"A cache of {len(files):,} files, {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB;",
        f"restic {version}, borg {borg}; {rounds} rounds,",
        f"interleaved, medians, warm page cache. {machine()}",
        "",
        "| seconds | ours | restic | borg | times faster than restic | than borg |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for step in STEPS:
        mine = ours.wall(step)
        cells = []
        for other in others:
            ratio = other.wall(step) / mine
            goal = GOALS.get((step, other.name))
            cells.append(f"{ratio:.1f}" + (f", {verdict(ratio, goal)}" if goal else ""))
        seconds = " | ".join(f"{one.wall(step):.2f}" for one in all_of)
        lines.append(f"| {TITLES[step]} | {seconds} | {' | '.join(cells)} |")
    for step in STEPS:
        spent = " | ".join(f"{one.cpu(step):.2f}" for one in all_of)
        lines.append(f"| CPU s: {TITLES[step]} | {spent} | | |")
    sizes = " | ".join(f"{one.size / 1e6:,.0f}" for one in all_of)
    lines += [
        f"| MB after two backups | {sizes} | | |",
        "",
        "All three run with their defaults on the same files, the same disk and all processors: restic and we use as many as there are, borg",
        "uses one. All three have everything on the disk when they end (restic and borg sync every file that they write, as strace shows; we",
        "sync every 256 MB and at the end, names last). All three compress with defaults of their own (restic zstd, borg lz4, we zstd, faster),",
        "and hash every byte with SHA-256. restic encrypts besides, which it cannot leave out; borg here does not, nor do we. The second backup",
        "reads only what changed, in all three. A verify of ours opens and hashes every content, of restic's hashes every pack and every blob.",
        "",
        "SHA-256 is not what a single stream of it costs: contents are hashed side by side, sixteen in the registers of AVX-512 or in pairs",
        "with SHA-NI ([why](decisions/0010-hashing-side-by-side.md)); without these, or without a compiler at installation, `hashlib` does it.",
        "Again: `python benchmarks/repository.py [GOCACHE]`.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cache", nargs="?", type=Path, help="a GOCACHE, which is copied; built if not given")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for tool in ("restic", "borg"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for the comparison and is not installed: see `make bench`")
    with tempfile.TemporaryDirectory(prefix="repository-benchmark-") as name:
        scratch = Path(name)
        cache, module = scratch / "cache", scratch / "module"
        if asked.cache is None:
            build_cache(cache, os.environ)
        else:
            subprocess.run(["cp", "-a", asked.cache, cache], check=True)
        module.mkdir()
        (module / "go.mod").write_text("module example.com/small\n\ngo 1.21\n")
        write_section("repository", table(play(cache, module, scratch, asked.rounds), cache, asked.rounds))


if __name__ == "__main__":
    main()
