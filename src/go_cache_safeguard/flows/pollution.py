"""Alternate builds in one cache, and prove that none changes what another one gives; and show the pollution that there is.

Knows:     in which order to build, with which caches, and how the three known ways to a wrong output are walked.
Called by: the command line's `pollution`.
Never:     touches the person's module or cache: everything happens in a `flows.lab`.
Source:    what really pollutes was found with go1.21.13, go1.24.11 and go1.27.3: headers outside of the package's directory are in no
           key (golang/go#24355); the index of a directory is keyed by names, sizes and times; the index of a downloaded module
           by its path.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.lab import (
    Broken,
    CannotMeasure,
    How,
    Lab,
    Source,
    copy_lab,
    every_go,
    sample_lab,
)
from go_cache_safeguard.flows.sampling import made_in
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.pollution import (
    CONFIGURATIONS,
    Configuration,
    Count,
    Demonstration,
    Difference,
    differences,
    judge_lab,
)
from go_cache_safeguard.gotool.sample import EXTERNAL, TAG, TAGGED, VERSIONS


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to alternate.

    Attributes:
        gos: Go commands; empty for the usual one.
        rounds: How often each configuration is built in the shared cache.
        configurations: Names; empty for all.
        trimpath: Without, with, or both.
        module: Somebody's module, to be copied; None for ours.
        start: A cache that every cache begins with a copy of; None for empty ones.
    """

    gos: tuple[Path, ...] = ()
    rounds: int = 2
    configurations: tuple[str, ...] = ()
    trimpath: tuple[bool, ...] = (False, True)
    module: Path | None = None
    start: Path | None = None


@dataclass(frozen=True, slots=True)
class LabReport:
    """What came out.

    Attributes:
        counts: What was built and compared, by toolchain and configuration.
        found: Outputs of the shared cache that differ from those of a clean one.
        doubts: Configurations that could not be built, and outputs that two clean caches do not agree on.
        verdict: What that means.
    """

    counts: tuple[Count, ...]
    found: tuple[Difference, ...]
    doubts: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Way:
    """One toolchain with one configuration."""

    lab: Lab
    source: Source
    root: Path
    configuration: Configuration
    trimpath: bool

    @property
    def name(self) -> str:
        return self.configuration.name + (" -trimpath" if self.trimpath else "")


def run_lab(session: Session, experiment: Experiment) -> LabReport:
    """Build every configuration with a clean cache of its own, then all of them in turn with one cache, and compare.

    Raises:
        UsageFailure: A configuration, or a module, is none.
    """
    chosen = _configurations(experiment.configurations)
    with ExitStack() as stack:
        labs = [_open(stack, session, go, experiment.module) for go in every_go(session, experiment.gos)]
        ways = [
            _Way(lab, source, root, configuration, trimpath)
            for trimpath in experiment.trimpath
            for configuration in chosen
            for lab, source, root in labs
        ]
        labs[0][0].copy_into(experiment.start, labs[0][0].cache)
        clean, doubts = _clean(session, ways, experiment.start)
        found = [
            one
            for at in range(1, experiment.rounds + 1)
            for one in _round(session, clean, labs[0][0].cache, at, experiment)
        ]
        if found:
            again, _ = _clean(session, [way for way, _made in clean], experiment.start)
            shaky = _shaky(clean, again)
            doubts += tuple(f"{' '.join(one)}: two clean caches do not agree" for one in sorted(shaky))
            found = [one for one in found if (one.toolchain, one.configuration, one.name) not in shaky]
        session.progress.phase("")
        counts = tuple(_count(way, made, experiment.rounds) for way, made in clean)
    return LabReport(counts, tuple(found), doubts, judge_lab(counts, found, doubts))


_Clean = list[tuple[_Way, dict[str, bytes]]]


