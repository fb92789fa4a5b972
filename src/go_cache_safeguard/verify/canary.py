"""The proof after a removal: does a new program still build, twice, and run?

Knows:     what two builds and one run of a throw-away module say about a cache from which something was removed.
Called by: `flows.clean`, which writes the module (`gotool.trial`), builds it twice and runs the second program.
Never:     takes go's `is not in std` for a fault of the source: the source is ours, so it is the cache that was taken away.
Source:    cmd/go/internal/work/exec.go (a step has a command line in the action graph exactly when a tool ran).

The program imports nothing of the standard library but the runtime, which every program has: `println` instead of `fmt`.
In an empty cache its first build cost 6.6 CPU seconds with go1.27.3 and 4.7 with go1.21.13; with `os` it would be 8.5 and
6.6, with `fmt` 10.1 and 8.5 (each run measured once on a machine that was busy with other things).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.gotool.actiongraph import NoGraph, tools_run
from go_cache_safeguard.gotool.complaint import cache_trouble
from go_cache_safeguard.gotool.trial import PACKAGES, Built, Trial


class Proved(StrEnum):
    """What the proof showed."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Proof:
    """The answer.

    Attributes:
        outcome: See `Proved`.
        summary: One sentence for a person.
        evidence: What was seen, printable.
    """

    outcome: Proved
    summary: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """How the program that was built ended.

    Attributes:
        exit_code: 0 to 255; negative: the signal that ended it.
        said: Its standard error, printable; `println` writes there.
    """

    exit_code: int
    said: str


def judge(trial: Trial, *, first: Built, second: Built | None, run: ProgramRun | None) -> Proof:
    """Judge the whole canary.

    Args:
        trial: What was built.
        first: The first build after the removal.
        second: The second one, with an output file of its own; None if it was not run.
        run: The program of the second build; None if it was not run.
    """
    faults = [*_faults("first", first), *_faults("second", second), *_faults_of_run(trial, run)]
    evidence = tuple(line for _, line in faults)
    for outcome in (Proved.FAILED, Proved.UNKNOWN):
        for found, line in faults:
            if found is outcome:
                return Proof(outcome, line, evidence)
    return _compare(first, second)


def _compare(first: Built, second: Built | None) -> Proof:
    once, again = _compiled(first), _compiled(second)
    evidence = (
        f"the first build compiled {len(once)} packages, the second one {len(again)}",
        f"CPU time {first.cpu_ns / 1e9:.2f} s and {second.cpu_ns / 1e9 if second else 0:.2f} s",
    )
    if not once >= PACKAGES:
        return Proof(Proved.UNKNOWN, "the first build did not compile the new module, so it proves nothing", evidence)
    if again:
        return Proof(
            Proved.FAILED, f"the cache keeps nothing: the second build compiled {_some(again)} again", evidence
        )
    if not _linked(second):
        return Proof(Proved.UNKNOWN, "the second build did not even link, so it did not ask the cache", evidence)
    return Proof(Proved.PASSED, "a new program builds, builds again from the cache, and runs", evidence)


def _faults(which: str, build: Built | None) -> Iterator[tuple[Proved, str]]:
    if build is None:
        yield Proved.UNKNOWN, f"the {which} build was not run"
    elif trouble := build.exit_code and cache_trouble(build.said):
        yield Proved.FAILED, f"the {which} build failed because of the cache: {trouble[0]}"
    elif build.exit_code:
        last = " ".join(build.said.splitlines()[-3:])
        yield Proved.UNKNOWN, f"the {which} build failed with exit code {build.exit_code}: {last}"
    elif isinstance(build.actions, NoGraph):
        yield Proved.UNKNOWN, f"what the {which} build did cannot be told: {build.actions.reason}"


def _faults_of_run(trial: Trial, run: ProgramRun | None) -> Iterator[tuple[Proved, str]]:
    if run is None:
        yield Proved.UNKNOWN, "the program was not run"
    elif run.exit_code:
        yield Proved.FAILED, f"the program that was built ended with exit code {run.exit_code}: {run.said[-500:]}"
    elif run.said.strip() != trial.says:
        yield Proved.FAILED, f"the program says {run.said.strip()[:200]!r} where its source says {trial.says!r}"


def _compiled(build: Built | None) -> frozenset[str]:
    if build is None or isinstance(build.actions, NoGraph):
        return frozenset()
    return frozenset(action.package for action in tools_run(build.actions))


def _linked(build: Built | None) -> bool:
    if build is None or isinstance(build.actions, NoGraph):
        return False
    return any(action.mode == "link" and action.cmd for action in build.actions)


def _some(packages: frozenset[str]) -> str:
    names = sorted(packages)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
