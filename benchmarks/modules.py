"""How fast modules are verified, beside `go mod verify` on the same modules in the same run.

    python benchmarks/modules.py [FOLDER]

Without a folder the modules below are fetched into a scratch folder, through whatever module proxy go is configured with; with one
they are fetched there, and are still there the next time.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clean import COMMAND, GO, timed
from page import machine, median, verdict, write_section

ROUNDS = 3
FASTER, RECHECK_S, VERSIONS = 2, 1.0, 500
REQUIRED = (
    "github.com/prometheus/prometheus v0.48.1",
    "k8s.io/client-go v0.29.0",
    "k8s.io/apiserver v0.29.0",
    "helm.sh/helm/v3 v3.13.3",
    "github.com/aws/aws-sdk-go-v2/service/s3 v1.47.5",
    "github.com/aws/aws-sdk-go-v2/config v1.26.1",
    "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusexporter v0.91.0",
    "github.com/grpc-ecosystem/grpc-gateway/v2 v2.18.1",
    "github.com/gohugoio/hugo v0.121.1",
    "go.etcd.io/etcd/server/v3 v3.5.11",
    "github.com/goreleaser/goreleaser v1.22.1",
)
"""What the build list grows from: what a few well-known programs are built of."""


def environment(folder: Path) -> dict[str, str]:
    """What matters and nothing else, offline."""
    return {
        "PATH": f"{GO.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "GOENV": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOSUMDB": "off",
        "GOPATH": str(folder / "path"),
        "GOCACHE": str(folder / "cache"),
        "GOMODCACHE": str(folder / "mod"),
    }


def fetch(folder: Path) -> Path:
    """The module, with everything in its build list in a module cache of its own."""
    module = folder / "m"
    if (module / "go.sum").exists():
        return module
    module.mkdir(parents=True)
    lines = "".join(f"\t{one}\n" for one in REQUIRED)
    (module / "go.mod").write_text(f"module example.com/benchmark\n\ngo 1.21\n\nrequire (\n{lines})\n")
    # The person's own environment, for its proxy; only the places are ours.
    places = {
        name: text for name, text in environment(folder).items() if name.startswith("GO") and text.startswith("/")
    }
    # Without a checksum database: a mirror may not offer one, and what is fetched is only hashed here, never built.
    environ = {**os.environ, **places, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOSUMDB": "off"}
    subprocess.run([GO, "mod", "download", "all"], cwd=module, env=environ, check=True)
    return module


def in_module(arguments: Sequence[str | Path], module: Path, environ: Mapping[str, str]) -> float:
    """Seconds from start to end of a command in the module; failure ends the benchmark."""
    return timed(["env", "-C", module, *arguments], environ)[0]


def contenders(module: Path, folder: Path) -> dict[str, Callable[[], float]]:
    """What runs in each round, in this order."""
    environ, state = environment(folder), folder / "state"
    ours: list[str | Path] = [COMMAND, "mod", "verify", "--quiet", "--state-dir", state]

    def first() -> float:
        shutil.rmtree(state, ignore_errors=True)
        return in_module([*ours, "--no-go"], module, environ)

    return {
        "`go mod verify`": lambda: in_module([GO, "mod", "verify"], module, environ),
        "`mod verify --no-go`, first look ever": first,
        "`mod verify --no-go --all`: every byte read again": lambda: in_module(
            [*ours, "--no-go", "--all"], module, environ
        ),
        "`mod verify --no-go`, nothing changed": lambda: in_module([*ours, "--no-go"], module, environ),
        "`mod verify --whole-cache`, nothing changed": lambda: in_module([*ours, "--whole-cache"], module, environ),
    }


def report(runs: Mapping[str, Sequence[float]], versions: int, files: int, size: int) -> str:
    """The section."""
    base, first, full, _again, whole = [median(values) for values in runs.values()]
    goals = (
        None,
        verdict(base / first, FASTER),
        verdict(base / full, FASTER),
        None,
        f"at most {RECHECK_S:g} s: {_met(whole)}",
    )
    lines = [
        f"A build list of {versions} module versions in a module cache of {files:,} files, {size / 2**30:.1f} GiB; {ROUNDS} rounds,",
        f"interleaved, medians, warm page cache, {GO.parts[-4]}. {machine()}",
        "",
        "| what | seconds | times faster | goal |",
        "| --- | ---: | ---: | --- |",
    ]
    for (name, values), goal in zip(runs.items(), goals, strict=True):
        lines.append(f"| {name} | {median(values):.2f} | {base / median(values):.1f} | {goal or ''} |")
    lines += [
        "",
        "The first look inflates and hashes every zip, hashes every tree, and compares both with go.sum and `.ziphash`; a file that zip",
        "and tree both hold is compared with what was inflated and hashed once. `--all` reads every byte again and asks our memory one",
        "thing only: what a zip of this very SHA-256 held. The clock runs from start to prompt, with computing the build list.",
        "",
        "Again: `python benchmarks/modules.py [FOLDER]`.",
    ]
    return "\n".join(lines)


def _met(seconds: float) -> str:
    return "met" if seconds <= RECHECK_S else "**not met**"


def main(folder: Path) -> None:
    """Measure and write."""
    module = fetch(folder)
    race = contenders(module, folder)
    runs: dict[str, list[float]] = {name: [] for name in race}
    for number in range(ROUNDS):
        for name, run in race.items():
            runs[name].append(run())
            print(f"{number + 1}/{ROUNDS} {name}: {runs[name][-1]:.2f} s", file=sys.stderr)
    files = [path for path in (folder / "mod").rglob("*") if path.is_file()]
    versions = sum(path.suffix == ".zip" and path.parent.name == "@v" for path in files)
    if versions < VERSIONS:
        raise SystemExit(f"{versions} module versions are too few: at least {VERSIONS} are wanted")
    write_section("modules", report(runs, versions, len(files), sum(path.stat().st_size for path in files)))


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="safeguard-bench-") as name:
            try:
                main(Path(name))
            finally:
                # Extracted modules are read-only, which keeps their owner from removing them.
                subprocess.run(["chmod", "-R", "u+w", name], check=False)
