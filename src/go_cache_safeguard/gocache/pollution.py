"""Whether what a cache gives back is what a build would make, and how sure a sample makes one.

Knows:     how to choose a sample that can be chosen again, what a comparison means, the bound that it proves, and the
           configurations that the lab alternates between.
Called by: `flows.pollution` and `flows.sampling` gather the facts.
Never:     compares sizes or times: outputs are the same if their SHA-256 is.
Source:    cmd/go/internal/cache/cache.go `GetFile`: go looks at the size of an archive only, so one that an entry names wrongly is
           linked without a word (go1.21 to go1.27). The bound is exact: the largest number of bad ones for which a sample drawn
           without replacement would show so few with a probability above 5 % (hypergeometric).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from math import comb

from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gotool.sample import TAG

CHECK_ID = "sample"
_LAB_ID = "pollution"
CONFIDENCE = 0.95
_SHOWN = 10


class Judged(StrEnum):
    """What became of one package of the sample."""

    EQUAL = "equal"
    DIFFERS = "differs"
    UNREPRODUCIBLE = "not reproducible"
    OTHER_KEY = "other key"
    NOT_MADE = "not made"

    @property
    def meaning(self) -> str:
        """For a person."""
        return _MEANING[self]


_MEANING = {
    Judged.EQUAL: "rebuilt in isolation, byte for byte what the cache holds",
    Judged.DIFFERS: "rebuilt twice in isolation, both times the same, and the cache holds something else under this key",
    Judged.UNREPRODUCIBLE: "two rebuilds in isolation differ from each other, so nothing can be said of the cache",
    Judged.OTHER_KEY: "in isolation it has another key: what it imports, or what go was asked for, is not the same",
    Judged.NOT_MADE: "it could not be rebuilt, or its output could not be read",
}


@dataclass(frozen=True, slots=True)
class Held:
    """One package of the build as the cache holds it.

    Attributes:
        package: Import path.
        half: The first half of its build ID, which is that of its action.
        output: The output that the action names, 32 bytes.
        cgo: C is compiled for it: headers and libraries from elsewhere are not in its key.
    """

    package: str
    half: str
    output: bytes
    cgo: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """One package as an isolated rebuild made it.

    Attributes:
        half: The first half of its build ID.
        digest: SHA-256 of the archive.
    """

    half: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """One package of the sample, judged.

    Attributes:
        held: What the cache holds.
        judged: What became of it.
    """

    held: Held
    judged: Judged

    @property
    def text(self) -> str:
        """One line for a person."""
        why = " (C: a header, a library or the compiler may be another one now)" if self._is_c else ""
        return f"{self.held.package}: {self.judged.meaning}{why}"

    @property
    def _is_c(self) -> bool:
        return self.held.cgo and self.judged in {Judged.DIFFERS, Judged.UNREPRODUCIBLE}


@dataclass(frozen=True, slots=True)
class Sampled:
    """A sample of the packages that a build would take from the cache.

    Attributes:
        population: How many packages the build would take from the cache.
        missing: How many it would compile, because the cache has none for them.
        results: The packages that were compared.
        seed: What they were chosen with; empty if a person named them.
        beside: Packages that had to be rebuilt for the others, and were compared, too: how many, and those that differ.
        digest: SHA-256 over package, key and output of the whole population, hexadecimal: what a verdict is about.
        notes: What a person should know besides.
    """

    population: int
    missing: int
    results: tuple[Result, ...]
    seed: str = ""
    beside: tuple[int, tuple[str, ...]] = (0, ())
    digest: str = ""
    notes: tuple[str, ...] = ()

    def count(self, judged: Judged) -> int:
        """How many became that."""
        return sum(result.judged is judged for result in self.results)

    @property
    def bound(self) -> int | None:
        """At most so many of the population differ, at 95 %; None if the sample was not drawn or not all of it was compared."""
        told = self.count(Judged.EQUAL) + self.count(Judged.DIFFERS)
        if not self.seed or not told or told < len(self.results):
            return None
        return most_bad(self.count(Judged.DIFFERS), told, self.population)

    @property
    def statement(self) -> str:
        """What was proved, in one sentence."""
        differ, told = self.count(Judged.DIFFERS), len(self.results)
        words = f"{differ} of {told} differ"
        if not self.seed:
            return f"{words}; they were named, not drawn, so nothing follows for the other {self.population - told}"
        if self.bound is None:
            return f"{words}; not all could be compared, so no bound is stated"
        if told == self.population:
            return f"{words}, and these are all that the build takes from the cache"
        share = 100 * self.bound / self.population
        return f"{words}: at most {self.bound} of {self.population} ({share:.1f} %) are bad, at 95 %"


def choose(packages: Collection[str], count: int, seed: str) -> tuple[str, ...]:
    """Draw packages without replacement. The same seed and packages give the same sample, on any machine and release.

    Args:
        packages: The population.
        count: How many; all of them if it is larger.
        seed: Any text.
    """
    ranked = sorted(packages, key=lambda package: sha256(f"{seed}\0{package}".encode()).digest())
    return tuple(sorted(ranked[:count]))


def most_bad(bad: int, sampled: int, population: int, confidence: float = CONFIDENCE) -> int:
    """The upper bound of how many are bad in a population of which a sample was drawn without replacement.

    Args:
        bad: How many of the sample are.
        sampled: Its size, 1 or more.
        population: All of them.
        confidence: 0 to 1.

    Returns:
        The largest number for which seeing no more than `bad` is not less probable than 1 - confidence.
    """
    low, high = bad, population - (sampled - bad)
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most(bad, sampled, population, middle) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low


def _at_most(seen: int, sampled: int, population: int, bad: int) -> float:
    """Probability of no more than `seen` bad ones in the sample if the population has `bad`."""
    ways = sum(comb(bad, count) * comb(population - bad, sampled - count) for count in range(seen + 1))
    return ways / comb(population, sampled)


def judge_package(held: Held, cached: bytes | None, first: Made | None, second: Made | None) -> Judged:
    """What two isolated rebuilds say about a package.

    Args:
        held: What the cache holds.
        cached: SHA-256 of the output that lies there; None if it could not be read.
        first: The first rebuild; None if it made none.
        second: The second one; None if it was not needed or made none.
    """
    if first is None or cached is None:
        return Judged.NOT_MADE
    if first.half != held.half:
        return Judged.OTHER_KEY
    if first.digest == cached:
        return Judged.EQUAL
    if second is None:
        return Judged.NOT_MADE
    return Judged.DIFFERS if second == first else Judged.UNREPRODUCIBLE


def digest_of(population: Collection[Held]) -> str:
    """What a verdict is about: every package, its key, and the output that the cache would give for it."""
    total = sha256()
    for held in sorted(population, key=lambda one: one.package):
        total.update(f"{held.package} {held.half} {held.output.hex()}\n".encode())
    return total.hexdigest()


def judge(sampled: Sampled) -> Verdict:
    """BLOCK if any differs, UNKNOWN if any could not be compared, PASS if all are equal."""
    bad = [result.text for result in sampled.results if result.judged is Judged.DIFFERS]
    bad += [f"{name}: rebuilt beside, and the cache holds something else" for name in sampled.beside[1]]
    open_ = [result.text for result in sampled.results if result.judged not in {Judged.EQUAL, Judged.DIFFERS}]
    evidence = (*_few(bad), *_few(open_), sampled.statement, *sampled.notes)
    if bad:
        summary = f"the cache holds {_packages(len(bad))} that a build would not make"
        remedy = ("build with -a, or with an empty GOCACHE", "go-cache-safeguard plan")
        return Verdict(CHECK_ID, Outcome.BLOCK, summary, evidence, remedy)
    if open_ or not sampled.results:
        summary = f"{_packages(len(open_))} could not be compared" if open_ else "nothing was compared"
        return Verdict(
            CHECK_ID, Outcome.UNKNOWN, summary, evidence, ("name packages with --package", "build once, then ask again")
        )
    return Verdict(CHECK_ID, Outcome.PASS, f"rebuilt in isolation: {sampled.statement}", sampled.notes)


def _packages(count: int) -> str:
    return f"{count} package" + ("s" if count != 1 else "")


def _few(lines: Sequence[str]) -> tuple[str, ...]:
    more = (f"and {len(lines) - _SHOWN} more",) if len(lines) > _SHOWN else ()
    return *lines[:_SHOWN], *more


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to build.

    Attributes:
        name: Stable, for the command line.
        flags: Of `go build` and `go test`.
        environment: On top.
        test: The test program is built, too.
        cgo: It needs a C compiler.
        without_cgo: Packages with C are left out.
    """

    name: str
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    test: bool = False
    cgo: bool = False
    without_cgo: bool = False