def _round(session: Session, clean: _Clean, shared: Path, at: int, experiment: Experiment) -> Iterator[Difference]:
    """Build all in turn; every other round the other way round, so that each has been before and after each."""
    for number, (way, expected) in enumerate(clean if at % 2 else clean[::-1], 1):
        of = f"round {at} of {experiment.rounds}: {number} of {len(clean)}"
        session.progress.phase(f"{of}: {way.lab.version} {way.name}")
        made = _outputs(way, shared)
        if isinstance(made, Broken):
            yield Difference(way.lab.version, way.name, at, made.why, "the build fails")
        else:
            yield from differences(expected, made, toolchain=way.lab.version, configuration=way.name, at=at)


def _shaky(clean: _Clean, again: _Clean) -> set[tuple[str, str, str]]:
    """Toolchain, configuration and name of what two clean caches do not agree on."""
    return {
        (way.lab.version, way.name, one.name)
        for (way, first), (_way, second) in zip(clean, again, strict=True)
        for one in differences(first, second, toolchain="", configuration="", at=0)
    }


def _configurations(names: Sequence[str]) -> tuple[Configuration, ...]:
    known = {one.name: one for one in CONFIGURATIONS}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise UsageFailure(f"{unknown!r} is not a configuration", hint=f"configurations: {', '.join(known)}")
    return tuple(one for one in CONFIGURATIONS if not names or one.name in names)


def _open(stack: ExitStack, session: Session, go: Path | None, module: Path | None) -> tuple[Lab, Source, Path]:
    place = sample_lab(session, go) if module is None else copy_lab(session, go, session.cwd / module)
    lab, source = stack.enter_context(place)
    return lab, source, lab.lay_out(source, lab.folder / "m" / "module")


def _clean(session: Session, ways: Sequence[_Way], start: Path | None) -> tuple[_Clean, tuple[str, ...]]:
    """What each gives in a cache that nothing else was ever built in; and why some give nothing."""
    clean: _Clean = []
    broken = []
    for number, way in enumerate(ways, 1):
        session.progress.phase(f"clean cache {number} of {len(ways)}: {way.lab.version} {way.name}")
        cache = Path(tempfile.mkdtemp(prefix="clean-", dir=way.lab.make(way.lab.folder / "caches")))
        way.lab.give(cache)
        way.lab.copy_into(start, cache)
        made = _outputs(way, cache) if way.lab.cgo or not way.configuration.cgo else Broken("there is no C compiler")
        if isinstance(made, Broken):
            broken.append(f"{way.lab.version} {way.name}: {made.why}")
        else:
            clean.append((way, made))
    return clean, tuple(broken)


def _count(way: _Way, made: Mapping[str, bytes], rounds: int) -> Count:
    programs = sum(name.startswith("program ") for name in made)
    return Count(way.lab.version, way.name, rounds, (len(made) - programs) * rounds, programs * rounds)


def _outputs(way: _Way, cache: Path) -> dict[str, bytes] | Broken:
    """Build, and hash all package archives and programs that the build gives. Programs go to a new directory, so that they are linked."""
    lab, configuration = way.lab, way.configuration
    out = Path(tempfile.mkdtemp(prefix="out-", dir=lab.make(lab.folder / "outs")))
    lab.give(out)
    flags = (*configuration.flags, *(("-trimpath",) if way.trimpath else ()))
    how = How(flags, environment={**configuration.environment, "GOCACHE": str(cache)})
    source = replace(way.source, libraries=()) if configuration.without_cgo and way.source.ours else way.source
    built = lab.build(way.root, source, out, how)
    if isinstance(built, Broken):
        return built
    if configuration.test and way.source.ours:
        ran = lab.run("test", *flags, "-c", "-o", str(out / "a.test"), "./a", cwd=way.root, how=how)
        if ran.exit_code:
            return Broken("the test does not build")
    found = {f"package {name}": made.digest for name, made in made_in(cache, built.actions).items()}
    for path in sorted(out.iterdir()):
        with path.open("rb") as file:
            found[f"program {path.name}"] = file_digest(file, "sha256").digest()
    return found


