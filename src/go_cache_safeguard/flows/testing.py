"""Build, vet and test the person's packages in a cache.

Knows:     the command lines, and in which order something that failed is run once more when that was asked for.
Called by: `flows.prove`.
Never:     runs anything twice that was not asked for, or hides that it did. `go test` runs code of the person's: their tests.
Source:    `go help test`: -count=1 takes no result out of the cache; -timeout ends a test program with the stack of every goroutine.
"""

import os
from dataclasses import dataclass, field

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.packages import Judged, Packages
from go_cache_safeguard.gotool.complaint import GoTimedOut, cache_trouble, last_lines, printable
from go_cache_safeguard.gotool.run import Ran
from go_cache_safeguard.verify.testrun import OUTPUT_LIMIT, Again, TestRun, judge, passed_again, what_again

_OWN_LIMIT = 0.9
"""share of our time limit after which go ends a test program by itself: then the stream says which test hung, and where."""


def build(packages: Packages) -> Judged:
    """Build them; what one of them is alone is thrown away, so that nothing lands in the module."""
    words = " ".join(packages.wanted.patterns)
    packages.session.progress.phase(f"proving: go build {words}")
    ran = packages.run("build", *packages.wanted.flags, "-o", os.devnull, "--", *packages.wanted.patterns)
    return _plain("build", f"go build {words}", ran)


def vet(packages: Packages) -> Judged:
    """Vet them."""
    words = " ".join(packages.wanted.patterns)
    packages.session.progress.phase(f"proving: go vet {words}")
    ran = packages.run("vet", *packages.wanted.flags, "--", *packages.wanted.patterns)
    return _plain("vet", f"go vet {words}", ran)


def _plain(step: str, command: str, ran: Ran) -> Judged:
    said = printable(ran.stdout + ran.stderr)
    summary = f"{command}: exit code {ran.exit_code}, {ran.cpu_ns / 1e9:.1f} CPU s"
    if not ran.exit_code:
        return Judged(Verdict(step, Outcome.PASS, summary))
    lines = (*cache_trouble(said), *last_lines(ran.stdout + ran.stderr, 10).splitlines())
    return Judged(
        Verdict(step, Outcome.BLOCK, summary, tuple(dict.fromkeys(lines))[:12]), {"said": said[-8 * OUTPUT_LIMIT :]}
    )


@dataclass(slots=True)
class _Reader:
    """Reads a stream as it comes, and says how far it is."""

    packages: Packages
    total: int
    run: TestRun = field(default_factory=TestRun)
    _told: int = 0
    _shown: tuple[int, int, tuple[str, ...]] = (-1, -1, ())

    def __call__(self, chunk: bytes) -> None:
        self.run.feed(chunk)
        progress = self.packages.session.progress
        for failed in self.run.failures[self._told :]:
            progress.say(f"FAIL {failed.name}")
        self._told = len(self.run.failures)
        now = (self.run.ended, self.run.count("pass"), self.run.running)
        if now != self._shown:
            self._shown = now
            at = f", in {now[2][-1]}" if now[2] else ""
            progress.phase(f"proving: go test, {now[0]} of {self.total} packages, {now[1]} tests passed{at}")


@dataclass(frozen=True, slots=True)
class _Tested:
    """One `go test`.

    Attributes:
        run: Its stream, closed.
        exit_code: None when it did not end in time.
        said: Its standard error, printable.
    """

    run: TestRun
    exit_code: int | None
    said: str


def test(packages: Packages) -> Judged:
    """Test them, everything once."""
    paths = [package.path for package in packages.listed if package.named]
    first = _test(packages, packages.wanted.patterns, len(paths))
    again = _retry(packages, first)
    flaky = tuple(again) if all(again.values()) else ()
    verdict = judge(first.run, paths, exit_code=first.exit_code, flaky=flaky, said=first.said)
    return Judged(_with_retries(verdict, again), _kept(first, again))


def _test(packages: Packages, patterns: tuple[str, ...], total: int, *more: str) -> _Tested:
    reader = _Reader(packages, total)
    limit = f"-timeout={max(1, int(packages.timeout_s * _OWN_LIMIT))}s"
    race = ("-race",) if packages.wanted.race else ()
    args = ("test", "-json", "-count=1", limit, *race, *packages.wanted.flags, *more, *patterns)
    try:
        ran = packages.run(*args, told=reader)
    except GoTimedOut as failure:
        reader.run.close()
        return _Tested(reader.run, None, failure.what)
    reader.run.close()
    return _Tested(reader.run, ran.exit_code, printable(ran.stderr))


def _retry(packages: Packages, first: _Tested) -> dict[str, bool]:
    """What was run again, and whether it passed then. Nothing if something failed that would fail again: a build."""
    todo = what_again(first.run)
    failed = sum(package.end == "fail" for package in first.run.packages.values())
    if not first.exit_code or not packages.wanted.retry or len(todo) < failed:
        return {}
    return {again.name: any(_passes(packages, again) for _ in range(packages.wanted.retry)) for again in todo}


def _passes(packages: Packages, again: Again) -> bool:
    tested = _test(packages, (again.package,), 1, *again.arguments)
    return passed_again(again, tested.run, tested.exit_code)


def _with_retries(verdict: Verdict, again: dict[str, bool]) -> Verdict:
    if not again or verdict.outcome is Outcome.WARN:
        return verdict
    lines = tuple(f"run again: {name}: {'passed' if passed else 'failed'}" for name, passed in again.items())
    return Verdict(verdict.check, verdict.outcome, verdict.summary, (*verdict.evidence, *lines))


def _kept(first: _Tested, again: dict[str, bool]) -> dict[str, Value]:
    return {
        "exit_code": first.exit_code,
        "failures": [failed.as_value() for failed in first.run.failures],
        "unfinished": [f"{one.path} {name}" for one in first.run.packages.values() for name in one.unfinished],
        "other_lines": first.run.strange.text,
        "stderr": first.said[-OUTPUT_LIMIT:],
        "run_again": [{"what": name, "passed": passed} for name, passed in again.items()],
        "packages": {
            path: {"end": package.end, "passed": package.count("pass"), "failed": package.count("fail")}
            for path, package in first.run.packages.items()
        },
    }
