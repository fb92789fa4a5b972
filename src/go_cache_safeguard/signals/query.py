"""What a person asks of spans: `service=payment-gateway AND duration>3000ms`, and the same for stores and for Jaeger and Tempo.

Knows:     the grammar, what a comparison means, and its form in SQL, in Jaeger's parameters and in TraceQL.
Called by: `signals.spanstore`, `signals.columns`, `flows.traces`.
Never:     puts a word of a question into SQL: they are parameters, each of them.
Source:    Jaeger's HTTP API (jaegertracing.io/docs, `GET /api/traces`); TraceQL (grafana.com/docs/tempo/latest/traceql).

    query      = all { "OR" all }
    all        = one { "AND" one }
    one        = "NOT" one | "(" query ")" | comparison
    comparison = field operator value
    field      = service | name | kind | status | tenant | message | trace | duration | attr.KEY | resource.KEY
    operator   = "=" | "!=" | "~" | "!~" | ">" | ">=" | "<" | "<="        (~ is: contains)
    value      = "text in quotes" | word | number | true | false | 3000ms

A comparison of an attribute that a span does not have is false, `!=` and `!~` too; so NOT goes into the comparisons, and stays nowhere.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.signals.span import Kind, Span, Status, Value

LONGEST = 4_096
"""Characters of a question."""
DEEPEST = 64
"""Parentheses, and NOTs, inside of each other."""
_LARGEST_NS = (1 << 63) - 1


class Field(StrEnum):
    """What can be asked about."""

    SERVICE = "service"
    NAME = "name"
    KIND = "kind"
    STATUS = "status"
    TENANT = "tenant"
    MESSAGE = "message"
    TRACE = "trace"
    DURATION = "duration"
    ATTRIBUTE = "attr"
    RESOURCE = "resource"


class Operator(StrEnum):
    """How."""

    IS = "="
    IS_NOT = "!="
    HAS = "~"
    HAS_NOT = "!~"
    MORE = ">"
    LEAST = ">="
    LESS = "<"
    MOST = "<="


Wanted: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison.

    Attributes:
        field: Of what.
        key: Which attribute; empty for other fields.
        operator: How.
        wanted: With what: text of a text field, nanoseconds of a duration, the number of a kind or status; of an attribute as written.
    """

    field: Field
    key: str
    operator: Operator
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class All:
    """Every part has to hold."""

    parts: tuple["Query", ...]


@dataclass(frozen=True, slots=True)
class Any:
    """One part has to hold."""

    parts: tuple["Query", ...]


Query: TypeAlias = Comparison | All | Any

EVERYTHING = All(())
"""Holds for every span."""


class QueryUnreadable(Failure):
    """A question cannot be understood."""

    id = "query-unreadable"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "a question to spans is not in the language of such questions"


class QueryNotForJaeger(Failure):
    """A question that Jaeger's API has no form for."""

    id = "query-not-for-jaeger"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "Jaeger can only be asked about one service"


