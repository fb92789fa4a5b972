"""The packages that a person wants proved, and go commands about them in one cache.

Knows:     as whom, where and with which environment and time limit go is started for a proof; what the person added to it.
Called by: `flows.testing`, `flows.symbols`, `flows.prove`.
Never:     judges what go says. Never lets a command of ours set off go's own trim, if that can be helped.
"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.trial import home_of_owner
from go_cache_safeguard.gotool.complaint import cache_trouble, last_lines, printable
from go_cache_safeguard.gotool.run import Go, Ran
from go_cache_safeguard.gotool.trim import trim_held
from go_cache_safeguard.tree.root import Root
from go_cache_safeguard.verify.packages import FIELDS, Package, parse_packages

_NOT_OURS = {"-o", "-n", "-C", "-c", "-i", "-json", "-exec", "-toolexec", "-overlay", "-run", "-count"}
"""Flags with which nothing would be proved, or something else than what was asked for."""


class NotListed(Failure):
    """Go cannot say what the packages are."""

    id = "packages-not-listed"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "go cannot list the packages that were to be proved"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be proved of which packages.

    Attributes:
        patterns: Packages as for `go build`.
        flags: The person's own build flags, besides GOFLAGS.
        race: Run tests with the race detector.
        retry: How many times what failed is run again.
        timeout_s: Seconds for one go command; None for the setting.
    """

    patterns: tuple[str, ...] = ("./...",)
    flags: tuple[str, ...] = ()
    race: bool = False
    retry: int = 0
    timeout_s: float | None = None

    def check(self) -> None:
        """Make sure that every word is taken for what it is.

        Raises:
            UsageFailure: A package looks like a flag, or a flag would prove something else.
        """
        for pattern in self.patterns:
            if not pattern or pattern.startswith("-"):
                raise UsageFailure(f"{pattern!r} is no package", not_done="nothing was proved")
        for flag in self.flags:
            name = f"-{flag.lstrip('-').partition('=')[0]}"
            if not flag.startswith("-") or name in _NOT_OURS:
                raise UsageFailure(
                    f"{flag!r} cannot be among the build flags",
                    not_done="nothing was proved",
                    hint="give flags of `go build` as -name=value, for example --build-flags '-tags=x -trimpath'",
                )


@dataclass(frozen=True, slots=True)
class Judged:
    """One step of a proof.

    Attributes:
        verdict: What it showed.
        kept: What is kept as evidence besides the verdict.
    """

    verdict: Verdict
    kept: dict[str, Value] = field(default_factory=dict)


@dataclass
class Packages:
    """The packages in a cache.

    Attributes:
        session: Who asks.
        root: The cache.
        wanted: What is asked.
    """

    session: Session
    root: Root
    wanted: Wanted

    @cached_property
    def go(self) -> Go:
        """The go command, as the owner of the cache."""
        return self.session.go_for(self.root.uid, self.root.gid)

    @property
    def timeout_s(self) -> float:
        """Seconds for one go command."""
        return self.wanted.timeout_s or self.session.config.seconds("go.timeout")

    def run(self, *args: str, told: Callable[[bytes], None] | None = None, **more: str) -> Ran:
        """Run go in the person's directory.

        Args:
            args: After `go`.
            told: See `gotool.run.Go.run`.
            more: Variables laid over the environment.

        Raises:
            GoTimedOut: It took too long.
            GoMissing: It cannot be started.
        """
        environ = {"GOCACHE": str(self.root.path), **home_of_owner(self.root), **more}
        with trim_held(self.root):
            return self.go.run(args, cwd=self.session.cwd, extra_env=environ, told=told, timeout_s=self.timeout_s)

    @cached_property
    def listed(self) -> tuple[Package, ...]:
        """The packages and all that goes into them.

        Raises:
            NotListed: Go cannot say, or there are none.
        """
        self.session.progress.phase("listing packages")
        ran = self.run("list", "-deps", f"-json={FIELDS}", *self.wanted.flags, *self.wanted.patterns)
        found = None if ran.exit_code else parse_packages(ran.stdout)
        if not found or not any(package.named for package in found):
            words = " ".join(self.wanted.patterns)
            trouble = cache_trouble(printable(ran.stderr))
            said = " ".join((*trouble[:2], last_lines(ran.stderr, 3).replace("\n", " "))).strip()
            raise NotListed(f"go list {words}: exit code {ran.exit_code}; {said or 'it names no package'}")
        return found

    @cached_property
    def env(self) -> dict[str, str]:
        """Some of what `go env` says here, where a go.mod and another toolchain may count."""
        names = ("GOFLAGS", "GOROOT", "GOOS", "GOARCH", "GOHOSTOS", "GOHOSTARCH")
        lines = os.fsdecode(self.run("env", *names).or_fail().stdout).split("\n")
        return dict(zip(names, lines, strict=False))

    @property
    def all_flags(self) -> tuple[str, ...]:
        """The person's own flags, from GOFLAGS and from the command line."""
        try:
            return (*shlex.split(self.env["GOFLAGS"]), *self.wanted.flags)
        except ValueError:
            return (*self.env["GOFLAGS"].split(), *self.wanted.flags)