CONFIGURATIONS = (
    Configuration("plain"),
    Configuration("race", ("-race",), test=True, cgo=True),
    Configuration("tags", (f"-tags={TAG}",)),
    Configuration("no-cgo", environment={"CGO_ENABLED": "0"}, without_cgo=True),
    Configuration("cgo-flags", environment={"CGO_CFLAGS": "-O1 -g"}, cgo=True),
    Configuration("cover", ("-cover",)),
    Configuration("gcflags", ("-gcflags=-N -l",)),
)
"""What the lab alternates between."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An output of the shared cache that is not what a clean one gives.

    Attributes:
        toolchain: `go1.27.3`.
        configuration: Its name, with `-trimpath` if it was built so.
        round: Which, from 1.
        name: Package or program.
        what: `other content`, or `only with a clean cache`, or `only with the shared cache`.
    """

    toolchain: str
    configuration: str
    round: int
    name: str
    what: str


def differences(
    clean: Mapping[str, bytes], shared: Mapping[str, bytes], *, toolchain: str, configuration: str, at: int
) -> tuple[Difference, ...]:
    """Compare all outputs of one build, by name."""
    found = []
    for name in sorted(clean.keys() | shared.keys()):
        if name not in shared:
            what = "only with a clean cache"
        elif name not in clean:
            what = "only with the shared cache"
        elif clean[name] != shared[name]:
            what = "other content"
        else:
            continue
        found.append(Difference(toolchain, configuration, at, name, what))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Count:
    """What one configuration came to.

    Attributes:
        toolchain: `go1.27.3`.
        configuration: Its name, with `-trimpath` if it was built so.
        builds: Builds with the shared cache.
        archives: Package archives compared.
        programs: Programs compared.
    """

    toolchain: str
    configuration: str
    builds: int
    archives: int
    programs: int


