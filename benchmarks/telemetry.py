"""What telemetry costs a `clean`: the program before it knew of spans, with nobody to tell, and with a receiver.

Run: `PYTHONPATH=tests python benchmarks/telemetry.py [--rounds N] [--before REVISION] [--dry]`. The cache is that of the tests, warm from
a real build of the newest toolchain. Contenders are processes of their own, by turns, their whole life measured; an undo puts
everything back after each. The program before is the source of a revision, out of git, with what is compiled of today's. The receiver
is a process of its own that says 200 to everything. A span of nobody is measured in a loop, less the loop itself.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy2

from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span
from gocaches import PINNED, copy_cache, find_toolchain, make_warm
from graph import REPOSITORY, Run, measure
from page import machine, median, write_section

PLAIN = ("clean", "--all", "--proof", "none", "--checks", "permissions", "--quiet")
_RECEIVER = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--before", default="8f7b8da", help="the last revision without spans")
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="telemetry-benchmark-") as name, receiver() as url:
        text = section(Path(name), asked.rounds, asked.before, url)
    if asked.dry:
        print(text)
    else:
        write_section("telemetry", text)


def section(scratch: Path, rounds: int, before: str, url: str) -> str:
    """Let the contenders clean the same cache, and tell."""
    (scratch / "cache").mkdir()
    cache = copy_cache(make_warm(scratch, find_toolchain(PINNED[-1])), scratch / "cache")
    common = {
        **cache.environ,
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(scratch / "state"),
        "GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%",
    }
    now = {**common, "PYTHONPATH": str(REPOSITORY / "src")}
    contenders = {
        f"before spans ({before})": {**common, "PYTHONPATH": str(source_of(before, scratch / "before"))},
        "nobody to tell": now,
        "with a receiver": {**now, "GO_CACHE_SAFEGUARD_TELEMETRY_ENDPOINT": url},
    }
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for at in range(rounds + 1):
        names = list(contenders)
        for name in names[at % len(names) :] + names[: at % len(names)]:
            runs[name].append(
                measure([sys.executable, "-m", "go_cache_safeguard", *PLAIN], cache.module, contenders[name])
            )
            put_back(cache.module, now)
    first = next(iter(runs.values()))[1:]
    lines = [
        f"A cache of {len(list(cache.root.glob('??/*'))):,} files, {rounds} rounds by turns, medians.",
        "",
        f"A span of nobody takes {span_ns():.0f} ns. {machine()}",
        "",
        "| `clean` | wall s | CPU s | CPU beside before, median of the pairs |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, found in runs.items():
        wall_s, cpu_s = median([run.wall_s for run in found[1:]]), median([run.cpu_s for run in found[1:]])
        beside = median([one.cpu_s / base.cpu_s for one, base in zip(found[1:], first, strict=True)])
        lines.append(f"| {name} | {wall_s:.3f} | {cpu_s:.3f} | {beside:.3f} |")
    return "\n".join(lines)


def put_back(module: Path, environ: dict[str, str]) -> None:
    """Undo the last operation."""
    (newest,) = sorted((Path(environ["GO_CACHE_SAFEGUARD_STATE_DIR"]) / "plans").iterdir())[-1:]
    command = [sys.executable, "-m", "go_cache_safeguard", "undo", newest.stem, "--proof", "none", "--quiet"]
    subprocess.run(command, cwd=module, env=environ, check=True, capture_output=True)


def source_of(revision: str, folder: Path) -> Path:
    """The source of a revision, with today's compiled files beside it."""
    done = subprocess.run(["git", "archive", revision, "src"], cwd=REPOSITORY, check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    for compiled in (REPOSITORY / "src").rglob("*.so"):
        copy2(compiled, folder / compiled.relative_to(REPOSITORY))
    return folder / "src"


def span_ns() -> float:
    """Nanoseconds of a span of nobody with three words, the least of seven."""

    def told() -> None:
        with span(SpanName.WAVE, phase="keys", wave=1, keys=2):
            pass

    def silent() -> None:
        pass

    number = 200_000
    least = [min(timeit.repeat(work, number=number, repeat=7)) for work in (told, silent)]
    return (least[0] - least[1]) / number * 1e9


@contextmanager
def receiver() -> Iterator[str]:
    """A process that takes whatever it is sent."""
    environ = {"PATH": os.environ["PATH"]}
    child = subprocess.Popen([sys.executable, "-c", _RECEIVER], stdout=subprocess.PIPE, text=True, env=environ)
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    try:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


if __name__ == "__main__":
    main()
