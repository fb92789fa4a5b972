"""What each command of Redis and Valkey does to keys, as a table.

Knows:     the columns of `commands.csv`, where in a command its keys are, and how a command is found by its words.
Called by: `redis.intent` judges calls with it, `redis.tablefile` reads it, make/redis_commands.py writes it.
Never:     believes in a command that is not listed: what is unknown is destructive.
Source:    `COMMAND`, `COMMAND DOCS` and ACL categories of Redis 6.2.14 and 7.0.15 and Valkey 9.1.2, asked by make/redis_commands.py,
           and the commands of Redis 8.10 as its documentation lists them; key specifications after db.c `getKeysUsingKeySpecs`.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Class(StrEnum):
    """What kind of command it is; `redis.intent` tells what one call does."""

    READ = "read"
    SESSION = "session"
    WRITE = "write"
    EXPIRES = "expires"
    EMPTIES = "empties"
    OVERWRITES = "overwrites"
    REMOVES = "removes"
    FLUSHES = "flushes"
    SCRIPT = "script"
    SERVER = "server"
    UNKNOWN = "unknown"

    @property
    def meaning(self) -> str:
        """Half a sentence for people."""
        return _MEANING[self]


_MEANING = {
    Class.READ: "changes nothing",
    Class.SESSION: "changes the connection only",
    Class.WRITE: "adds, or changes a value in place",
    Class.EXPIRES: "changes when a key ends; a time that is over takes it at once",
    Class.EMPTIES: "takes elements out; the key goes with its last one",
    Class.OVERWRITES: "puts another value in the place of a whole one",
    Class.REMOVES: "takes whole keys away",
    Class.FLUSHES: "takes away all keys of a database, a slot or an index, or all code",
    Class.SCRIPT: "runs code that may do anything",
    Class.SERVER: "changes the server, its role, its files or who may use it",
    Class.UNKNOWN: "is not in the table, so it counts as destructive",
}


class Rule(StrEnum):
    """What decides, for one call, what it does; named after the command that is judged so."""

    ALWAYS = "always"
    SET = "set"
    SETEX = "setex"
    MSETEX = "msetex"
    EXPIRE = "expire"
    GETEX = "getex"
    INCREX = "increx"
    HEXPIRE = "hexpire"
    HGETEX = "hgetex"
    HSETEX = "hsetex"
    COPY = "copy"
    RESTORE = "restore"
    REPLACE = "replace"
    STORE = "store"
    TRIM = "trim"
    MIGRATE = "migrate"
    CONFIG = "config"
    DEBUG = "debug"
    SCRIPT = "script"


class Treatment(StrEnum):
    """What the guard does with a command, from least to most."""

    PASS = "pass"  # noqa: S105 - not a password
    PROTECT = "protect"
    CHECK = "check"
    HOLD = "hold"
    REFUSE = "refuse"

    @property
    def meaning(self) -> str:
        """Half a sentence for people."""
        return _TREATED[self]


_TREATED = {
    Treatment.PASS: "goes through",
    Treatment.PROTECT: "goes through unless one of its keys is protected",
    Treatment.CHECK: "goes through if every check allows it",
    Treatment.HOLD: "waits for a person",
    Treatment.REFUSE: "is refused, whoever asks",
}


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where some keys of a command are, as Redis describes it.

    Attributes:
        mode: RO, RW, OW (the whole value is replaced), RM (the key is removed), or nothing for what is only named.
        flags: Words such as `access`, `update`, `insert`, `delete`, `not_key`, `incomplete`, `variable_flags`.
        keyword: The word that keys follow; empty if they begin at a place.
        begin: The place, the name being 0; or where the keyword is looked for, from the end if negative. None: not told.
        last: Of a range: relative to the first key, from the end if negative.
        step: From one key to the next.
        limit: Of a range that ends with the command: 2 means that the first half is keys.
        count_at: Where the number of keys is, relative to `begin`; None for a range.
        first: Where the first key is then, relative to `begin`.
    """

    mode: str
    flags: frozenset[str]
    keyword: str = ""
    begin: int | None = None
    last: int = 0
    step: int = 1
    limit: int = 0
    count_at: int | None = None
    first: int = 0

    def positions(self, args: Sequence[bytes]) -> tuple[int, ...] | None:
        """Where the keys are; empty if the keyword is not there, None if it cannot be told."""
        if self.begin is None:
            return None
        begin = self._begin(args) if self.keyword else self.begin
        if not begin:
            return ()
        if self.count_at is not None:
            return self._counted(args, begin)
        last = begin + self.last
        if self.last < 0:
            last = begin + (len(args) - begin) // self.limit - 1 if self.limit else len(args) + self.last
        return tuple(range(begin, last + 1, self.step)) if begin <= last < len(args) else None

    def _begin(self, args: Sequence[bytes]) -> int:
        start = self.begin or 0
        places = range(start, len(args) - 1) if start > 0 else range(len(args) + start, 1, -1)
        wanted = self.keyword.encode()
        return next((at + 1 for at in places if 0 < at < len(args) and token(args[at]) == wanted), 0)

    def _counted(self, args: Sequence[bytes], begin: int) -> tuple[int, ...] | None:
        at = begin + (self.count_at or 0)
        count = number(args[at]) if at < len(args) else None
        if count is None or count < 0:
            return None
        found = range(begin + self.first, begin + self.first + count * self.step, self.step)
        return tuple(found) if not found or found[-1] < len(args) else None


