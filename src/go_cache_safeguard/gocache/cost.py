"""What it costs to make a cache entry again: measured where a compiler was seen at work, otherwise estimated by size.

Knows:     measured steps of builds, how one is found for an output, and a rate with its spread for all others.
Called by: `flows.costs` fills it; collection, evidence packs and the graph ask it.
Never:     calls an estimate a measurement. Never promises wall time: all seconds are CPU seconds of the tools that go starts.
Source:    `-debug-actiongraph` of `go build net/http` in an empty cache, go1.27.3 (189 packages, 82 MiB, 25.7 CPU s) and go1.21.13
           (129 packages, 60 MiB, 20.3 CPU s), linux/amd64, two cores. CPU seconds per MiB of archive, without the
           start of the compiler and each package counted by its size: median 0.32 and 0.34, quartiles by packages and by bytes 0.22 to 0.36.
           Linking 82 MiB of archives took 0.33 s, 60 MiB 0.29 s.
           Vetting net/http, net, os, fmt and strings with go1.27.3: 0.02 to 0.46 s, median 0.07 s.

A compiler's time follows the size of what it writes well enough to order entries by, and badly enough that a range is told beside
every sum: half of all packages and of all bytes lie within a factor of 1.5 of the median.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from statistics import median
from typing import TypeAlias

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Output
from go_cache_safeguard.gotool.actiongraph import BuildAction

BUILD, LINK = "build", "link"
MIB = 1 << 20
START_S = 0.004
"""CPU seconds: what the compiler takes for a package with nothing in it."""
ENOUGH = 20
"""packages that must be measured before the rate of this machine replaces the one above."""
_MAIN = "main"
"""What the compiler calls every program: by this name nothing can be told apart."""

Key: TypeAlias = tuple[str, str, str, tuple[str, ...]]
"""Import path, toolchain, target such as `linux/amd64`, compiler flags."""


@dataclass(frozen=True, slots=True)
class Rate:
    """CPU seconds by size.

    Attributes:
        per_mib: The median: half of all bytes took less.
        low: The lower quartile, likewise for each MiB; see `rate_of`.
        high: The upper quartile.
        samples: How many packages it comes from.
        source: Where it comes from, for a person.
    """

    per_mib: float
    low: float
    high: float
    samples: int
    source: str


SHIPPED = Rate(
    0.32, 0.22, 0.36, 318, "shipped: net/http with go1.21.13 and go1.27.3 on linux/amd64, not this machine's own"
)
"""Until enough was measured here."""
_LINKING = Rate(0.0045, 0.003, 0.007, 2, "shipped: CPU seconds of linking for each MiB of archives")
_LINK_START_S = 0.05
_LINKED = 0.04
"""CPU seconds for each MiB of a linked program."""
_FLAT: Mapping[Kind, tuple[float, float, float]] = {
    Kind.VET_FACTS: (0.07, 0.02, 0.46),
    # A test's time is its author's business: a second, so that it counts as what it mostly is, small and dear.
    Kind.TEST_OUTPUT: (1.0, 0.0, 60.0),
    Kind.TEST_LOG: (1.0, 0.0, 60.0),
    Kind.COVERAGE: (1.0, 0.0, 60.0),
}
_LITTLE = (0.001, 0.0, 0.01)
"""Lists of sources, package indexes and the like: go makes them from files that it reads anyway."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of one entry.

    Attributes:
        seconds: CPU seconds.
        measured: A tool was seen at work; otherwise it is an estimate.
        low: Half of all estimates like this are between `low` and `high`; both are `seconds` if it was measured.
        high: See `low`.
    """

    seconds: float
    measured: bool
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Total:
    """The price of many.

    Attributes:
        entries: How many were priced.
        measured: Of those, how many were measured.
        seconds: CPU seconds of all.
        measured_s: CPU seconds of the measured ones.
        low: CPU seconds, with every estimate at its lower quartile.
        high: Likewise the upper quartile.
    """

    entries: int
    measured: int
    seconds: float
    measured_s: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a build that a tool was seen to do.

    Attributes:
        half: First half of its build ID: 20 characters, as `gocache.inventory.id_half` makes them of an action.
        mode: `build` or `link`.
        package: Import path, without the test that it was compiled for.
        toolchain: Such as `go1.27.3`.
        target: Such as `linux/amd64`; empty if it is not known.
        flags: Compiler flags as the archive names them; empty if it is not known either.
        seconds: CPU seconds.
        size: Bytes of the archive; 0 if it is not known.
    """

    half: str
    mode: str
    package: str
    toolchain: str
    target: str = ""
    flags: tuple[str, ...] = ()
    seconds: float = 0.0
    size: int = 0