@dataclass(frozen=True, slots=True)
class Demonstration:
    """Pollution that there really is.

    Attributes:
        name: Stable.
        title: What was done.
        shown: Whether go did as is known of it.
        text: What was seen.
    """

    name: str
    title: str
    shown: bool
    text: str


def judge_lab(counts: Sequence[Count], found: Sequence[Difference], doubts: Collection[str]) -> Verdict:
    """PASS if no build with the shared cache gave another output than one with a clean cache.

    Args:
        counts: What was compared.
        found: What differs although two clean caches agree.
        doubts: What could not be built, or differs between two clean caches.
    """
    archives, programs = sum(one.archives for one in counts), sum(one.programs for one in counts)
    builds = sum(one.builds for one in counts)
    compared = f"{builds} builds, {archives} archives and {programs} programs compared byte by byte"
    lines = [f"{one.toolchain} {one.configuration}, round {one.round}: {one.name}: {one.what}" for one in found]
    if found:
        summary = f"{len(found)} outputs differ from those of a clean cache"
        return Verdict(_LAB_ID, Outcome.BLOCK, summary, (*_few(lines), compared))
    if doubts or not archives:
        summary = "not everything could be compared" if doubts else "nothing was built"
        return Verdict(_LAB_ID, Outcome.UNKNOWN, summary, (*_few(sorted(doubts)), compared))
    return Verdict(_LAB_ID, Outcome.PASS, "no build was changed by what others left in the cache", (compared,))
