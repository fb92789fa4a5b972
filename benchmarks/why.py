"""How long `why` takes for a build of a thousand packages, beside a plain dry run of go.

Run: `python benchmarks/why.py [--rounds N] [--packages N]`. The module is that of graph.py, built once with the newest toolchain.
Contenders are processes of their own, by turns, their whole life measured, go's run with hashing included: everything found; an edit
below everything with a recorded run, and with none, where old keys are looked for; and `go build -n`, which tells what it would
compile and not why.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from graph import GO, REPOSITORY, Run, make_module, measure
from page import machine, median, write_section

EDIT = "\n// edited\n"


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packages", type=int, default=1000)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="why-benchmark-") as name:
        text = section(Path(name), asked.rounds, asked.packages)
    if asked.dry:
        print(text)
    else:
        write_section("why", text)


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
    ours = [sys.executable, "-m", "go_cache_safeguard", "why"]
    subprocess.run([*ours, "--record", "--quiet"], cwd=module, env=environ, check=True, capture_output=True)
    contenders: dict[str, tuple[list[str], bool]] = {
        "`go build -n`, all found": ([str(GO), "build", "-n", "./..."], False),
        "`why`, all found": (ours, False),
        "`go build -n`, all missed": ([str(GO), "build", "-n", "./..."], True),
        "`why`, all missed, a run recorded": (ours, True),
        "`why`, all missed, nothing recorded": ([*ours, "--no-baseline"], True),
    }
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    first = module / "p0" / "p.go"
    source = first.read_text()
    for _ in range(rounds + 1):
        for name, (command, edited) in contenders.items():
            first.write_text(source + EDIT if edited else source)
            runs[name].append(measure(command, module, environ))
    size = (scratch / "state" / "runs.sqlite").stat().st_size
    lines = [
        f"{packages:,} packages, go1.27.3; {rounds} rounds by turns, medians; the record takes {size // 1024:,} KiB. {machine()}",
        "",
        "| how | wall s | CPU s |",
        "| --- | ---: | ---: |",
    ]
    for name, found in runs.items():
        wall_s, cpu_s = median([run.wall_s for run in found[1:]]), median([run.cpu_s for run in found[1:]])
        lines.append(f"| {name} | {wall_s:.2f} | {cpu_s:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
