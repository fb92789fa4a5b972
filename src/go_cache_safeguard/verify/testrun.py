"""What a `go test -json` stream says: which packages and tests passed, failed, or never came to an end.

Knows:     the events of test2json, the build events of Go 1.24 and later, the plain lines between them, and what they prove.
Called by: `flows.testing` feeds the stream in as it comes; `flows.prove` keeps what failed.
Never:     takes a stream that ended early for a pass, or a test that passed only when it was run again.
Source:    `go doc test2json`; `go help buildjson` (build-output, build-fail: go1.24); cmd/go/internal/test/test.go. Streams of
           go1.21.13 and go1.27.3: until go1.23 a package that does not build has no event, only the line `FAIL<tab>p [build failed]`.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gotool.complaint import printable

OUTPUT_LIMIT = 8 << 10
"""characters kept of what one test or package said, the last ones."""
FAILURES = 50
"""failures whose output is kept; the rest are counted and named."""
_LINE_LIMIT = 1 << 20
"""bytes of one line; what is longer is no event of go."""

_NOT_BUILT = re.compile(r"FAIL\s+(\S+)(?: \[[^\]]*\])? \[(build|setup) failed\]")
_NAME = re.compile(r"\w+")
_ENDS = {"pass", "fail", "skip"}


@dataclass(slots=True)
class _Speech:
    """The last characters that somebody said."""

    text: str = ""

    def add(self, more: str) -> None:
        self.text = (self.text + more)[-OUTPUT_LIMIT:]


@dataclass(slots=True)
class Package:
    """One package as far as the stream tells.

    Attributes:
        path: Its import path.
        end: `pass`, `fail`, `skip`, or nothing while it runs.
        ends: How each test ended that did; subtests too.
        began: Tests that began.
        complete: Its test program came to its own end; False after a panic, os.Exit or a timeout.
        elapsed_s: Seconds, as go says.
        why: What go says besides: build failed, no test files.
    """

    path: str
    end: str = ""
    ends: dict[str, str] = field(default_factory=dict)
    began: set[str] = field(default_factory=set)
    complete: bool = False
    elapsed_s: float = 0.0
    why: str = ""

    @property
    def failed(self) -> tuple[str, ...]:
        """Tests that failed."""
        return tuple(sorted(name for name, end in self.ends.items() if end == "fail"))

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Tests that began and did not end."""
        return tuple(sorted(self.began - self.ends.keys()))

    def count(self, end: str) -> int:
        """How many top-level tests ended so."""
        return sum(found == end and "/" not in name for name, found in self.ends.items())


@dataclass(frozen=True, slots=True)
class Failed:
    """Something that failed, with the end of what it said.

    Attributes:
        package: Its import path.
        test: Name of the test; empty when the package as a whole failed.
        said: At most `OUTPUT_LIMIT` characters, printable.
    """

    package: str
    test: str
    said: str

    @property
    def name(self) -> str:
        """`package.Test`, or the package."""
        return f"{self.package}.{self.test}" if self.test else self.package

    def as_value(self) -> dict[str, Value]:
        """For the evidence."""
        return {"package": self.package, "test": self.test, "said": self.said}


