"""The Collector's own language: names, patterns and conditions of the rule file as OTTL says them.

Knows:     how a text stands in a condition, what a `*` and a regular expression of the rule file are for Go's `regexp`, and how one
           span is asked what `telemetry.sampling` asks it.
Called by: `signals.collector`, `signals.scrub`.
Never:     writes a pattern that Go would understand in another way: what the two read differently is refused.
Source:    opentelemetry-collector-contrib v0.140, pkg/ottl/LANGUAGE.md and grammar.go; Go's regexp/syntax.

A `.` of ours is one byte, one of Go's is one character. They are the same for ASCII; a text beyond it may be counted otherwise.
"""

import json
import re
from collections.abc import Iterable
from typing import ClassVar, assert_never

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.telemetry.rules import Condition, Equals, Exists, Glob, Matches, Scalar
from go_cache_safeguard.telemetry.sampling import WHOLE

_INT64 = 1 << 63
_BEYOND = re.compile(r"(?<!\\)(?:\\\\)*\\x[89A-Fa-f]")
_PIECES = re.compile(r"(\[\^?)(\]?(?:\\.|[^\]\\])*)\]|\\.", re.DOTALL)
_ESCAPES = re.compile(r"\\.|\[", re.DOTALL)
_BLANK = r"\t\n\f\r \v"
_FIRST, _DIGITS = 18, 14
"""Where the randomness of a trace stands in the hexadecimal digits of its id."""
_RANDOM = f"Substring(trace_id.string, {_FIRST}, {_DIGITS})"
_TOLD = 'trace_state["ot"]'
_RV = "(?:^|;)rv:(?P<rv>[0-9a-f]{14})(?:;|$)"


class NotForCollector(Failure):
    """Something that the Collector would understand otherwise, or not."""

    id = "rules-not-for-collector"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning = "a rule file, or an option, says something that the Collector cannot do in the same way"


def quoted(text: str) -> str:
    """A text as it stands in a statement."""
    return json.dumps(text, ensure_ascii=False)


def glob_regex(glob: Glob, *, dashes: bool = False) -> str:
    """A name with `*` as a regular expression for whole names.

    Args:
        glob: The name.
        dashes: A `-` is a `_` as well.
    """
    text = ".*".join(re.escape(part) for part in glob.text.split("*"))
    return text.replace(r"\-", "[-_]") if dashes else text.replace(r"\-", "-")


def any_of(patterns: Iterable[str]) -> str:
    """Names that are wholly of one of some patterns, in upper or lower case."""
    return f"(?is)^(?:{'|'.join(patterns)})$"


def go_regex(text: str) -> str:
    r"""A regular expression of the rule file (`core.pattern`), as Go reads it.

    Raises:
        NotForCollector: It tells of bytes beyond ASCII, where Go counts characters, or has `\S` in brackets.
    """
    if not text.isascii() or _BEYOND.search(text):
        raise _not_for(text, "tells of bytes beyond ASCII, and the Collector compares characters")
    return _PIECES.sub(lambda found: _piece(found, text), text)


def _piece(found: "re.Match[str]", text: str) -> str:
    """A class or an escape: Go has another idea of blanks, and a `[` in brackets could begin a name such as `[:alpha:]`."""
    if found[1] is None:
        return {r"\s": f"[{_BLANK}]", r"\S": f"[^{_BLANK}]"}.get(found[0], found[0])
    if r"\S" in _ESCAPES.findall(found[2]):
        raise _not_for(text, "has \\S in brackets")
    inside = _ESCAPES.sub(lambda one: {r"\s": _BLANK, "[": r"\["}.get(one[0], one[0]), found[2])
    return f"{found[1]}{inside}]"


def _not_for(text: str, why: str) -> NotForCollector:
    return NotForCollector(
        f"the pattern {text!r} {why}", not_done="nothing was written", hint="say it in another way in the rule file"
    )


def is_like(path: str, glob: Glob) -> str:
    """The condition that something is of a name with `*`; what is not there is an empty name."""
    found = f"IsMatch({path}, {quoted(f'(?s)^{glob_regex(glob)}$')})"
    return f"({path} == nil or {found})" if glob.matches("") else found


def has(condition: Condition) -> str:
    """The condition that a span or its resource has an attribute as it should be."""
    key = quoted(condition.key)
    return " or ".join(_test(f"{of}attributes[{key}]", condition) for of in ("", "resource."))


def _test(path: str, condition: Condition) -> str:
    match condition.test:
        case Exists():
            return f"{path} != nil"
        case Matches(pattern):
            regex = f"(?s)^(?:{go_regex(pattern.text.removeprefix('re:'))})$"
            return f"(IsString({path}) and IsMatch({path}, {quoted(regex)}))"
        case Equals(value):
            return _equals(path, value)
        case _:
            assert_never(condition.test)


def _equals(path: str, value: Scalar) -> str:
    """OTTL compares whole numbers with others, and the rule file does not."""
    match value:
        case bool():
            return f"{path} == {str(value).lower()}"
        case str():
            return f"(IsString({path}) and {path} == {quoted(value)})"
        case int():
            return f"(IsInt({path}) and {path} == {value})" if -_INT64 <= value < _INT64 else "false"
        case float():
            return f"(IsDouble({path}) and {path} == {_double(value)})"


def _double(value: float) -> str:
    plain = f"{value:.17e}"
    return plain if plain[-1].isdigit() and "e" in plain else f"Double({quoted(plain)})"


def by_chance(th: int) -> str:
    """The condition that a threshold keeps a trace, as `telemetry.sampling.keeps` says it.

    Digits of the same number compare as texts like the numbers they stand for.

    Args:
        th: 1 to 2^56 - 1; the others need no condition.
    """
    assert 0 < th < WHOLE, "always and never are no conditions"  # noqa: S101 - a mistake of ours
    least = quoted(f"{th:014x}")
    told = f"IsMatch({_TOLD}, {quoted(_RV)})"
    rv = f'ExtractPatterns({_TOLD}, {quoted(_RV)})["rv"]'
    return f"(not {told} and {_RANDOM} >= {least}) or ({told} and {rv} >= {least})"
