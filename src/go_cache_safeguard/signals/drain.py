"""Templates of log lines: what lines that say the same have in common.

Knows:     what in a line is a value and not a word; which lines are alike; how many of each there are, before and now.
Called by: `flows.anomalies`.
Never:     keeps more than `MOST` templates, or gives other templates for the same lines in the same order.
Source:    Drain (P. He et al., ICWS 2017): a tree of fixed depth over the number of words and the first ones, then the most similar.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from go_cache_safeguard.signals.rank import more_often

ANY = "<*>"
"""A word that differs from line to line."""
MOST = 1_000
_WORDS, _CHARS = 60, 2_000
_DEPTH = 2
_ALIKE = 0.5
_NOT_BY_CHANCE = 0.001
_TWICE = 2.0
_EXAMPLES = 200

_MASKS = tuple(
    (re.compile(pattern, re.ASCII), name)
    for pattern, name in (
        (r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", "<uuid>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.])", "<ip>"),
        (r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}:?[0-9a-fA-F]{0,4}(?![\w:])", "<ip>"),
        (r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b", "<hex>"),
        (r"(?<![A-Za-z<])[-+]?\d+(?:[.,]\d+)*", "<n>"),
    )
)


def masked(line: str) -> tuple[str, ...]:
    """The words of a line, with placeholders for values; the same again for what it gives."""
    text = line[:_CHARS]
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return tuple(text.split()[:_WORDS])


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log.

    Attributes:
        at_ns: When, nanoseconds since 1970.
        service: Who wrote it.
        message: What it says.
        trace_id: 32 hexadecimal digits, or empty.
        operation: The id of an operation of ours that it names, or empty.
        level: In lower case; empty if it does not say.
    """

    at_ns: int
    service: str
    message: str
    trace_id: str = ""
    operation: str = ""
    level: str = ""


@dataclass(slots=True)
class Template:
    """Lines that say the same.

    Attributes:
        id: 8 hexadecimal digits that stay the same while more lines make it more general.
        words: What they have in common; `ANY` elsewhere.
        before: How many lines of the baseline.
        lines: Those of the window, at most `_EXAMPLES`.
        now: How many of the window.
    """

    id: str
    words: tuple[str, ...]
    before: int = 0
    now: int = 0
    lines: list[Line] = field(default_factory=list)

    @property
    def text(self) -> str:
        """For people."""
        return " ".join(self.words)


class Drain:
    """Finds templates, line by line.

    Args:
        most: So many are kept; the one that was met longest ago goes first.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[str, Template] = OrderedDict()
        self._leaves: dict[tuple[int, tuple[str, ...]], list[Template]] = {}

    @property
    def templates(self) -> tuple[Template, ...]:
        """All that are kept, the one that was met longest ago first."""
        return tuple(self._known.values())

    def add(self, message: str) -> Template:
        """The template of a line, made more general if need be."""
        words = masked(message)
        leaf = self._leaves.setdefault(_leaf(words), [])
        best = max(leaf, key=lambda one: _likeness(one.words, words), default=None)
        if best is None or _likeness(best.words, words) < _ALIKE:
            best = self._new(words, leaf)
        best.words = tuple(old if old == new else ANY for old, new in zip(best.words, words, strict=True))
        self._known.move_to_end(best.id)
        return best

    def _new(self, words: tuple[str, ...], leaf: list[Template]) -> Template:
        made = Template(sha256(" ".join(words).encode(errors="replace")).hexdigest()[:8], words)
        leaf.append(made)
        self._known[made.id] = made
        if len(self._known) > self._most:
            _, old = self._known.popitem(last=False)
            self._forget(old)
        return made

    def _forget(self, old: Template) -> None:
        for key, leaf in list(self._leaves.items()):
            if old in leaf:
                leaf.remove(old)
                if not leaf:
                    del self._leaves[key]
                return


def _leaf(words: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Where templates like these words hang: words with placeholders may differ even among the first."""
    return len(words), tuple(ANY if "<" in word else word for word in words[:_DEPTH])


def _likeness(template: tuple[str, ...], words: tuple[str, ...]) -> float:
    """The share of words that are the same, 0 to 1; those that may be anything count half, so a line stays alike to its template."""
    if not words:
        return 1.0
    return sum(1.0 if old == new else 0.5 * (old == ANY) for old, new in zip(template, words, strict=True)) / len(words)


@dataclass(frozen=True, slots=True)
class Surge:
    """A template that is new, or of which there is more than before.

    Attributes:
        id: Of the template.
        text: The template.
        now: Lines in the window.
        before: Lines in the baseline.
        start_ns: When the first of the window was written.
        end_ns: When the last was.
        services: Who wrote them.
        traces: Traces that they belong to, in hex.
        operations: Operations of ours that they name.
    """

    id: str
    text: str
    now: int
    before: int
    start_ns: int
    end_ns: int
    services: frozenset[str]
    traces: frozenset[str]
    operations: frozenset[str]


def surges(lines: Iterable[Line], start_ns: int, end_ns: int, *, baseline_ns: int, least: int = 3) -> tuple[Surge, ...]:
    """Templates that are new, or of which there are at least twice as many for each line as before, and not by chance.

    Args:
        lines: In any order.
        start_ns: Where the window begins, and the baseline ends.
        end_ns: Where the window ends.
        baseline_ns: Where the baseline begins.
        least: Lines of a template that is worth a word.
    """
    drain, before, now = Drain(), 0, 0
    met: dict[str, Template] = {}
    for line in sorted(lines, key=lambda one: (one.at_ns, one.service, one.message)):
        if not baseline_ns <= line.at_ns < end_ns:
            continue
        template = drain.add(line.message)
        if line.at_ns < start_ns:
            before, template.before = before + 1, template.before + 1
            continue
        now, template.now = now + 1, template.now + 1
        met[template.id] = template
        if len(template.lines) < _EXAMPLES:
            template.lines.append(line)
        else:
            template.lines[-1] = line
    found = [one for one in met.values() if one.now >= least and _surges(one, now, before)]
    return tuple(_surge(one) for one in sorted(found, key=lambda one: (-one.now, one.id)))


def _surges(one: Template, now: int, before: int) -> bool:
    if not before:
        return False  # nothing to compare with
    more = one.now * before >= _TWICE * one.before * now
    return more and more_often(one.now, now, one.before, before) < _NOT_BY_CHANCE


def _surge(one: Template) -> Surge:
    lines = one.lines
    return Surge(
        one.id,
        one.text,
        one.now,
        one.before,
        lines[0].at_ns,
        lines[-1].at_ns,
        frozenset(line.service for line in lines if line.service),
        frozenset(line.trace_id for line in lines if line.trace_id),
        frozenset(line.operation for line in lines if line.operation),
    )
