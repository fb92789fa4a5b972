"""The one rule file: which traces are kept, what is taken out of them, whose they are, and what that may cost.

Knows:     every key of the file, what it means, and where in the file something is wrong.
Called by: `telemetry.sampling`, `telemetry.redact`, `telemetry.tail`; `signals.collector` compiles it for other engines.
Never:     says more than those engines can do: every condition is one that tail_sampling has a policy for.
Source:    opentelemetry-collector-contrib, processor/tailsamplingprocessor README: `status_code`, `latency`,
           `string_attribute`, `ottl_condition`, `and`, `drop`.

A condition is asked of the whole trace and met when any of its spans meets it; of several conditions each may be met by
another span. That is how the `and` policy of the Collector works, so that both decide the same.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

import yaml

from go_cache_safeguard.core.duration import parse_milliseconds
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.pattern import Pattern, PatternError, parse_regex
from go_cache_safeguard.core.size import parse_size

Path: TypeAlias = "tuple[str | int, ...]"
Scalar: TypeAlias = "str | bool | int | float"

_LARGEST = 1 << 18
"""bytes of a rule file; a larger one is a mistake."""
_DEEPEST = 20
_BUDGET = 1_000
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class RulesBad(Failure):
    """A rule file that is written wrongly.

    Attributes:
        path: The keys and positions that lead to what is wrong.
        why: What is wrong there.
    """

    id: ClassVar[str] = "rules-bad"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning: ClassVar[str] = "the file of rules for traces is written wrongly"

    def __init__(self, path: Path, why: str, *, place: str = "") -> None:
        super().__init__(
            f"{place or 'rules'}: {place_of(path) or 'the document'}: {why}",
            not_done="no rule of it is used",
            hint="docs/signals/rules.yaml shows every key",
        )
        self.path = path
        self.why = why


class Status(StrEnum):
    """How a span ended, as the rule file names it."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Glob:
    """A name in which `*` stands for any text, none included; everything else stands for itself.

    Attributes:
        text: As it was written.
    """

    text: str

    def matches(self, name: str) -> bool:
        """Whether the whole name is of this pattern. Parts are looked for from left to right and never again."""
        first, *rest = self.text.split("*")
        if not rest:
            return name == first
        *middle, last = rest
        if not name.startswith(first):
            return False
        at = len(first)
        for part in middle:
            found = name.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        return len(name) - at >= len(last) and name.endswith(last)


@dataclass(frozen=True, slots=True)
class Equals:
    """A value of this type and no other: `200` is not `"200"`."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Exists:
    """Any value."""


@dataclass(frozen=True, slots=True)
class Matches:
    """A text that is wholly of a pattern; compared in time that grows with its length only."""

    pattern: Pattern


Test: TypeAlias = "Equals | Exists | Matches"


@dataclass(frozen=True, slots=True)
class Condition:
    """One attribute, of a span or of its resource, and what it has to be."""

    key: str
    test: Test


@dataclass(frozen=True, slots=True)
class When:
    """What a trace must be for a rule to apply; what is None or empty is not asked.

    Attributes:
        status: Some span ended so.
        duration_ms: From the first start to the last end it took this long or longer; whole milliseconds, as the Collector's `latency`.
        service: Some span's `service.name`.
        name: Some span's name.
        attributes: Each is met by some span or its resource.
    """

    status: Status | None = None
    duration_ms: int | None = None
    service: Glob | None = None
    name: Glob | None = None
    attributes: tuple[Condition, ...] = ()

    @property
    def always(self) -> bool:
        """Nothing is asked."""
        return self == When()

    @property
    def looks_inside(self) -> bool:
        """Spans must be looked at one by one."""
        return bool(self.service or self.name or self.attributes)


@dataclass(frozen=True, slots=True)
class Always:
    """Every such trace is kept."""


@dataclass(frozen=True, slots=True)
class Never:
    """No such trace is kept."""


@dataclass(frozen=True, slots=True)
class Adaptive:
    """A share of such traces is kept, as the budget allows.

    Attributes:
        least: The share that is kept however busy it is, 0 to 1.
        most: The share that is kept when nothing happens, `least` to 1.
    """

    least: float
    most: float


Keep: TypeAlias = "Always | Never | Adaptive"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of sampling."""

    name: str
    when: When
    keep: Keep


