"""Real Go toolchains and real caches that they made, for tests that look at or damage one.

A toolchain is expected below `.toolchains` in the repository (`make setup` puts it there), or on PATH for the machine's own.
The cache of each toolchain is made once per session, from a module of ours, and shared by all test processes.
"""

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PINNED = ("go1.21.13", "go1.27.3")
"""The oldest and the newest that we promise to understand."""
MIDDLE = "go1.24.11"
"""The first with GOCACHEPROG and with cached programs, between the two."""
EVERY = (PINNED[0], MIDDLE, PINNED[-1])
"""For what differs from release to release."""
OWN = "own"
"""Stands for the machine's own go."""

_FILES = {
    "go.mod": "module example.com/m\n\ngo 1.21\n",
    "main.go": """package main

import (
	"fmt"

	"example.com/m/lib"
)

func main() { fmt.Println(lib.Hello()) }
""",
    "lib/lib.go": """package lib

// Hello greets.
func Hello() string { return "hello" }
""",
    "lib/lib_test.go": """package lib

import "testing"

func TestHello(t *testing.T) {
	if Hello() != "hello" {
		t.Fatal(Hello())
	}
}
""",
}
SMALL_MAIN = """package main

import "example.com/m/lib"

func main() { println(lib.Hello()) }
"""
"""Another main.go, which needs the runtime only: with an empty cache that is built again in seconds."""
_COMMANDS = (("build", "./..."), ("vet", "./..."), ("test", "./..."), ("run", "."))


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A go command.

    Attributes:
        go: The command.
        version: `go1.27.3`.
    """

    go: Path
    version: str

    @property
    def release(self) -> int:
        """The 27 of go1.27.3."""
        return int(self.version.split(".")[1])


@dataclass(frozen=True, slots=True)
class GoCache:
    """A cache and the module that it was made from.

    Attributes:
        root: The GOCACHE.
        module: Directory of the module `example.com/m`: a program that imports `lib`, which has a test.
        toolchain: What made it.
        environ: What `go` needs to use it, and nothing else of this process's environment but PATH.
    """

    root: Path
    module: Path
    toolchain: Toolchain
    environ: dict[str, str]

    def run(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run `go` in the module; output is captured, failure is not raised.

        Args:
            arguments: After `go`.
            more: Environment variables on top.
        """
        return subprocess.run(
            [self.toolchain.go, *arguments],
            cwd=self.module,
            env=self.environ | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def go(self, *arguments: str, **more: str) -> str:
        """Run `go` in the module, demand success, give what it said."""
        done = self.run(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def output_of(self, package: str) -> Path:
        """The output in which a package lies, asked of `go` itself.

        Args:
            package: An import path.
        """
        return Path(self.go("list", "-export", "-f", "{{.Export}}", package).strip())

    def entries_of(self, output: Path) -> list[Path]:
        """The index entries that name an output."""
        wanted = output.name.removesuffix("-d").encode()
        return [path for path in sorted(self.root.glob("??/*-a")) if path.read_bytes()[68:132] == wanted]


def find_toolchain(name: str) -> Toolchain:
    """Find a pinned toolchain, or the machine's own.

    Raises:
        RuntimeError: It is not there.
    """
    go = shutil.which("go") if name == OWN else str(REPOSITORY / ".toolchains" / name / "go" / "bin" / "go")
    if go is None or not Path(go).is_file():
        raise RuntimeError(f"the toolchain {name!r} is not there; run `make setup`")
    environ = _environ(Path("/nonexistent"))
    told = subprocess.run([go, "env", "GOVERSION"], env=environ, capture_output=True, text=True, check=True, timeout=60)
    return Toolchain(Path(go), told.stdout.strip())


def _environ(directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory / "home"),
        "GOCACHE": str(directory / "cache"),
        "GOMODCACHE": str(directory / "mod"),
        "GOPATH": str(directory / "path"),
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOSUMDB": "off",
        "GOFLAGS": "-trimpath",  # so that a copy of the module finds its entries again
        "GOENV": "off",
        "GOTELEMETRY": "off",
        "GOGC": "off",  # compilers that live for a moment need not tidy up: a quarter of their time
        "LC_ALL": "C",
    }


def at(directory: Path, toolchain: Toolchain) -> GoCache:
    """A cache and module below a directory, whether or not they are there yet."""
    return GoCache(directory / "cache", directory / "module", toolchain, _environ(directory))


def write_module(module: Path) -> None:
    """Write the module's files."""
    for name, text in _FILES.items():
        path = module / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make_warm(shared: Path, toolchain: Toolchain) -> GoCache:
    """Make the cache of a toolchain, or wait for the test process that makes it.

    Args:
        shared: A directory that all test processes of this session share.
        toolchain: What makes it.
    """
    directory = shared / f"gocache-{toolchain.version}"
    cache = at(directory, toolchain)
    with (shared / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "done").exists():
            write_module(cache.module)
            (directory / "home").mkdir(exist_ok=True)
            for command in _COMMANDS:
                cache.go(*command)
            (directory / "done").touch()
    return cache


def copy_cache(warm: GoCache, directory: Path) -> GoCache:
    """A private copy of a cache and of its module, times preserved."""
    cache = at(directory, warm.toolchain)
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", warm.root, warm.module, directory], check=True)  # half the time of shutil
    (directory / "home").mkdir(exist_ok=True)
    return cache
