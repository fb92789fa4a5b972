"""Does the cache give back what it is given?

Knows:     what two builds of a throw-away module, one after the other, say about the cache they ran on.
Called by: `flows`, which runs the two builds with `gotool`.
Never:     judges by time.
Source:    cmd/go/internal/work/exec.go: a step has a command line in the action graph exactly when a tool ran; `go build` always links.
           Two builds of a small program cost 0.10 and 0.11 CPU seconds on a cache that worked (go1.21.13).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph, tools_run
from go_cache_safeguard.gotool.complaint import cache_trouble
from go_cache_safeguard.gotool.trial import PACKAGES, Built

CHECK = Check(
    id="reuse",
    title="a second build compiles nothing",
    question="After a new module was built once, does building it again run no tool but the linker?",
    blind_spot="It shows that new entries are kept and found, not that the entries already there are right.",
)

_REMEDY = (
    "go env GOCACHE GOFLAGS GOCACHEPROG",
    "df -h and df -i on the cache's file system: a full disk makes go drop entries without a word",
    "go-cache-safeguard check",
)


@dataclass(frozen=True, slots=True)
class ReuseFacts:
    """Two builds of the same throw-away module, one after the other, each with an output file of its own.

    Attributes:
        first: Must compile the module.
        second: Must not; None if it was not run because the first one failed.
    """

    first: Built
    second: Built | None


def judge(facts: ReuseFacts) -> Verdict:
    """PASS only if the first build compiled the module and the second one nothing."""
    for which, build in (("first", facts.first), ("second", facts.second)):
        if build is None:
            return _unknown(f"the {which} build was not run")
        if build.exit_code:
            return _failed(which, build)
        if isinstance(build.actions, NoGraph):
            return _unknown(f"what the {which} build did cannot be told: {build.actions.reason}", build.said)
    assert facts.second is not None  # noqa: S101 - the loop returned otherwise
    return _compare(facts.first, facts.second)


def _compare(first: Built, second: Built) -> Verdict:
    once, again = _tools(first), _tools(second)
    evidence = (
        f"the first build ran {len(once)} tools besides the linker: {_names(once)}",
        f"the second build ran {len(again)} tools besides the linker: {_names(again)}",
        f"CPU time {_seconds(first)} and {_seconds(second)}; time alone proves nothing, a small build costs the same either way",
    )
    if not {action.package for action in once} >= PACKAGES:
        return _unknown("the first build did not compile the new module, so the second one proves nothing", *evidence)
    if again:
        summary = "the cache does not give back what it was given: a second build compiled again"
        return Verdict(CHECK.id, Outcome.BLOCK, summary, evidence, _REMEDY)
    if not _linked(second):
        return _unknown("the second build did not even link, so it did not ask the cache", *evidence)
    return Verdict(CHECK.id, Outcome.PASS, "a second build took everything from the cache", evidence)


def _failed(which: str, build: Built) -> Verdict:
    if trouble := cache_trouble(build.said):
        summary = f"the {which} build failed because of the cache: {trouble[0]}"
        return Verdict(CHECK.id, Outcome.BLOCK, summary, trouble, _REMEDY)
    return _unknown(f"the {which} build failed with exit code {build.exit_code}", *build.said.splitlines()[-5:])


def _unknown(summary: str, *evidence: str) -> Verdict:
    lines = tuple(line for line in evidence if line)
    return Verdict(CHECK.id, Outcome.UNKNOWN, summary, lines, ("go version", "go env"))


def _tools(build: Built) -> tuple[BuildAction, ...]:
    return () if isinstance(build.actions, NoGraph) else tools_run(build.actions)


def _linked(build: Built) -> bool:
    return not isinstance(build.actions, NoGraph) and any(step.mode == "link" and step.cmd for step in build.actions)


def _names(actions: Iterable[BuildAction]) -> str:
    names = sorted({action.package for action in actions})
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "none"


def _seconds(build: Built) -> str:
    return f"{build.cpu_ns / 1e9:.2f} s"