_SPEC = re.compile(
    r"(?P<mode>RO|RW|OW|RM|-)(?P<flags>(?:\+[a-z_]+)*) (?:\?|(?:(?P<keyword>[A-Z]+)@)?(?P<begin>-?\d+)"
    r"(?:\.\.(?P<last>-?\d+)|#(?P<count>\d+)\+(?P<first>\d+))?(?:/(?P<step>\d+))?(?::(?P<limit>\d+))?)",
    re.ASCII,
)


def parse_spec(text: str) -> KeySpec:
    """Read `RW+delete 1..-1`, `OW+update STORE@6`, `RO 2#0+1`, `OW+update ?`.

    Raises:
        ValueError: It is none.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise ValueError(text)
    mode, flags = match["mode"].strip("-"), frozenset(filter(None, match["flags"].split("+")))
    if match["begin"] is None:
        return KeySpec(mode, flags)
    return KeySpec(
        mode=mode,
        flags=flags,
        keyword=match["keyword"] or "",
        begin=int(match["begin"]),
        last=int(match["last"] or 0),
        step=int(match["step"] or 1),
        limit=int(match["limit"] or 0),
        count_at=None if match["count"] is None else int(match["count"]),
        first=int(match["first"] or 0),
    )


def format_spec(spec: KeySpec) -> str:
    """The text that `parse_spec` reads."""
    head = "+".join([spec.mode or "-", *sorted(spec.flags)])
    if spec.begin is None:
        return f"{head} ?"
    place = f"{spec.keyword}@{spec.begin}" if spec.keyword else str(spec.begin)
    if spec.count_at is not None:
        place += f"#{spec.count_at}+{spec.first}"
    elif spec.last:
        place += f"..{spec.last}"
    return f"{head} {place}{f'/{spec.step}' if spec.step != 1 else ''}{f':{spec.limit}' if spec.limit else ''}"


@dataclass(frozen=True, slots=True)
class Command:
    """One row.

    Attributes:
        name: `GET`, or `CONFIG SET` for a subcommand.
        cls: What kind of command it is.
        rule: What decides for one call.
        treatment: What is done with it whatever its class says; None for what the class says.
        keys: Where its keys are.
        arity: Number of words, the name included; negative for "at least". 0 if not known.
        flags: As `COMMAND` tells them.
        categories: Of access control lists, without the `@`.
        since: The version that brought it; empty if not known.
        seen: Servers that know it, and `doc-8.10` for the documentation.
        why: What is lost, and when.
        undo: What would bring it back; empty for nothing.
    """

    name: str
    cls: Class
    rule: Rule = Rule.ALWAYS
    treatment: Treatment | None = None
    keys: tuple[KeySpec, ...] = ()
    arity: int = 0
    flags: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    since: str = ""
    seen: tuple[str, ...] = ()
    why: str = ""
    undo: str = ""


COLUMNS = (
    "command",
    "class",
    "rule",
    "treatment",
    "why",
    "undo",
    "keys",
    "arity",
    "flags",
    "categories",
    "since",
    "seen",
)
"""Of commands.csv. The first six are decided by people, the others come from servers and from the documentation."""


@dataclass(frozen=True, slots=True)
class Table:
    """All commands, to be looked up.

    Attributes:
        rows: From name to row, in the order of names.
    """

    rows: Mapping[str, Command]
    _containers: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        containers = frozenset(name.split(" ")[0] for name in self.rows if " " in name)
        object.__setattr__(self, "_containers", containers)

    def __iter__(self) -> Iterator[Command]:
        return iter(self.rows.values())

    @property
    def containers(self) -> frozenset[str]:
        """Commands that only their second word makes complete, such as CONFIG."""
        return self._containers

    def name(self, args: Sequence[bytes]) -> str:
        """What a command is called, for people and for look-ups: upper case, with its subcommand."""
        words = [arg.upper().decode("latin-1") for arg in args[:2]]
        if not words:
            return ""
        return " ".join(words) if words[0] in self._containers else words[0]

    def find(self, args: Sequence[bytes]) -> Command | None:
        """The row of a command; None for what is not known."""
        return self.rows.get(self.name(args))


def parse_table(text: str) -> Table:
    """Read commands.csv.

    Raises:
        ValueError: A column or a value is wrong, or a name comes twice.
    """
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError("the columns are not those of the table of commands")
    rows: dict[str, Command] = {}
    for row in reader:
        if row["command"] in rows:
            raise ValueError(f"{row['command']} comes twice")
        rows[row["command"]] = _read(row)
    return Table(rows)


def format_table(commands: Iterable[Command]) -> Iterator[Mapping[str, str]]:
    """Rows for a `csv.DictWriter` with `COLUMNS`, in the order of names."""
    for one in sorted(commands, key=lambda command: command.name):
        yield {
            "command": one.name,
            "class": one.cls,
            "rule": one.rule,
            "treatment": one.treatment or "",
            "why": one.why,
            "undo": one.undo,
            "keys": "; ".join(map(format_spec, one.keys)),
            "arity": str(one.arity or ""),
            "flags": " ".join(sorted(one.flags)),
            "categories": " ".join(sorted(one.categories)),
            "since": one.since,
            "seen": " ".join(one.seen),
        }


def _read(row: Mapping[str, str]) -> Command:
    return Command(
        name=row["command"],
        cls=Class(row["class"]),
        rule=Rule(row["rule"]),
        treatment=Treatment(row["treatment"]) if row["treatment"] else None,
        keys=tuple(parse_spec(text) for text in row["keys"].split("; ") if text),
        arity=int(row["arity"] or 0),
        flags=frozenset(row["flags"].split()),
        categories=frozenset(row["categories"].split()),
        since=row["since"],
        seen=tuple(row["seen"].split()),
        why=row["why"],
        undo=row["undo"],
    )


_NUMBER = re.compile(rb"-?[1-9][0-9]{0,18}|0")


def token(arg: bytes) -> bytes:
    """A word such as REPLACE as a server compares it: without regard to case, and only up to a NUL.

    Source: `strcasecmp` on the argument's bytes, all over Redis 6.2 to Valkey 9: REPLACE, NUL, x counts as REPLACE.
    """
    return arg.partition(b"\0")[0].upper()


def number(arg: bytes) -> int | None:
    """A number as a server reads it; None for what it refuses. Source: util.c `string2ll`."""
    if _NUMBER.fullmatch(arg) is None:
        return None
    value = int(arg)
    return value if -(1 << 63) <= value < 1 << 63 else None