@dataclass(slots=True)
class TestRun:
    """A stream, read as it comes.

    Attributes:
        packages: By import path.
        failures: In the order in which they came; at most `FAILURES` have their output.
        strange: Lines that are no event, the last ones.
        torn: The stream ended inside a line.
    """

    __test__ = False  # pytest must not take this for a test

    packages: dict[str, Package] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)
    strange: _Speech = field(default_factory=_Speech)
    torn: bool = False
    _said: dict[tuple[str, str], _Speech] = field(default_factory=dict)
    _built: dict[str, _Speech] = field(default_factory=dict)
    _rest: bytes = b""

    def feed(self, chunk: bytes) -> None:
        """Read more of the stream, cut anywhere."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > _LINE_LIMIT:
            self._rest = self._rest[-_LINE_LIMIT:]

    def close(self) -> None:
        """The stream has ended."""
        self.torn = bool(self._rest)
        self._rest = b""

    @property
    def running(self) -> tuple[str, ...]:
        """Packages that began and did not end."""
        return tuple(path for path, package in self.packages.items() if not package.end)

    @property
    def ended(self) -> int:
        """How many packages came to an end."""
        return sum(bool(package.end) for package in self.packages.values())

    def count(self, end: str) -> int:
        """How many top-level tests ended so."""
        return sum(package.count(end) for package in self.packages.values())

    def _line(self, line: bytes) -> None:
        try:
            event = json.loads(line) if line[:1] == b"{" else None
        except ValueError:
            event = None
        if isinstance(event, dict) and isinstance(event.get("Action"), str):
            self._event(event)
        elif line.strip():
            self._plain(printable(line))

    def _plain(self, line: str) -> None:
        self.strange.add(line + "\n")
        if (found := _NOT_BUILT.match(line)) is not None:
            package = self._package(found[1])
            package.end, package.why = "fail", f"{found[2]} failed"
            self._fail(Failed(package.path, "", line))

    def _event(self, event: dict[str, Any]) -> None:
        action, test = event["Action"], _text(event, "Test")
        if action in {"build-output", "build-fail"}:
            self._built.setdefault(_text(event, "ImportPath"), _Speech()).add(_text(event, "Output"))
            return
        path = _text(event, "Package")
        if not path:
            self._plain(f"an event without a package: {action}")
            return
        package = self._package(path)
        if action == "output":
            self._output(package, test, _text(event, "Output"))
        elif action == "run" and test:
            package.began.add(test)
        elif action in _ENDS and test:
            self._end_test(package, test, action)
        elif action in _ENDS:
            self._end(package, action, event)

    def _output(self, package: Package, test: str, said: str) -> None:
        self._said.setdefault((package.path, test), _Speech()).add(said)
        if not test:
            # Printed by the test program itself when it comes to its end; go's own line has the package's name behind it.
            package.complete |= said in {"PASS\n", "FAIL\n"}
            if "[no test files]" in said or "[no tests to run]" in said or " failed]" in said:
                package.why = said.partition("[")[2].partition("]")[0]

    def _end_test(self, package: Package, test: str, action: str) -> None:
        package.ends[test] = action
        said = self._said.pop((package.path, test), _Speech())
        if action == "fail":
            self._fail(Failed(package.path, test, _clean(said.text)))

    def _end(self, package: Package, action: str, event: dict[str, Any]) -> None:
        package.end = action
        elapsed = event.get("Elapsed")
        package.elapsed_s = float(elapsed) if isinstance(elapsed, int | float) else 0.0
        said = self._said.pop((package.path, ""), _Speech()).text
        for name in package.unfinished:
            said += self._said.pop((package.path, name), _Speech()).text
        if action == "fail":
            said = self._built.get(_text(event, "FailedBuild"), _Speech()).text + said
            if not package.failed or package.unfinished or not package.complete:
                self._fail(Failed(package.path, "", _clean(said)))

    def _package(self, path: str) -> Package:
        return self.packages.setdefault(path, Package(path))

    def _fail(self, failed: Failed) -> None:
        kept = sum(bool(one.said) for one in self.failures)
        self.failures.append(failed if kept < FAILURES else Failed(failed.package, failed.test, ""))


def _text(event: dict[str, Any], key: str) -> str:
    value = event.get(key, "")
    return value if isinstance(value, str) else ""


def _clean(said: str) -> str:
    return printable(said.encode("utf-8", "replace"))


def read(stream: bytes) -> TestRun:
    """Read a whole stream at once."""
    run = TestRun()
    run.feed(stream)
    run.close()
    return run


@dataclass(frozen=True, slots=True)
class Again:
    """What to run once more.

    Attributes:
        package: The package.
        tests: Its failed top-level tests; none for the whole package.
    """

    package: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """The package, and the tests if not all of them."""
        return " ".join((self.package, *self.tests))

    @property
    def arguments(self) -> tuple[str, ...]:
        """For `go test`, before the package."""
        return ("-run", f"^({'|'.join(self.tests)})$") if self.tests else ()


def what_again(run: TestRun) -> list[Again]:
    """What failed and could pass when it is run once more.

    Of a package whose test program came to its own end only the failed tests; where it did not, the others may never have run,
    so the whole package.
    """
    found = []
    for package in run.packages.values():
        if package.end == "fail" and "failed" not in package.why:
            tops = tuple(sorted({name.partition("/")[0] for name in package.failed}))
            alone = package.complete and tops and all(map(_NAME.fullmatch, tops))
            found.append(Again(package.path, tops if alone else ()))
    return found


def passed_again(again: Again, run: TestRun, exit_code: int | None) -> bool:
    """Whether everything that was run once more passed."""
    package = run.packages.get(again.package)
    if exit_code != 0 or run.torn or run.failures or package is None or package.end != "pass":
        return False
    return package.count("pass") > 0 and all(package.ends.get(test) == "pass" for test in again.tests)


def judge(
    run: TestRun,
    expected: Iterable[str],
    *,
    exit_code: int | None,
    flaky: Iterable[str] = (),
    said: str = "",
) -> Verdict:
    """What the run proves.

    Args:
        run: The stream, closed.
        expected: Import paths of all packages that were to be tested.
        exit_code: Of `go test`; None when it did not end by itself in time.
        flaky: Packages or tests that failed and passed when they were run again; nothing else may have failed then.
        said: What go said on its standard error, printable.
    """
    flaky = tuple(flaky)
    wanted = tuple(expected)
    numbers = f"{len(wanted)} packages, {run.count('pass')} tests passed, {run.count('fail')} failed, {run.count('skip')} skipped"
    failed = _failures(run)
    if failed and not flaky:
        return _verdict(Outcome.BLOCK, f"{len(run.failures)} failures in {numbers}", (*failed, *_last(said)))
    if unknown := _unknown(run, wanted, exit_code, flaky=bool(flaky)):
        return _verdict(Outcome.UNKNOWN, unknown, (numbers, *_last(run.strange.text), *_last(said)))
    if flaky:
        lines = tuple(f"FLAKY {name}: failed, and passed when it was run again" for name in flaky)
        return _verdict(Outcome.WARN, f"{len(flaky)} flaky in {numbers}", lines)
    return _verdict(Outcome.PASS, numbers, _without_tests(run))


def _unknown(run: TestRun, wanted: tuple[str, ...], exit_code: int | None, *, flaky: bool) -> str:
    """Why this proves nothing; empty when it does."""
    open_ones = [path for path in wanted if path not in run.packages or not run.packages[path].end]
    if exit_code is None:
        return f"`go test` did not end in time; {_some(open_ones) or 'nothing'} had not ended"
    if run.torn or open_ones:
        return f"the stream of `go test -json` ended early; {_some(open_ones) or 'its last line'} has no end"
    if exit_code and not flaky:
        return f"`go test` ended with exit code {exit_code}, and nothing says why"
    if unfinished := [f"{one.path}.{name}" for one in run.packages.values() for name in one.unfinished if not flaky]:
        return f"tests began and did not end: {_some(unfinished)}"
    if not run.count("pass"):
        return "no test ran, so nothing was proved" if wanted else "no package was named, so nothing was proved"
    return ""


def _failures(run: TestRun) -> tuple[str, ...]:
    """A line for each failure, innermost first, and a few lines of what it said."""
    lines = []
    for failed in run.failures[:10]:
        lines.append(f"FAIL {failed.name}")
        # Behind it comes where each goroutine was; the evidence that is kept has that.
        spoken = failed.said.partition("\ngoroutine ")[0]
        lines += [f"  {line.strip()}" for line in spoken.splitlines() if _tells(line)][:6]
    if len(run.failures) > 10:
        lines.append(f"and {len(run.failures) - 10} more")
    return tuple(lines)


def _tells(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("=== ", "--- ", "FAIL", "PASS", "exit status"))


def _without_tests(run: TestRun) -> tuple[str, ...]:
    bare = [path for path, package in run.packages.items() if package.end == "skip" or not package.ends]
    return (f"{len(bare)} packages have no tests: {_some(bare)}",) if bare else ()


def _last(said: str) -> tuple[str, ...]:
    return tuple(line for line in said.splitlines() if line.strip())[-5:]


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _verdict(outcome: Outcome, summary: str, evidence: tuple[str, ...]) -> Verdict:
    return Verdict("test", outcome, summary, evidence)