@dataclass(frozen=True, slots=True)
class ValuePattern:
    """What no text may hold, of the site's own.

    Attributes:
        name: What stands in its place, in brackets.
        regex: A text that has this anywhere is replaced as a whole.
        pattern: Such texts, whole.
    """

    name: str
    regex: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is taken out of spans before disk and before the network.

    Attributes:
        drop: Attributes that go, with their values.
        hash: Attributes whose values become a keyed digest, so that equal ones can still be found.
        mask: Attributes whose values become `[redacted]`.
        patterns: Of texts in values, names, messages.
        key_variable: The environment variable that has the key of `hash`; without a key those are masked.
        defaults: The package's own names and patterns apply as well (`telemetry.redact`).
    """

    drop: tuple[Glob, ...] = ()
    hash: tuple[Glob, ...] = ()
    mask: tuple[Glob, ...] = ()
    patterns: tuple[ValuePattern, ...] = ()
    key_variable: str = "GUARD_REDACTION_KEY"
    defaults: bool = True


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose a span is, and how the receiver is told.

    Attributes:
        attribute: Of the span, else of its resource.
        header: Of the export; a request carries the spans of one tenant.
        default: For spans that say nothing.
    """

    attribute: str = "tenant"
    header: str = "x-tenant-id"
    default: str = "shared"


@dataclass(frozen=True, slots=True)
class Buffer:
    """Limits of memory and of waiting.

    Attributes:
        memory: Bytes of spans whose trace is not decided, estimated.
        wait_ms: A trace whose root does not end is decided after this.
        watchdog_ms: A span open for longer is exported as incomplete.
        recorder_ms: How long dropped traces can still be pulled.
        recorder_memory: Bytes of them, estimated.
        decisions: How many decisions are remembered for late spans.
    """

    memory: int = 64 << 20
    wait_ms: int = 30_000
    watchdog_ms: int = 300_000
    recorder_ms: int = 60_000
    recorder_memory: int = 16 << 20
    decisions: int = 100_000


@dataclass(frozen=True, slots=True)
class RuleFile:
    """Everything the file says.

    Attributes:
        rules: The first that applies decides; the last applies to every trace.
        budget: Spans per second that adaptive rules may keep together.
    """

    rules: tuple[Rule, ...]
    budget: int = _BUDGET
    redaction: Redaction = field(default_factory=Redaction)
    tenant: Tenant = field(default_factory=Tenant)
    buffer: Buffer = field(default_factory=Buffer)

    @property
    def looks_inside(self) -> bool:
        """Some rule must look at spans one by one."""
        return any(rule.when.looks_inside for rule in self.rules)


def default_rules() -> RuleFile:
    """Every error, every trace of a second and more, and 5 to 15 % of the rest."""
    return RuleFile(
        (
            Rule("errors", When(status=Status.ERROR), Always()),
            Rule("slow", When(duration_ms=1_000), Always()),
            Rule("rest", When(), Adaptive(0.05, 0.15)),
        )
    )


def read_rules(data: bytes, place: str) -> RuleFile:
    """Read a rule file.

    Args:
        data: Its content.
        place: Its name, for messages.

    Raises:
        RulesBad: It is no YAML, or says something that is not understood; the message names the line and the key.
    """
    if len(data) > _LARGEST:
        raise RulesBad((), f"larger than {_LARGEST:,} bytes", place=place)
    root = _compose(data, place)
    try:
        return parse_rules(_plain(root, ()))
    except RulesBad as error:
        raise RulesBad(error.path, error.why, place=f"{place}:{_line(root, error.path)}") from None


def _compose(data: bytes, place: str) -> "yaml.Node":
    """The document with its lines. Aliases are refused: a few lines of them can stand for gigabytes."""
    try:
        for event in yaml.parse(data, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise RulesBad((), "aliases are not understood", place=f"{place}:{event.start_mark.line + 1}")
        root = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RulesBad((), f"not YAML: {error.problem}", place=f"{place}:{line}") from error
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise RulesBad((), f"not YAML: {error}", place=place) from error
    if root is None:
        raise RulesBad((), "the file is empty", place=place)
    return root


def _plain(node: "yaml.Node", path: Path) -> Any:
    """A document in plain values; a key told twice and nesting without end are refused."""
    if len(path) > _DEEPEST:
        raise RulesBad(path[:3], "nested too deeply")
    match node:
        case yaml.MappingNode():
            found: dict[str, object] = {}
            for key_node, value in node.value:
                key = str(key_node.value)
                if key in found:
                    raise RulesBad((*path, key), "told twice")
                found[key] = _plain(value, (*path, key))
            return found
        case yaml.SequenceNode():
            return [_plain(part, (*path, at)) for at, part in enumerate(node.value)]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise RulesBad(path, str(error)) from error


def _line(root: "yaml.Node", path: Path) -> int:
    """Where something is told; where it is missing, where its surroundings are."""
    node, line = root, int(root.start_mark.line + 1)
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in reversed(node.value) if key.value == step), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def parse_rules(document: Mapping[str, object]) -> RuleFile:
    """Read a rule file that was parsed already.

    Args:
        document: What a YAML parser made of it: mappings, lists, texts, numbers.

    Raises:
        RulesBad: It says something that is not understood; its `path` tells where.
    """
    top = _Value(document, ())
    keys = top.keys("sampling", "budget", "redaction", "tenant", "buffer")
    if "sampling" not in keys:
        raise top.wrong("`sampling` is missing")
    return RuleFile(
        rules=_rules(keys["sampling"]),
        budget=keys["budget"].count(1) if "budget" in keys else _BUDGET,
        redaction=_redaction(keys["redaction"]) if "redaction" in keys else Redaction(),
        tenant=_tenant(keys["tenant"]) if "tenant" in keys else Tenant(),
        buffer=_buffer(keys["buffer"]) if "buffer" in keys else Buffer(),
    )


