"""A throw-away module, new for every run, and how it is built to ask a cache whether it works.

Knows:     the module's files, the environment and the command lines of its builds, and what the program must print.
Called by: `flows` writes the files and starts the builds; the reuse check and the canary proof judge them.
Never:     writes a file or starts go; no clock and no chance: what makes a run unique is given.
Source:    cmd/go/internal/work/buildid.go `useCache` ("Special case for building a main package"): a build whose output
           file is already up to date never asks the cache for the main package. Hence each build has an output of its own.

The program imports no package of the standard library. Measured cost of a build in an empty cache: see `docs/checks.md`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType

from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph

MODULE = "trial.invalid/safeguard"
"""A name that no package registry can hold: `.invalid` is reserved (RFC 2606)."""

PACKAGES = frozenset({MODULE, f"{MODULE}/word"})
"""The import paths of the module's two packages. The second shows that an archive comes *out of* the cache, too."""

_SALT = re.compile(r"[0-9a-z]{8,64}", re.ASCII)

_MAIN = """package main

import "{module}/word"

// {salt}
func main() {{ println(word.Say("{front}")) }}
"""

_WORD = """package word

//go:noinline
func Say(front string) string {{ return front + "-{back}" }}
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One throw-away module.

    Attributes:
        files: Content by name relative to the module's directory.
        says: The line that the program prints on its standard error.
    """

    files: Mapping[str, bytes]
    says: str


@dataclass(frozen=True, slots=True)
class Built:
    """How one build of it went.

    Attributes:
        exit_code: Of `go build`.
        said: What go said on its standard error, printable.
        actions: What it did, or why that cannot be told.
        cpu_ns: User and system time of go and its tools, in nanoseconds.
    """

    exit_code: int
    said: str
    actions: tuple[BuildAction, ...] | NoGraph
    cpu_ns: int


def make_trial(salt: str) -> Trial:
    """Describe the module for one run.

    Args:
        salt: 8 to 64 lower-case letters and digits that no earlier run had, so that its first build must compile.

    Raises:
        ValueError: The salt could change the meaning of the source.
    """
    if _SALT.fullmatch(salt) is None:
        raise ValueError("a salt is 8 to 64 lower-case letters and digits")
    front, back = salt[:4], salt[4:]
    files = {
        "go.mod": f"module {MODULE}\n\ngo 1.21\n",
        "main.go": _MAIN.format(module=MODULE, salt=salt, front=front),
        "word/word.go": _WORD.format(back=back),
    }
    return Trial(MappingProxyType({name: text.encode() for name, text in files.items()}), says=f"{front}-{back}")


def trial_environment(gocache: PurePath, *, flags: str = "") -> dict[str, str]:
    """What to lay over a user's environment for these builds.

    Whatever of the user's settings could make the trial fail for reasons of its own is put out of force: flags, workspace,
    GOENV file, debug switches, another target. A GOCACHEPROG is put out of force too: it is the directory that we ask.

    Args:
        gocache: The cache to ask, absolute.
        flags: The user's GOFLAGS. Of them only `-trimpath` is kept: it is harmless, and it is part of every key, so that without
            it the runtime would be compiled once more for us.
    """
    return {
        "GOCACHE": str(gocache),
        "GOENV": "off",
        "GOWORK": "off",
        "GOPROXY": "off",
        "GOSUMDB": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-trimpath" if "-trimpath" in flags.split() else "",
        **dict.fromkeys(("GODEBUG", "GOCACHEPROG", "GOOS", "GOARCH", "GO111MODULE", "GOEXPERIMENT"), ""),
    }


def build_args(*, graph: PurePath, output: PurePath) -> tuple[str, ...]:
    """The arguments of go for one build, started in the module's directory.

    Args:
        graph: Where the action graph goes.
        output: Where the program goes; must not exist, see the module's source note.
    """
    return ("build", "-buildvcs=false", f"-debug-actiongraph={graph}", "-o", str(output), ".")
