"""How long a person waits for `clean` and `undo`, beside `go clean -cache` on copies of the same cache.

    python benchmarks/clean.py [GOCACHE]

Without an argument a cache is built in a scratch folder with the newest toolchain in .toolchains.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from page import machine, median, verdict, write_section

REPOSITORY = Path(__file__).resolve().parents[1]
COMMAND = REPOSITORY / ".venv" / "bin" / "go-cache-safeguard"
GO = max((REPOSITORY / ".toolchains").glob("go1.*/go/bin/go"))
ROUNDS = 3
GOAL = 20
TARGETS = (
    ("linux", "amd64"),
    ("linux", "arm64"),
    ("windows", "amd64"),
    ("darwin", "arm64"),
    ("freebsd", "amd64"),
    ("linux", "386"),
)


@dataclass
class Times:
    """Seconds from start to the prompt, of each way, round by round."""

    go_clean: list[float] = field(default_factory=list)
    clean: list[float] = field(default_factory=list)
    door: list[float] = field(default_factory=list)
    undo: list[float] = field(default_factory=list)
    undo_door: list[float] = field(default_factory=list)


def timed(arguments: Sequence[str | Path], environ: Mapping[str, str]) -> tuple[float, str]:
    """Run a command, demand success; seconds and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([str(one) for one in arguments], env=environ, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return took, done.stdout


def build_cache(root: Path, environ: Mapping[str, str]) -> None:
    """Fill a cache with std and cmd for several targets until it holds 30,000 files."""
    for goos, goarch in TARGETS:
        for flags in ([], ["-trimpath"], ["-gcflags=all=-N"]):
            print(f"building for {goos}/{goarch} {' '.join(flags)}", file=sys.stderr)
            more = {**environ, "GOCACHE": str(root), "GOOS": goos, "GOARCH": goarch, "CGO_ENABLED": "0"}
            timed([GO, "build", *flags, "std", "cmd"], more)
            if sum(1 for _ in root.glob("??/*")) >= 30_000:
                return


def number(text: str, key: str) -> float:
    """A number out of a JSON document."""
    return float(json.loads(text)[key])


def one_round(source: Path, scratch: Path, environ: dict[str, str], times: Times) -> None:
    """Each way once, on fresh real copies: hard links would make unlinking cheaper than it is."""
    ours, theirs = scratch / "ours", scratch / "theirs"
    for copy in (ours, theirs):
        subprocess.run(["cp", "-a", str(source), str(copy)], check=True)
    os.sync()
    environ = {**environ, "GO_CACHE_SAFEGUARD_STATE_DIR": str(scratch / "state")}
    quiet = ["--json", "--proof", "none"]
    # The plan is made, checked and approved before: timed is what a person waits for after saying yes.
    plan = scratch / "plan.json"
    plan.unlink(missing_ok=True)
    timed([COMMAND, "plan", "--all", "--gocache", ours, "-o", plan, "--json"], environ)
    subprocess.run(
        [str(COMMAND), "clean", str(plan), "--checks", "permissions", *quiet],
        env=environ,
        capture_output=True,
        check=False,
    )
    _, listed = timed([COMMAND, "ops", "list", "--json"], environ)
    op = listed.split('"op": "')[-1][:19]
    token = scratch / "token"
    token.unlink(missing_ok=True)
    timed([COMMAND, "ops", "token", op, "-o", token], environ)
    timed([COMMAND, "ops", "approve", op, "--token-file", token], environ)
    took, printed = timed([COMMAND, "clean", op, *quiet], environ)
    times.clean.append(took)
    times.door.append(number(printed, "took_ms") / 1000)
    took, printed = timed([COMMAND, "undo", op, *quiet], environ)
    times.undo.append(took)
    times.undo_door.append(number(printed, "took_ms") / 1000)
    took, _ = timed([GO, "clean", "-cache"], {**environ, "GOCACHE": str(theirs)})
    times.go_clean.append(took)
    for copy in (ours, theirs):
        shutil.rmtree(copy)


def startup(environ: dict[str, str], arguments: Sequence[str], rounds: int = 10) -> float:
    """Best of ten starts, in seconds; compiled modules are there, as after any installation."""
    return min(timed([COMMAND, *arguments], environ)[0] for _ in range(rounds))


def report(count: int, size: int, times: Times, help_s: float, status_s: float) -> str:
    """The section."""
    base = median(times.go_clean)
    rows = [
        ("`go clean -cache`", times.go_clean, None),
        ("`clean OP`, from start to prompt", times.clean, GOAL),
        ("... of that, moving to quarantine", times.door, None),
        ("`undo OP`, from start to prompt", times.undo, GOAL),
        ("... of that, moving back", times.undo_door, None),
    ]
    lines = [
        f"A real cache of {count:,} files, {size / 2**30:.1f} GiB, copied for each of {ROUNDS} rounds; medians. {machine()}",
        "",
        "| what | seconds | times faster | goal |",
        "| --- | ---: | ---: | --- |",
    ]
    for name, values, goal in rows:
        ratio = base / median(values)
        lines.append(f"| {name} | {median(values):.2f} | {ratio:.1f} | {verdict(ratio, goal) if goal else ''} |")
    lines += [
        "",
        "Timed is an approved operation without proof: checks, plan and canary build take as long as hashing and building take.",
        "Each entry is compared with the plan (size, time of last use) and moved by a rename of its own. Exchanging whole shards was",
        "faster and is not done: it broke 3 of 40 builds that began in that moment ([why](decisions/0004-no-shard-exchange.md)).",
        "",
        f"`--help`: {help_s * 1000:.0f} ms (goal 150), `status` on an empty cache: {status_s * 1000:.0f} ms (goal 400); best of 10.",
        "",
        "Again: `python benchmarks/clean.py [GOCACHE]`.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str], environ: Callable[[], dict[str, str]]) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory(prefix="safeguard-bench-") as folder:
        scratch = Path(folder)
        base = environ()
        source = Path(arguments[0]) if arguments else scratch / "source"
        if not arguments:
            build_cache(source, base)
        files = list(source.glob("??/*"))
        times = Times()
        for _ in range(ROUNDS):
            one_round(source, scratch, base, times)
        empty = scratch / "empty"
        timed([GO, "list", "unsafe"], {**base, "GOCACHE": str(empty)})
        state = {**base, "GO_CACHE_SAFEGUARD_STATE_DIR": str(scratch / "state2"), "GOCACHE": str(empty)}
        help_s, status_s = startup(state, ["--help"]), startup(state, ["status"])
        size = sum(path.lstat().st_size for path in files)
        write_section("clean", report(len(files), size, times, help_s, status_s))


def clear_environment() -> dict[str, str]:
    """What matters and nothing else; compiled modules are used, as in any installation."""
    return {
        "PATH": f"{GO.parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/root"),
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always",
    }


if __name__ == "__main__":
    main(sys.argv[1:], clear_environment)