def place_of(path: Path) -> str:
    """`sampling[2].when.status`, as people write it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


class _Value:
    """Something in the document, and the way to it."""

    def __init__(self, value: object, path: Path) -> None:
        self.value = value
        self.path = path

    def wrong(self, why: str) -> RulesBad:
        return RulesBad(self.path, why)

    def keys(self, *known: str) -> "dict[str, _Value]":
        """The keys of a mapping, none of which may be unknown."""
        if not isinstance(self.value, Mapping):
            raise self.wrong(f"must have keys: {', '.join(known)}")
        found = {str(key): _Value(value, (*self.path, str(key))) for key, value in self.value.items()}
        for key, value in found.items():
            if key not in known:
                raise value.wrong(f"is not known here; known are {', '.join(known)}")
        return found

    def parts(self) -> "Iterator[_Value]":
        """The parts of a list."""
        if not isinstance(self.value, list | tuple):
            raise self.wrong("must be a list")
        for at, part in enumerate(self.value):
            yield _Value(part, (*self.path, at))

    def text(self, shape: "re.Pattern[str] | None" = None, what: str = "text") -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value or (shape and shape.fullmatch(self.value) is None):
            raise self.wrong(f"{self.value!r} is not {'a ' if shape else ''}{what}")
        return self.value

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong(f"{self.value!r} is neither true nor false")
        return self.value

    def count(self, least: int) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < least:
            raise self.wrong(f"{self.value!r} is not a whole number of {least} or more")
        return self.value

    def share(self) -> float:
        """`5%` or 0.05."""
        text = str(self.value)
        try:
            share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = -1.0
        if isinstance(self.value, bool) or not 0 <= share <= 1:
            raise self.wrong(f"{self.value!r} is not a share such as 5% or 0.05")
        return share

    def milliseconds(self) -> int:
        try:
            return parse_milliseconds(self.text())
        except ValueError as error:
            raise self.wrong(str(error)) from error

    def bytes(self) -> int:
        try:
            size = parse_size(str(self.value))
        except ValueError as error:
            raise self.wrong(str(error)) from error
        if not isinstance(size, int):
            raise self.wrong("must be a size in bytes, such as 64MiB")
        return size

    def globs(self) -> tuple[Glob, ...]:
        return tuple(Glob(part.text()) for part in self.parts())

    def pattern(self) -> Pattern:
        """A regular expression that can be compared in linear time."""
        try:
            return parse_regex(self.text())
        except PatternError as error:
            raise self.wrong(f"{self.value!r}: {error}") from error


def _rules(value: _Value) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for part in value.parts():
        if rules and rules[-1].when.always:
            raise part.wrong(f"never applies: the rule before, {rules[-1].name!r}, has no `when` and takes every trace")
        rule = _rule(part)
        if rule.name in {other.name for other in rules}:
            raise part.wrong(f"a second rule named {rule.name!r}")
        rules.append(rule)
    if not rules or not rules[-1].when.always:
        raise value.wrong("the last rule must have no `when`: it says what happens to every trace that is left")
    return tuple(rules)


def _rule(value: _Value) -> Rule:
    keys = value.keys("name", "when", "keep")
    for key in ("name", "keep"):
        if key not in keys:
            raise value.wrong(f"`{key}` is missing")
    name = keys["name"].text(_NAME, "name of letters, digits, `.`, `_` and `-`")
    return Rule(name, _when(keys["when"]) if "when" in keys else When(), _keep(keys["keep"]))


def _when(value: _Value) -> When:
    keys = value.keys("status", "duration_over", "service", "name", "attributes")
    if not keys:
        raise value.wrong("asks nothing; leave it out")
    return When(
        status=_status(keys["status"]) if "status" in keys else None,
        duration_ms=keys["duration_over"].milliseconds() if "duration_over" in keys else None,
        service=Glob(keys["service"].text()) if "service" in keys else None,
        name=Glob(keys["name"].text()) if "name" in keys else None,
        attributes=tuple(map(_condition, keys["attributes"].parts())) if "attributes" in keys else (),
    )


def _status(value: _Value) -> Status:
    if value.value not in tuple(Status):
        raise value.wrong(f"{value.value!r} is not one of {', '.join(Status)}")
    return Status(value.text())


def _condition(value: _Value) -> Condition:
    keys = value.keys("key", "equals", "exists", "regex")
    if "key" not in keys or len(keys) != 2:
        raise value.wrong("must have `key` and one of `equals`, `exists`, `regex`")
    return Condition(keys.pop("key").text(), _test(*keys.items()))


def _test(test: tuple[str, _Value]) -> Test:
    name, value = test
    if name == "regex":
        return Matches(value.pattern())
    if name == "exists":
        if value.flag():
            return Exists()
        raise value.wrong("only `true` is understood")
    if not isinstance(value.value, str | bool | int | float):
        raise value.wrong("must be a text, a number, true or false")
    return Equals(value.value)


def _keep(value: _Value) -> Keep:
    if value.value == "always":
        return Always()
    if value.value == "never":
        return Never()
    if not isinstance(value.value, Mapping):
        raise value.wrong("must be `always`, `never` or `adaptive: {least: 5%, most: 15%}`")
    keys = value.keys("adaptive")
    if not keys:
        raise value.wrong("`adaptive` is missing")
    shares = keys["adaptive"].keys("least", "most")
    if len(shares) != 2:
        raise keys["adaptive"].wrong("must have `least` and `most`")
    keep = Adaptive(shares["least"].share(), shares["most"].share())
    if keep.least > keep.most:
        raise keys["adaptive"].wrong("`least` is more than `most`")
    return keep


def _redaction(value: _Value) -> Redaction:
    keys = value.keys("drop", "hash", "mask", "patterns", "key_variable", "defaults")
    none: tuple[Glob, ...] = ()
    variable = keys.get("key_variable")
    return Redaction(
        drop=keys["drop"].globs() if "drop" in keys else none,
        hash=keys["hash"].globs() if "hash" in keys else none,
        mask=keys["mask"].globs() if "mask" in keys else none,
        patterns=tuple(map(_value_pattern, keys["patterns"].parts())) if "patterns" in keys else (),
        key_variable=variable.text(_VARIABLE, "name of a variable") if variable else Redaction().key_variable,
        defaults=keys["defaults"].flag() if "defaults" in keys else True,
    )


def _value_pattern(value: _Value) -> ValuePattern:
    keys = value.keys("name", "regex")
    if len(keys) != 2:
        raise value.wrong("must have `name` and `regex`")
    regex = keys["regex"]
    regex.pattern()
    anywhere = _Value(f".*(?:{regex.text()}).*", regex.path)
    return ValuePattern(keys["name"].text(_NAME, "name"), regex.text(), anywhere.pattern())


def _tenant(value: _Value) -> Tenant:
    keys, usual = value.keys("attribute", "header", "default"), Tenant()
    return Tenant(
        attribute=keys["attribute"].text() if "attribute" in keys else usual.attribute,
        header=keys["header"].text(_HEADER, "name of a header") if "header" in keys else usual.header,
        default=keys["default"].text(_NAME, "name of a tenant") if "default" in keys else usual.default,
    )


def _buffer(value: _Value) -> Buffer:
    keys = value.keys("memory", "wait", "watchdog", "recorder", "recorder_memory", "decisions")
    usual = Buffer()
    return Buffer(
        memory=keys["memory"].bytes() if "memory" in keys else usual.memory,
        wait_ms=keys["wait"].milliseconds() if "wait" in keys else usual.wait_ms,
        watchdog_ms=keys["watchdog"].milliseconds() if "watchdog" in keys else usual.watchdog_ms,
        recorder_ms=keys["recorder"].milliseconds() if "recorder" in keys else usual.recorder_ms,
        recorder_memory=keys["recorder_memory"].bytes() if "recorder_memory" in keys else usual.recorder_memory,
        decisions=keys["decisions"].count(1) if "decisions" in keys else usual.decisions,
    )
