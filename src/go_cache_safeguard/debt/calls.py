"""What a call is, judged by the names that it hangs on.

Knows:     which names are of one API only, which of either, and what tells then whose they are.
Called by: `debt.java`, `debt.golang`, `debt.python`.
Never:     guesses: a call that may be anybody's is nobody's.
Source:    opentracing-java 0.33, opentracing-go 1.2, opentracing-python 2.4 and OpenTelemetry's APIs of the same languages. The example
           `tracer.spanBuilder().startSpan()` is OpenTelemetry; OpenTracing's is `tracer.buildSpan().start()`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from go_cache_safeguard.debt.finding import Api, Kind

_TELLING = re.compile(r"span|scope|tracer|propagator|^sp$", re.IGNORECASE)
_TRACER = re.compile(r"tracer", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Words:
    """The names of a language's two APIs.

    Attributes:
        sure: Methods of one API only.
        owners: Types and modules whose every call is for the global tracer.
        shared: What else each API has.
    """

    sure: Mapping[str, tuple[Api, Kind]]
    owners: Mapping[str, Api]
    shared: Mapping[Api, Mapping[str, Kind]]


@dataclass(slots=True)
class Names:
    """What the names of one file stand for.

    Attributes:
        imported: Names that an import brought.
        foreign: Names of packages that are of neither API.
        held: Variables, attributes and parameters that hold something of an API.
        present: APIs that the file imports or names in full.
    """

    imported: dict[str, Api] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    held: dict[str, Api | None] = field(default_factory=dict)
    present: set[Api] = field(default_factory=set)

    def hold(self, name: str, api: Api | None) -> None:
        """A variable holds something of an API; of two different ones, nobody can say."""
        if api is not None:
            self.held[name] = api if self.held.get(name, api) is api else None


def api_of(spine: tuple[str, ...], words: Words, names: Names) -> Api | None:
    """Whose value an expression gives.

    Args:
        spine: Its names, see `debt.syntax.Source.spine`.
        words: Of the language.
        names: Of the file.
    """
    if not spine or spine[0] in names.foreign:
        return None
    for name in spine:
        if name in words.sure and (verdict := judge(spine[: spine.index(name) + 1], words, names)) is not None:
            return verdict[0]
    if spine[0] in names.imported:
        return names.imported[spine[0]]
    for name in reversed(spine):
        if name in names.held:
            return names.held[name]
    if len(names.present) == 1 and _TELLING.search(spine[-1]):
        return next(iter(names.present))
    return None


def judge(spine: tuple[str, ...], words: Words, names: Names) -> tuple[Api, Kind] | None:
    """What a call is; None if it is of neither API, or cannot be told.

    Args:
        spine: Its names; the last is what is called.
        words: Of the language.
        names: Of the file.
    """
    *before, called = spine
    if before and before[0] in names.foreign:
        return None
    if before and before[-1] in words.owners:
        return words.owners[before[-1]], Kind.GLOBAL
    if called in words.sure and before:
        api, kind = words.sure[called]
        told = api in names.present or any(_TRACER.search(name) for name in before)
        return (api, kind) if told else None
    api_here = api_of(tuple(before), words, names) if before else names.imported.get(called)
    if api_here is None or (kind_here := words.shared[api_here].get(called)) is None:
        return None
    return api_here, kind_here