_NEGATED = {
    Operator.IS: Operator.IS_NOT,
    Operator.HAS: Operator.HAS_NOT,
    Operator.MORE: Operator.MOST,
    Operator.LESS: Operator.LEAST,
}
_NEGATED |= {after: before for before, after in _NEGATED.items()}
_ORDERED = frozenset({Operator.MORE, Operator.LEAST, Operator.LESS, Operator.MOST})
_TEXTS = frozenset({Field.SERVICE, Field.NAME, Field.TENANT, Field.MESSAGE})
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_.:/@$-]{1,256}", re.ASCII)
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\)) |
        (?P<operator>!=|!~|>=|<=|=|~|>|<) |
        (?P<quoted>"(?:[^"\\]|\\.)*") |
        (?P<word>[^\s()=!~<>"]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_KINDS = {kind.name.lower(): kind for kind in Kind}
_STATUSES = {status.name.lower(): status for status in Status}


@dataclass(frozen=True, slots=True)
class _Token:
    what: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            begin = at + len(text[at:]) - len(text[at:].lstrip())
            what = "a quote that does not end" if text[begin] == '"' else f"{text[begin]!r} means nothing here"
            raise _unreadable(text, begin, what, 'put text with such characters in "quotes"')
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return found


def _unreadable(text: str, at: int, what: str, hint: str) -> QueryUnreadable:
    begin = max(0, at - 40)
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[begin : at + 40])
    where = f"at character {at + 1}: {what}\n  {shown}\n  {' ' * (at - begin)}^"
    return QueryUnreadable(where, not_done="nothing was looked for", hint=hint)


class _Parser:
    """Reads tokens one after the other; each method reads one rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0

    def whole(self) -> Query:
        found = self._any(negated=False, depth=0)
        if self._next < len(self._tokens):
            raise self._fault("AND or OR is missing", "write AND or OR between two comparisons")
        return found

    def _any(self, *, negated: bool, depth: int) -> Query:
        parts = [self._all(negated=negated, depth=depth)]
        while self._took("or"):
            parts.append(self._all(negated=negated, depth=depth))
        return _joined(parts, All if negated else Any)

    def _all(self, *, negated: bool, depth: int) -> Query:
        parts = [self._one(negated=negated, depth=depth)]
        while self._took("and"):
            parts.append(self._one(negated=negated, depth=depth))
        return _joined(parts, Any if negated else All)

    def _one(self, *, negated: bool, depth: int) -> Query:
        if depth > DEEPEST:
            raise self._fault(f"more than {DEEPEST} levels", "ask something simpler")
        if self._took("not"):
            return self._one(negated=not negated, depth=depth + 1)
        if self._at("open"):
            self._next += 1
            found = self._any(negated=negated, depth=depth + 1)
            if not self._at("close"):
                raise self._fault("a closing parenthesis is missing", "close what was opened")
            self._next += 1
            return found
        return self._comparison(negated=negated)

    def _comparison(self, *, negated: bool) -> Comparison:
        field, key = self._field()
        if not self._at("operator"):
            raise self._fault("an operator is missing", "one of = != ~ !~ > >= < <=")
        operator = Operator(self._tokens[self._next].text)
        self._next += 1
        if not (self._at("word") or self._at("quoted")):
            raise self._fault("a value is missing", 'for example service=payment-gateway, or name="GET /pay"')
        wanted = self._wanted(field, operator, self._tokens[self._next])
        self._next += 1
        return Comparison(field, key, _NEGATED[operator] if negated else operator, wanted)

    def _field(self) -> tuple[Field, str]:
        if not self._at("word"):
            raise self._fault(
                "a field is missing", f"one of {', '.join(Field)}: attr.KEY and resource.KEY name attributes"
            )
        text = self._tokens[self._next].text
        name, _, key = text.partition(".")
        try:
            field = Field(name.lower())
        except ValueError:
            raise self._fault(f"{text!r} is not a field", f"one of {', '.join(Field)}, or attr.{text}") from None
        if (field in {Field.ATTRIBUTE, Field.RESOURCE}) != bool(_KEY.fullmatch(key)) or (
            key and not _KEY.fullmatch(key)
        ):
            raise self._fault(f"{text!r} is not a field", "write attr.KEY with letters, digits and . _ - / : @ $")
        self._next += 1
        return field, key

    def _wanted(self, field: Field, operator: Operator, token: _Token) -> Wanted:
        quoted = token.what == "quoted"
        text = _unquoted(token.text) if quoted else token.text
        if operator in _ORDERED and field not in {Field.DURATION, Field.ATTRIBUTE, Field.RESOURCE}:
            raise self._fault(f"{field} has no order", "use = != ~ or !~")
        if field in _TEXTS:
            return text
        if field is Field.TRACE:
            return self._trace(operator, text)
        if field is Field.DURATION:
            return self._duration(operator, text)
        if field in {Field.KIND, Field.STATUS}:
            return self._named(field, operator, text)
        if operator in _ORDERED and (quoted or not _NUMBER.fullmatch(text)):
            raise self._fault(f"{text!r} is no number", "attributes are ordered by number only")
        return text if quoted or operator in {Operator.HAS, Operator.HAS_NOT} else _typed(text)

    def _trace(self, operator: Operator, text: str) -> str:
        if operator not in {Operator.IS, Operator.IS_NOT} or not re.fullmatch(r"[0-9a-fA-F]{32}", text):
            raise self._fault("a trace has 32 hexadecimal digits", "trace=4bf92f3577b34da6a3ce929d0e0e4736")
        return text.lower()

    def _duration(self, operator: Operator, text: str) -> int:
        match = _DURATION.fullmatch(text)
        if match is None or operator in {Operator.HAS, Operator.HAS_NOT}:
            raise self._fault(f"{text!r} is no duration here", "write duration>3000ms; units are ns, us, ms, s, m, h")
        whole, _, part = match[1].partition(".")
        unit = _UNITS[match[2]]
        return min(_LARGEST_NS, int(whole) * unit + (int(part) * unit // 10 ** len(part) if part else 0))

    def _named(self, field: Field, operator: Operator, text: str) -> int:
        words: Mapping[str, int] = _KINDS if field is Field.KIND else _STATUSES
        if text.lower() not in words or operator not in {Operator.IS, Operator.IS_NOT}:
            raise self._fault(f"{text!r} is no {field}", f"{field}= or != one of {', '.join(words)}")
        return int(words[text.lower()])

    def _took(self, word: str) -> bool:
        if self._at("word") and self._tokens[self._next].text.lower() == word:
            self._next += 1
            return True
        return False

    def _at(self, what: str) -> bool:
        return self._next < len(self._tokens) and self._tokens[self._next].what == what

    def _fault(self, what: str, hint: str) -> QueryUnreadable:
        at = self._tokens[self._next].at if self._next < len(self._tokens) else len(self._text)
        return _unreadable(self._text, at, what, hint)


def _joined(parts: list[Query], kind: type[All | Any]) -> Query:
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,))]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _typed(text: str) -> Wanted:
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def parse_query(text: str) -> Query:
    """Read a question.

    Raises:
        QueryUnreadable: It is none; the message says where and the hint what to write.
    """
    if len(text) > LONGEST:
        raise _unreadable(text, LONGEST, f"longer than {LONGEST:,} characters", "ask something simpler")
    return _Parser(text).whole() if text.strip() else EVERYTHING


def write_query(query: Query) -> str:
    """The question as text that `parse_query` reads as the same question."""
    match query:
        case Comparison():
            name = f"{query.field}.{query.key}" if query.key else str(query.field)
            return f"{name}{query.operator}{_written(query)}"
        case All(parts):
            return " AND ".join(f"({write_query(part)})" for part in parts)
        case Any(parts):
            return " OR ".join(f"({write_query(part)})" for part in parts)


def _written(query: Comparison) -> str:
    wanted = query.wanted
    if query.field is Field.DURATION:
        return f"{wanted}ns"
    if query.field is Field.KIND:
        return Kind(int(wanted)).name.lower()
    if query.field is Field.STATUS:
        return Status(int(wanted)).name.lower()
    if isinstance(wanted, bool):
        return str(wanted).lower()
    return _quoted(wanted) if isinstance(wanted, str) else _plain(wanted)


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.18f}".rstrip("0") + "0" * number.is_integer()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# --- what it means -----------------------------------------------------------------------------------------------------


def matches(query: Query, span: Span) -> bool:
    """Whether a question holds for a span: the meaning that SQL has to have, too."""
    match query:
        case All(parts):
            return all(matches(part, span) for part in parts)
        case Any(parts):
            return any(matches(part, span) for part in parts)
        case Comparison():
            return _holds(query, _found(query, span))


def _found(query: Comparison, span: Span) -> Value | None:
    match query.field:
        case Field.ATTRIBUTE:
            return span.attributes.get(query.key)
        case Field.RESOURCE:
            return span.resource.get(query.key)
        case Field.TRACE:
            return span.trace_id.hex()
        case Field.DURATION:
            return span.duration_ns
        case Field.KIND:
            return int(span.kind)
        case Field.STATUS:
            return int(span.status)
        case _:
            return str(getattr(span, query.field))


_COMPARE: Mapping[Operator, Callable[[float, float], bool]] = {
    Operator.MORE: lambda found, wanted: found > wanted,
    Operator.LEAST: lambda found, wanted: found >= wanted,
    Operator.LESS: lambda found, wanted: found < wanted,
    Operator.MOST: lambda found, wanted: found <= wanted,
}


def _holds(query: Comparison, found: Value | None) -> bool:
    if found is None:
        return False
    operator, wanted = query.operator, query.wanted
    if operator in _ORDERED:
        number = isinstance(found, int | float) and not isinstance(found, bool)
        return number and _COMPARE[operator](float_or_int(found), float_or_int(wanted))
    if operator in {Operator.HAS, Operator.HAS_NOT}:
        return (isinstance(found, str) and str(wanted) in found) == (operator is Operator.HAS)
    return _same(found, wanted) == (operator is Operator.IS)


def float_or_int(value: Value) -> float:
    """A number as it is; what is none was sorted out before."""
    return value if isinstance(value, int | float) else float("nan")


def _same(found: Value, wanted: Wanted) -> bool:
    """An attribute that holds `500` as text is 500, too: exporters differ in that."""
    if isinstance(found, str):
        return found == (str(wanted).lower() if isinstance(wanted, bool) else str(wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


# --- SQL ---------------------------------------------------------------------------------------------------------------

_COLUMNS = {
    Field.SERVICE: "service",
    Field.NAME: "name",
    Field.TENANT: "tenant",
    Field.MESSAGE: "message",
    Field.KIND: "kind",
    Field.STATUS: "status",
    Field.TRACE: "trace",
    Field.DURATION: "duration_ns",
    Field.ATTRIBUTE: "attributes",
    Field.RESOURCE: "resource",
}
_SYMBOLS = {Operator.IS_NOT: "<>"}


@dataclass(frozen=True, slots=True)
class Sql:
    """A condition.

    Attributes:
        where: SQL with `?` for each parameter; made of our own words only.
        parameters: In their order.
    """

    where: str
    parameters: tuple[str | int | float | bytes, ...] = ()


def sql(query: Query) -> Sql:
    """The condition in SQLite's SQL, exactly what `matches` means.

    Needs the columns trace (blob), service, name, tenant, message, kind, status, duration_ns, attributes and resource (JSON).
    """
    return _sql(query, _attribute_sql)


def wider_sql(query: Query) -> Sql:
    """A condition for other databases that holds at least where `matches` does: attributes are left to `matches`."""
    return _sql(query, lambda _query: Sql("TRUE"))


def _sql(query: Query, of_attribute: Callable[[Comparison], Sql]) -> Sql:
    match query:
        case All(parts):
            return _sql_joined([_sql(part, of_attribute) for part in parts], " AND ", "1")
        case Any(parts):
            return _sql_joined([_sql(part, of_attribute) for part in parts], " OR ", "0")
        case Comparison(field=Field.ATTRIBUTE | Field.RESOURCE):
            return of_attribute(query)
        case Comparison(field=field, operator=operator, wanted=wanted):
            column = _COLUMNS[field]
            if operator in {Operator.HAS, Operator.HAS_NOT}:
                return Sql(f"instr({column}, ?) {'>' if operator is Operator.HAS else '='} 0", (str(wanted),))
            if field in {Field.KIND, Field.STATUS}:  # a number of ours, written out: partial indexes want to see it
                return Sql(f"{column} {_SYMBOLS.get(operator, operator)} {int(wanted)}")
            value = bytes.fromhex(str(wanted)) if field is Field.TRACE else wanted
            return Sql(f"{column} {_SYMBOLS.get(operator, operator)} ?", (value,))


def _sql_joined(parts: list[Sql], word: str, empty: str) -> Sql:
    where = word.join(part.where for part in parts) or empty
    return Sql(f"({where})", tuple(value for part in parts for value in part.parameters))


def _attribute_sql(query: Comparison) -> Sql:
    column, path, wanted = _COLUMNS[query.field], f'$."{query.key}"', query.wanted
    kind, value = f"json_type({column}, ?)", f"json_extract({column}, ?)"
    if query.operator in _ORDERED:
        assert not isinstance(wanted, str)  # noqa: S101 - the parser lets numbers only be ordered
        return Sql(f"({kind} IN ('integer', 'real') AND {value} {query.operator} ?)", (path, path, wanted))
    if query.operator in {Operator.HAS, Operator.HAS_NOT}:
        holds = Sql(f"({kind} = 'text' AND instr({value}, ?) > 0)", (path, path, str(wanted)))
    else:
        holds = _same_sql(kind, value, path, wanted)
    if query.operator in {Operator.IS, Operator.HAS}:
        return holds
    return Sql(f"({kind} IS NOT NULL AND NOT {holds.where})", (path, *holds.parameters))


def _same_sql(kind: str, value: str, path: str, wanted: Wanted) -> Sql:
    text = f"({kind} = 'text' AND {value} = ?)"
    if isinstance(wanted, str):
        return Sql(text, (path, path, wanted))
    if isinstance(wanted, bool):
        word = str(wanted).lower()
        return Sql(f"({kind} = ? OR {text})", (path, word, path, path, word))
    number = f"({kind} IN ('integer', 'real') AND {value} = ?)"
    return Sql(f"({number} OR {text})", (path, path, wanted, path, path, str(wanted)))


# --- Jaeger and Tempo --------------------------------------------------------------------------------------------------


def jaeger_parameters(query: Query) -> dict[str, str]:
    """Parameters of Jaeger's `GET /api/traces` that find at least what is asked for; `matches` sorts out the rest.

    Raises:
        QueryNotForJaeger: No service is named that every span has to be of.
    """
    parts = query.parts if isinstance(query, All) else (query,)
    sure = [part for part in parts if isinstance(part, Comparison)]
    named = [part.wanted for part in sure if part.field is Field.SERVICE and part.operator is Operator.IS]
    if not named:
        raise QueryNotForJaeger(
            "Jaeger has to be asked about one service", not_done="nothing was asked", hint="add AND service=NAME"
        )
    found, tags = {"service": str(named[0])}, {}
    for part in sure:
        match part:
            case Comparison(Field.NAME, _, Operator.IS, wanted):
                found["operation"] = str(wanted)
            case Comparison(Field.DURATION, _, Operator.MORE | Operator.LEAST, wanted):
                found["minDuration"] = f"{int(wanted) // 1000}us"
            case Comparison(Field.DURATION, _, Operator.LESS | Operator.MOST, wanted):
                found["maxDuration"] = f"{-(-int(wanted) // 1000)}us"
            case Comparison(Field.STATUS, _, Operator.IS, Status.ERROR):
                tags["error"] = "true"
            case Comparison(Field.ATTRIBUTE, key, Operator.IS, wanted):
                tags[key] = str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
            case _:
                continue
    if tags:
        found["tags"] = json.dumps(tags, ensure_ascii=False, sort_keys=True)
    return found


def traceql(query: Query) -> str:
    """The question as TraceQL of Grafana Tempo."""
    return f"{{ {_traceql(query)} }}" if query != EVERYTHING else "{ }"


def _traceql(query: Query) -> str:
    match query:
        case All(parts):
            return " && ".join(_traceql_part(part) for part in parts)
        case Any(parts):
            return " || ".join(_traceql_part(part) for part in parts)
        case Comparison():
            return _traceql_comparison(query)


def _traceql_part(part: Query) -> str:
    return _traceql(part) if isinstance(part, Comparison) else f"({_traceql(part)})"


_TRACEQL = {
    Field.SERVICE: "resource.service.name",
    Field.NAME: "name",
    Field.KIND: "kind",
    Field.STATUS: "status",
    Field.TENANT: "resource.tenant.id",
    Field.MESSAGE: "statusMessage",
    Field.TRACE: "trace:id",
    Field.DURATION: "duration",
}


def _traceql_comparison(query: Comparison) -> str:
    place = {Field.ATTRIBUTE: "span", Field.RESOURCE: "resource"}.get(query.field)
    plain = re.fullmatch(r"[A-Za-z0-9_.-]+", query.key, re.ASCII)
    name = f"{place}.{query.key if plain else _quoted(query.key)}" if place else _TRACEQL[query.field]
    if query.operator in {Operator.HAS, Operator.HAS_NOT}:
        word = "=~" if query.operator is Operator.HAS else "!~"
        return f"{name} {word} {_quoted(f'.*{re.escape(str(query.wanted))}.*')}"
    return f"{name} {query.operator} {_written(query)}"