class Costs:
    """Prices, from what was measured.

    Args:
        steps: What was measured, oldest first.
        outputs: What lies in a cache: tells size, target and flags of steps of which they are not known.
    """

    def __init__(self, steps: Iterable[Step] = (), outputs: Iterable[Output] = ()) -> None:
        self._steps = {step.half: step for step in steps}
        for output in outputs if self._steps else ():
            about = output.about
            step = None if about is None else self._steps.get(about.build_action)
            if step is not None and about is not None and output.kind is Kind.ARCHIVE:
                named = (step.half, step.mode, step.package, about.version, about.target, about.flags)
                self._steps[step.half] = Step(*named, step.seconds, output.size)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was measured, the newest of each."""
        return tuple(self._steps.values())

    def of(self, output: Output) -> Cost:
        """The price of making an output again, with everything that it needs at hand."""
        return self.of_kind(output.kind, output.about, output.size)

    def of_kind(self, kind: Kind, about: Archive | None, size: int) -> Cost:
        """The same, from what is remembered of an output.

        Args:
            kind: What it is.
            about: What it says about itself.
            size: In bytes.
        """
        if about is not None:
            exact = self.of_step(about.build_action)
            if exact is not None:
                return exact
            same = self.of_package(about.package or "", about.version, about.target, about.flags)
            if same is not None and kind is Kind.ARCHIVE:
                return same
        if kind is Kind.ARCHIVE:
            return self.of_size(size)
        if kind is Kind.EXECUTABLE:
            seconds = _LINK_START_S + size / MIB * _LINKED
            return Cost(seconds, False, seconds / 2, seconds * 2)  # noqa: FBT003 - a row
        if kind is Kind.EMPTY:
            return Cost(0.0, False, 0.0, 0.0)  # noqa: FBT003 - a row
        seconds, low, high = _FLAT.get(kind, _LITTLE)
        return Cost(seconds, False, low, high)  # noqa: FBT003 - a row

    def of_step(self, half: str) -> Cost | None:
        """What exactly this step took when it was seen; None if it never was."""
        step = self._steps.get(half)
        return None if step is None else _seen(step.seconds)

    def of_package(self, package: str, toolchain: str, target: str, flags: tuple[str, ...]) -> Cost | None:
        """What compiling a package took, whatever was in it then: the median; None if it was never seen, or is a program."""
        return self._of_key((package, toolchain, target, flags))

    def of_size(self, size: int) -> Cost:
        """An estimate for an archive of so many bytes."""
        rate, mib = self.rate, size / MIB
        return Cost(START_S + mib * rate.per_mib, False, START_S + mib * rate.low, START_S + mib * rate.high)  # noqa: FBT003 - a row

    def of_link(self, half: str, package: str, toolchain: str, size: int) -> Cost:
        """The price of linking a program.

        Args:
            half: First half of the link's build ID; may be empty.
            package: Import path of the program.
            toolchain: Such as `go1.27.3`.
            size: Bytes of all archives that go into it.
        """
        seen = self._links.get((package, toolchain))
        exact = self.of_step(half)
        if exact is not None or seen is not None:
            return exact or _seen(median(seen or ()))
        mib = size / MIB
        low, high = _LINK_START_S + mib * _LINKING.low, _LINK_START_S + mib * _LINKING.high
        return Cost(_LINK_START_S + mib * _LINKING.per_mib, False, low, high)  # noqa: FBT003 - a row

    @cached_property
    def rate(self) -> Rate:
        """CPU seconds by size: of what was measured here if that is enough, else the shipped one."""
        built = (step for step in self._steps.values() if step.mode == BUILD and step.size)
        found = [(max(0.0, step.seconds - START_S) / step.size * MIB, step.size) for step in built]
        return SHIPPED if len(found) < ENOUGH else rate_of(found, "measured here")

    def _of_key(self, key: Key) -> Cost | None:
        seen = self._packages.get(key)
        return None if seen is None else _seen(median(seen))

    @cached_property
    def _packages(self) -> Mapping[Key, list[float]]:
        found: dict[Key, list[float]] = {}
        for step in self._steps.values():
            if step.mode == BUILD and step.target and step.package != _MAIN:
                found.setdefault((step.package, step.toolchain, step.target, step.flags), []).append(step.seconds)
        return found

    @cached_property
    def _links(self) -> Mapping[tuple[str, str], list[float]]:
        found: dict[tuple[str, str], list[float]] = {}
        for step in self._steps.values():
            if step.mode == LINK:
                found.setdefault((step.package, step.toolchain), []).append(step.seconds)
        return found


def rate_of(measured: Iterable[tuple[float, int]], source: str) -> Rate:
    """The rate of some packages, each counted by its size: sums are what is asked for, and in small packages there is much chance.

    The quartiles are the wider ones of those by packages and by bytes, as a single large package may be half of all bytes.

    Args:
        measured: Of at least one package the CPU seconds for each MiB, and the size in bytes, more than 0.
        source: Where this comes from.
    """
    ordered = sorted(measured)
    sums = list(accumulate(size for _rate, size in ordered))
    low, middle, high = (ordered[bisect_left(sums, sums[-1] * part)][0] for part in (0.25, 0.5, 0.75))
    rates = [rate for rate, _size in ordered]
    quarter = (len(rates) - 1) // 4
    return Rate(middle, min(low, rates[quarter]), max(high, rates[-1 - quarter]), len(ordered), source)


def total(costs: Iterable[Cost]) -> Total:
    """Add up prices."""
    entries = measured = 0
    seconds = measured_s = low = high = 0.0
    for cost in costs:
        entries += 1
        seconds, low, high = seconds + cost.seconds, low + cost.low, high + cost.high
        if cost.measured:
            measured, measured_s = measured + 1, measured_s + cost.seconds
    return Total(entries, measured, seconds, measured_s, low, high)


def steps_of(actions: Iterable[BuildAction], *, toolchain: str) -> tuple[Step, ...]:
    """What an action graph tells of prices: one step for every package that was compiled and every program that was linked.

    Since go1.24 the parts of a package with cgo are steps of their own (`cgo run`, `cgo compile ...`) without an ID: their time is
    that of the package.

    Args:
        actions: The graph.
        toolchain: What built, such as `go1.27.3`; an experiment that `go env` names after it does not count.
    """
    actions = tuple(actions)
    apart: dict[str, int] = {}
    for action in actions:
        if action.cmd and action.mode.startswith("cgo "):
            apart[action.package] = apart.get(action.package, 0) + action.cpu_ns
    return tuple(
        Step(
            action.action_id,
            action.mode,
            plain(action.package),
            toolchain.partition(" ")[0],
            seconds=(action.cpu_ns + (apart.get(action.package, 0) if action.mode == BUILD else 0)) / 1e9,
        )
        for action in actions
        if action.cmd and action.action_id and action.mode in {BUILD, LINK}
    )


def plain(package: str) -> str:
    """An import path without the test that it was compiled for: `p` of `p [p.test]`."""
    return package.partition(" [")[0]


def _seen(seconds: float) -> Cost:
    return Cost(seconds, True, seconds, seconds)  # noqa: FBT003 - a row
