"""A build cache through several CI jobs: the folder whole, as most workflows keep it, and only what the last job used.

Run: `python benchmarks/ci.py [--jobs N] [--module PATH@VERSION]`. Both ways do the same jobs one after the other in one run: check out (every
file gets the time of now), change one line, restore, `go build ./...`, `go test ./...`, save. The folder is packed with GNU tar and zstd, level 3.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from page import machine, write_section

_COMMANDS = (("build", "./..."), ("test", "./..."))


@dataclass
class Way:
    """One way of keeping a cache, and what it cost."""

    name: str
    restore: Callable[[], None]
    save: Callable[[], int]
    restored_s: list[float] = field(default_factory=list)
    saved_s: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    built_s: list[float] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--module", default="github.com/spf13/viper@v1.20.1")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        source = _download(place, asked.module)
        ways = [_whole(place / "whole"), _parcel(place / "parcel")]
        for job in range(asked.jobs):
            for way in ways:
                _job(place / way.name, way, source, job)
        subprocess.run(["go", "clean", "-modcache"], env=_environ(place, place / "x"), check=True)
    write_section("ci", _text(ways, asked.module, asked.jobs))


def _download(place: Path, module: str) -> Path:
    told = subprocess.run(
        ["go", "mod", "download", "-json", module],
        env=_environ(place, place / "x"),
        cwd="/",
        check=True,
        capture_output=True,
    )
    return Path(json.loads(told.stdout)["Dir"])


def _environ(place: Path, cache: Path) -> dict[str, str]:
    return {
        **os.environ,
        "GOPATH": str(place / "gopath"),
        "GOMODCACHE": str(place / "gopath" / "pkg" / "mod"),
        "GOCACHE": str(cache),
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(cache.parent / "state"),
    }


def _whole(base: Path) -> Way:
    """The folder, packed as the cache action of GitHub packs it."""
    archive, cache = base / "cache.tzst", base / "cache"

    def restore() -> None:
        cache.mkdir(parents=True)
        if archive.exists():
            subprocess.run(["tar", "--zstd", "-xf", archive, "-C", cache], check=True)

    def save() -> int:
        environ = {**os.environ, "ZSTD_CLEVEL": "3", "ZSTD_NBTHREADS": str(os.cpu_count())}
        subprocess.run(["tar", "--posix", "--zstd", "-cf", archive, "-C", cache, "."], check=True, env=environ)
        return archive.stat().st_size

    return Way("whole", restore, save)


def _parcel(base: Path) -> Way:
    parcel, cache, module = base / "parcel", base / "cache", base / "module"

    def command(*words: str) -> None:
        environ = _environ(base.parent, cache)
        subprocess.run(
            [sys.executable, "-m", "go_cache_safeguard", *words, "-q"],
            check=True,
            env=environ,
            cwd=module,
            stdout=subprocess.DEVNULL,
        )

    def restore() -> None:
        if parcel.exists():
            command("ci", "unpack", str(parcel))
            shutil.rmtree(parcel)

    def save() -> int:
        command("ci", "pack", "-o", str(parcel))
        return sum(path.stat().st_size for path in parcel.iterdir())

    return Way("parcel", restore, save)


def _job(base: Path, way: Way, source: Path, job: int) -> None:
    module, cache = base / "module", base / "cache"
    for gone in (module, cache):
        shutil.rmtree(gone, ignore_errors=True)
    base.mkdir(exist_ok=True)
    shutil.copytree(source, module, copy_function=shutil.copyfile)
    for path in (module, *module.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        past = time.time() - 10  # go stores no result of a test that read what is younger than two seconds
        os.utime(path, (past, past))
    with next(path for path in sorted(module.glob("*.go")) if not path.name.endswith("_test.go")).open("a") as file:
        file.write(f"\n// ChangedBy is new in every job.\nconst ChangedBy = {job}\n")
    way.restored_s.append(_timed(way.restore))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environ = _environ(base.parent, cache)
    said = ""
    for command in _COMMANDS:
        said += subprocess.run(
            ["go", *command], cwd=module, env=environ, check=True, capture_output=True, text=True
        ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    way.built_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    lines = [line for line in said.splitlines() if line.startswith("ok")]
    way.cached.append(f"{sum('(cached)' in line for line in lines)} of {len(lines)}")
    took, size = time.perf_counter(), way.save()
    way.saved_s.append(time.perf_counter() - took)
    way.sizes.append(size)


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _text(ways: list[Way], module: str, jobs: int) -> str:
    rows = [
        f"`python benchmarks/ci.py --jobs {jobs}` on `{module}`, each job with one changed line and a fresh checkout. Times in seconds.",
        "",
        "| job | way | restore | build and test, CPU | test results from the cache | save | saved |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    names = {"whole": "the folder, tar and zstd", "parcel": "`ci pack`, `ci unpack`"}
    rows += [
        f"| {job + 1} | {names[way.name]} | {way.restored_s[job]:.2f} | {way.built_s[job]:.1f} | {way.cached[job]} | "
        f"{way.saved_s[job]:.2f} | {way.sizes[job] / (1 << 20):.1f} MiB |"
        for job in range(jobs)
        for way in ways
    ]
    whole, parcel = ways
    rows += [
        "",
        f"After {jobs} jobs the folder is {whole.sizes[-1] / parcel.sizes[-1]:.2f} times as large as the parcel. {machine()}",
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