def demonstrate(
    session: Session, go: Path | None, start: Path | None = None, *, goflags: str = "", only: Collection[str] = ()
) -> tuple[Demonstration, ...]:
    """Walk the three known ways to an output that a clean cache would not give.

    Args:
        session: Who asks.
        go: The go command; None for the usual one.
        start: A cache that every cache begins with a copy of; None for empty ones.
        goflags: Words that every build gets.
        only: Names of those to walk; empty for all.
    """
    found = []
    for name, title, show in _DEMONSTRATIONS:
        if only and name not in only:
            continue
        session.progress.phase(f"demonstrating: {title}")
        with sample_lab(session, go, goflags, cgo=show is _header) as (lab, source):
            lab.copy_into(start, lab.cache)
            bench = _Bench(lab, source, lab.lay_out(source, lab.folder / "m" / "module"), start)
            found.append(_demonstration(name, title, bench, show))
    session.progress.phase("")
    return tuple(found)


_Show = Callable[["_Bench"], tuple[bool, str]]


def _demonstration(name: str, title: str, bench: "_Bench", show: _Show) -> Demonstration:
    try:
        shown, text = show(bench)
    except CannotMeasure as failure:
        return Demonstration(name, title, shown=False, text=failure.what)
    return Demonstration(name, title, shown, text)


@dataclass(frozen=True, slots=True)
class _Bench:
    lab: Lab
    source: Source
    root: Path
    start: Path | None

    def outputs(self, *, clean: bool = False) -> dict[str, bytes]:
        """Build with the cache of this place, or with one in which nothing of the module was built."""
        cache = self.lab.cache
        if clean:
            cache = self.lab.make(self.lab.folder / "clean")
            self.lab.copy_into(self.start, cache)
        made = _outputs(_Way(self.lab, self.source, self.root, Configuration("plain"), trimpath=False), cache)
        if isinstance(made, Broken):
            raise CannotMeasure(made.why)
        return made

    def differing(self, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
        return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _header(bench: _Bench) -> tuple[bool, str]:
    if not bench.lab.cgo:
        return False, "there is no C compiler"
    bench.outputs()
    bench.lab.write(bench.root / "outside" / "outside.h", b"#define OUTSIDE 7\n", None)
    stale, clean = bench.outputs(), bench.outputs(clean=True)
    differ = bench.differing(stale, clean)
    return bool(
        differ
    ), f"after the edit the cache still gives the old output, a clean cache a new one: {', '.join(differ) or 'none'}"


def _kept_time(bench: _Bench) -> tuple[bool, str]:
    path = bench.root / "a" / TAGGED
    other = b"x" * len(TAG)
    bench.lab.write(path, path.read_bytes().replace(TAG.encode(), other))
    bench.outputs()
    bench.lab.write(path, path.read_bytes().replace(other, b"!" + b"y" * (len(TAG) - 1)))
    stale, clean = bench.outputs(), bench.outputs(clean=True)
    differ = bench.differing(stale, clean)
    return bool(
        differ
    ), f"a build constraint was changed, size and time kept; go built as if not: {', '.join(differ) or 'none'} differ"


def _module_edited(bench: _Bench) -> tuple[bool, str]:
    before = bench.outputs()
    source = bench.lab.folder / "modules" / f"{EXTERNAL}@{VERSIONS[0]}" / "ext.go"
    text = source.read_bytes().replace(b'"word"', b'"evil"')
    source.chmod(0o644)
    bench.lab.write(source, text, None)
    after = bench.outputs()
    verified = bench.lab.run("mod", "verify", cwd=bench.root)
    differ = bench.differing(before, after)
    said = "go mod verify says so when it is asked" if verified.exit_code else "not even go mod verify says so"
    return bool(
        differ
    ), f"go built what was tampered with, without a word: {', '.join(differ) or 'none'} differ; {said}"


_DEMONSTRATIONS: tuple[tuple[str, str, _Show], ...] = (
    ("header-outside", "a C header outside of the package's directory is edited", _header),
    ("time-kept", "a source file is changed, and keeps its size and time", _kept_time),
    ("module-edited", "a file of a downloaded module is edited", _module_edited),
)
