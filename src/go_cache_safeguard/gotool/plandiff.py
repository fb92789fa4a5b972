"""What differs between two build plans, package by package, and because of what.

Knows:     how tools, flags, files and import configurations are compared, and which change explains which difference.
Called by: `flows.build_plan`; the check `gomod.checks.build_plan` judges what comes out.
Never:     guesses: a difference that nothing recorded explains has the cause UNKNOWN.
Source:    plans of go1.21.13, go1.26.8 and go1.27.3 compared; cmd/go/internal/work/gc.go says which flag comes from what.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.gotool.buildplan import Plan, Unit
from go_cache_safeguard.gotool.instructions import Step


class Kind(StrEnum):
    """What differs."""

    ADDED = "package added"
    GONE = "package gone"
    MODULE = "module"
    SOURCE = "source"
    TOOL = "tool"
    FLAG = "flag"
    INPUT = "input"
    CONFIG = "importcfg"
    ORDER = "order"


class Cause(StrEnum):
    """Because of what."""

    ENVIRONMENT = "environment"
    PACKAGE = "package"
    TOOLCHAIN = "toolchain"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is not what it was.

    Attributes:
        name: Such as `GOFLAGS`; `toolchain` for the version of go.
        before: Its value then.
        after: Its value now.
    """

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs in one package.

    Attributes:
        package: Import path.
        kind: What sort of thing.
        where: The tool that it is a flag or file of; empty where there is none.
        gone: What was there before, and is not now.
        new: What is there now, and was not.
        causes: What explains it, at least one.
        because: The explanation, for a person.
    """

    package: str
    kind: Kind
    where: str
    gone: tuple[str, ...]
    new: tuple[str, ...]
    causes: tuple[Cause, ...]
    because: str

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "package": self.package,
            "kind": str(self.kind),
            "where": self.where,
            "gone": list(self.gone),
            "new": list(self.new),
            "causes": [str(cause) for cause in self.causes],
            "because": self.because,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing two plans brought.

    Attributes:
        toolchain: The change of the toolchain; None if it is the same.
        environment: Settings that changed.
        differences: By package, sorted.
        packages: How many packages were compared.
    """

    toolchain: Change | None
    environment: tuple[Change, ...]
    differences: tuple[Difference, ...]
    packages: int

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Every cause that was named, each once."""
        found = {cause for difference in self.differences for cause in difference.causes}
        return tuple(cause for cause in Cause if cause in found)

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        changes = (*([self.toolchain] if self.toolchain else ()), *self.environment)
        return {
            "packages": self.packages,
            "settings": [{"name": each.name, "before": each.before, "after": each.after} for each in changes],
            "differences": [difference.as_value() for difference in self.differences],
        }


@dataclass(frozen=True, slots=True)
class _Raw:
    """A difference before it is explained."""

    kind: Kind
    where: str
    gone: tuple[str, ...]
    new: tuple[str, ...]


def compare(before: Plan, after: Plan) -> Comparison:
    """Compare two plans."""
    toolchain = None
    if before.toolchain != after.toolchain:
        toolchain = Change("toolchain", before.toolchain, after.toolchain)
    shared = before.environment.keys() & after.environment.keys()
    environment = tuple(
        Change(name, before.environment[name], after.environment[name])
        for name in sorted(shared)
        if before.environment[name] != after.environment[name]
    )
    judge = _Judge(before.units, after.units, toolchain, environment)
    paths = sorted({*before.units, *after.units})
    differences = tuple(difference for path in paths for difference in judge.differences(path))
    return Comparison(toolchain, environment, differences, len(paths))


def _differences(one: Unit, two: Unit) -> Iterator[_Raw]:
    if (one.module, one.version) != (two.module, two.version):
        yield _Raw(Kind.MODULE, "", (_module(one),), (_module(two),))
    if one.sources != two.sources:
        changed = [name for name in one.sources.keys() & two.sources.keys() if one.sources[name] != two.sources[name]]
        gone = sorted((*(one.sources.keys() - two.sources.keys()), *changed))
        new = sorted((*(two.sources.keys() - one.sources.keys()), *changed))
        yield _Raw(Kind.SOURCE, "", tuple(gone), tuple(new))
    yield from _of_steps(one.steps, two.steps)
    yield from _of_lists(Kind.CONFIG, "", one.config, two.config)


def _of_steps(before: Sequence[Step], after: Sequence[Step]) -> Iterator[_Raw]:
    if before == after:
        return
    yield from _of_lists(Kind.TOOL, "", _tools(before), _tools(after))
    mine, theirs = _by_tool(before), _by_tool(after)
    for tool in sorted(mine.keys() & theirs.keys()):
        pairs = list(zip(mine[tool], theirs[tool], strict=False))
        flags = _joined(Kind.FLAG, tool, [(one.flags, two.flags) for one, two in pairs])
        inputs = _joined(Kind.INPUT, tool, [(one.inputs, two.inputs) for one, two in pairs])
        yield from (*flags, *inputs)


def _joined(kind: Kind, tool: str, pairs: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> Iterator[_Raw]:
    """One difference for all runs of a tool, so that a flag of ten assembler runs is told once."""
    raws = [raw for one, two in pairs for raw in _of_lists(kind, tool, one, two)]
    for name in (kind, Kind.ORDER):
        same = [raw for raw in raws if raw.kind is name]
        gone = tuple(dict.fromkeys(word for raw in same for word in raw.gone))
        new = tuple(dict.fromkeys(word for raw in same for word in raw.new))
        if same:
            yield _Raw(name, tool, gone, new)


def _of_lists(kind: Kind, where: str, one: Sequence[str], two: Sequence[str]) -> Iterator[_Raw]:
    if one == two:
        return
    counted, other = Counter(one), Counter(two)
    gone, new = tuple((counted - other).elements()), tuple((other - counted).elements())
    if gone or new:
        yield _Raw(kind, where, gone, new)
    else:
        yield _Raw(Kind.ORDER, where, tuple(one), tuple(two))


def _tools(steps: Sequence[Step]) -> tuple[str, ...]:
    return tuple(step.tool for step in steps)


def _by_tool(steps: Sequence[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.tool, []).append(step)
    return found


def _module(unit: Unit) -> str:
    return f"{unit.module} {unit.version}".strip() or "the standard library"


@dataclass(frozen=True)
class _Judge:
    """Knows both plans, and explains a difference by what else changed."""

    before: Mapping[str, Unit]
    after: Mapping[str, Unit]
    toolchain: Change | None
    environment: tuple[Change, ...]

    def differences(self, path: str) -> Iterator[Difference]:
        one, two = self.before.get(path), self.after.get(path)
        if one is not None and two is not None:
            for raw in _differences(one, two):
                causes, because = self._explain(path, raw, one, two)
                yield Difference(path, raw.kind, raw.where, raw.gone, raw.new, causes, because)
        elif one is not None:
            yield Difference(path, Kind.GONE, "", (), (), *self._explain_presence(path, self.before, self.after))
        else:
            yield Difference(path, Kind.ADDED, "", (), (), *self._explain_presence(path, self.after, self.before))

    def _explain(self, path: str, raw: _Raw, one: Unit, two: Unit) -> tuple[tuple[Cause, ...], str]:
        if raw.kind is Kind.MODULE:
            return (Cause.PACKAGE,), f"its module is {raw.new[0]} instead of {raw.gone[0]}"
        if raw.kind is Kind.SOURCE:
            return self._explain_sources(one, two)
        if self._only_names_changed_files(raw, one, two):
            return self._explain_sources(one, two)
        words = (*raw.gone, *raw.new)
        if one.go != two.go and all(word.startswith("-lang=") for word in words):
            text = f"the go line of its module says {two.go or 'nothing'} instead of {one.go or 'nothing'}"
            return (Cause.PACKAGE,), text
        if self.toolchain is not None and all(word.startswith(("-goversion", "-lang")) for word in words):
            return (Cause.TOOLCHAIN,), self._toolchain_text()
        return self._explain_by_what_changed(path)

    def _explain_sources(self, one: Unit, two: Unit) -> tuple[tuple[Cause, ...], str]:
        if two.standard and self.toolchain is not None:
            return (Cause.TOOLCHAIN,), self._toolchain_text()
        if two.standard:
            return (Cause.TOOLCHAIN,), "files of the toolchain were changed, though its version is the same"
        if one.version != two.version:
            return (Cause.PACKAGE,), f"it comes from {_module(two)} instead of {_module(one)}"
        if two.version:
            return (
                Cause.PACKAGE,
            ), f"{_module(two)} was changed in the module cache: see `go-cache-safeguard mod verify`"
        return (Cause.PACKAGE,), "its files were changed"

    def _only_names_changed_files(self, raw: _Raw, one: Unit, two: Unit) -> bool:
        changed = one.sources.keys() ^ two.sources.keys()
        return raw.kind is Kind.INPUT and bool(changed) and {*raw.gone, *raw.new} <= changed

    def _explain_presence(
        self, path: str, here: Mapping[str, Unit], there: Mapping[str, Unit]
    ) -> tuple[tuple[Cause, ...], str]:
        importers = [name for name, unit in here.items() if path in unit.imports]
        changed = [name for name in importers if name in there and path not in there[name].imports]
        edited = next((name for name in changed if here[name].sources != there[name].sources), "")
        if edited and not here[edited].standard:
            return (Cause.PACKAGE,), f"the imports of {edited} were changed"
        return self._explain_by_what_changed(path)

    def _explain_by_what_changed(self, path: str) -> tuple[tuple[Cause, ...], str]:
        causes: list[Cause] = []
        texts: list[str] = []
        if self.toolchain is not None:
            causes.append(Cause.TOOLCHAIN)
            texts.append(self._toolchain_text())
        if self.environment:
            causes.append(Cause.ENVIRONMENT)
            texts += [f"{each.name} is {each.after!r} instead of {each.before!r}" for each in self.environment]
        own = self._changed(path)
        changed = path if own else "" if causes else self._changed_dependency(path)
        if changed and not (self._standard(changed) and self.toolchain is not None):
            causes.append(Cause.TOOLCHAIN if self._standard(changed) else Cause.PACKAGE)
            texts.append("it was changed itself" if own else f"{changed}, which it needs, was changed")
        if not causes:
            return (Cause.UNKNOWN,), "nothing that is recorded changed"
        return tuple(causes), "; ".join(texts)

    def _standard(self, path: str) -> bool:
        unit = self.after.get(path) or self.before.get(path)
        return unit is not None and unit.standard

    def _changed(self, path: str) -> bool:
        one, two = self.before.get(path), self.after.get(path)
        if one is None or two is None:
            return False
        return (one.sources, one.module, one.version, one.go) != (two.sources, two.module, two.version, two.go)

    def _changed_dependency(self, path: str) -> str:
        """The nearest package below that was changed; empty if there is none."""
        seen, waiting = {path}, [path]
        for name in waiting:
            units = [unit for unit in (self.before.get(name), self.after.get(name)) if unit is not None]
            for needed in sorted({needed for unit in units for needed in unit.imports} - seen):
                if self._changed(needed):
                    return needed
                seen.add(needed)
                waiting.append(needed)
        return ""

    def _toolchain_text(self) -> str:
        return "" if self.toolchain is None else f"{self.toolchain.after} instead of {self.toolchain.before}"
