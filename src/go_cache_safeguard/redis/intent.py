"""What one command would do, before it is done.

Knows:     how options, times and sizes in a call turn a command into a harmless or a destructive one, and which keys it is about.
Called by: the guard's proxy and `flows`.
Never:     asks a server: where the answer depends on what is stored there, the intent is CONDITIONAL and the checks ask. What
           cannot be understood is destructive.
Source:    parsers of t_string.c, expire.c, sort.c, geo.c, cluster.c, t_stream.c (Redis 6.2, 7.0, Valkey 8 and 9); what each form
           does to keys was tried on those servers, and tests/real/test_redis_effects.py tries it again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from hashlib import sha1

from go_cache_safeguard.redis.commands import Class, Command, KeySpec, Rule, Table, Treatment, number, token
from go_cache_safeguard.redis.connection import Connection, advance


class Loss(IntEnum):
    """What may happen to one key, from nothing to everything."""

    NONE = 0
    CHANGED = 1
    EXPIRES = 2
    EMPTIED = 3
    OVERWRITTEN = 4
    REMOVED = 5


class Certainty(IntEnum):
    """Whether a call destroys something."""

    HARMLESS = 0
    CONDITIONAL = 1
    SURE = 2


class Scope(StrEnum):
    """How far a call reaches."""

    KEYS = "keys"
    DATABASE = "database"
    DATA_SET = "data set"
    CODE = "code"
    SERVER = "server"
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One key that a call names.

    Attributes:
        key: Its name.
        db: Its database; None if that is not known.
        loss: The worst that may happen to it.
    """

    key: bytes
    db: int | None
    loss: Loss


@dataclass(frozen=True, slots=True)
class Intent:
    """What one call would do.

    Attributes:
        name: The command with its subcommand, in upper case; bytes of unknown names as Latin-1.
        cls: What this very call is, which may be less than what the command can be.
        certainty: Whether something is destroyed.
        scope: How far it reaches.
        uses: Every key that it names.
        treatment: What the table, or an allow-list, wants; None for what the class says.
        why: Half a sentence for people.
        parts: The calls of a transaction, of which the other attributes tell the worst and all keys; empty for one call.
    """

    name: str
    cls: Class
    certainty: Certainty
    scope: Scope = Scope.KEYS
    uses: tuple[KeyUse, ...] = ()
    treatment: Treatment | None = None
    why: str = ""
    parts: "tuple[Intent, ...]" = ()

    @property
    def changing(self) -> tuple[KeyUse, ...]:
        """The keys that may be another afterwards, each once with its worst loss."""
        worst: dict[tuple[bytes, int | None], KeyUse] = {}
        for use in self.uses:
            known = worst.get((use.key, use.db))
            if use.loss and (known is None or use.loss > known.loss):
                worst[use.key, use.db] = use
        return tuple(worst.values())

    @property
    def losing(self) -> tuple[KeyUse, ...]:
        """The keys of which something may be lost, each once with its worst loss."""
        return tuple(use for use in self.changing if use.loss >= Loss.EXPIRES)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a judgement depends on, beside the call.

    Attributes:
        now_ms: Milliseconds since 1970-01-01 UTC, by the server's clock.
        soon_ms: An expiry that is no farther away counts as a removal.
        scripts: SHA-1 of scripts that were looked at, 40 hexadecimal digits in lower case.
    """

    now_ms: int
    soon_ms: int = 1_000
    scripts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a rule found out.

    Attributes:
        cls: What the call is.
        treatment: As in `Intent`.
        places: Positions of keys with their losses, where the table cannot tell them; None where it can.
        db_at: Database of the key at a position, where it is not the connection's.
        ok: False if the call cannot be understood.
    """

    cls: Class
    treatment: Treatment | None = None
    places: tuple[tuple[int, Loss], ...] | None = None
    db_at: dict[int, int | None] = field(default_factory=dict)


_CERTAINTY = {
    Class.READ: Certainty.HARMLESS,
    Class.SESSION: Certainty.HARMLESS,
    Class.WRITE: Certainty.HARMLESS,
    Class.EXPIRES: Certainty.CONDITIONAL,
    Class.EMPTIES: Certainty.CONDITIONAL,
    Class.OVERWRITES: Certainty.CONDITIONAL,
}
_ORDER = tuple(Class)
_SCOPE = {
    Class.SERVER: Scope.SERVER,
    Class.SCRIPT: Scope.ANYTHING,
    Class.UNKNOWN: Scope.ANYTHING,
    Class.FLUSHES: Scope.DATA_SET,
}


def judge(args: Sequence[bytes], connection: Connection, table: Table, terms: Terms) -> Intent:
    """Say what a call would do.

    Args:
        args: The command and its arguments; at least one.
        connection: What the client did before; inside of MULTI a call is judged as if it were done now.
        table: All commands.
        terms: The time, and what the site allows.

    Returns:
        For EXEC, the whole transaction. Commands between MULTI and EXEC are judged one by one as well.
    """
    name = table.name(args)
    row = table.find(args)
    if name == "EXEC" and connection.queued is not None:
        return _transaction(connection, table, terms)
    if row is None:
        return _unknown(name, "is not in the table of commands")
    if not _fits(row.arity, len(args)):
        return _unknown(name, "does not have as many arguments as the table says")
    turn = _RULES[row.rule](row, args, terms)
    uses = _uses(row, turn, args, connection.db)
    if uses is None or (turn.cls in _NEEDS_KEYS and not uses):
        return _unknown(name, "does not say which keys it is about")
    scope = _scope(name, turn.cls)
    certainty = _CERTAINTY.get(turn.cls, Certainty.SURE)
    return Intent(name, turn.cls, certainty, scope, uses, turn.treatment or row.treatment, row.why)


def _transaction(connection: Connection, table: Table, terms: Terms) -> Intent:
    """All commands of a transaction as one."""
    inside = replace(connection, queued=None, db=connection.before)
    parts = []
    for args in connection.queued or ():
        parts.append(judge(args, inside, table, terms))
        inside = advance(inside, args)
    worst = max(parts, key=lambda part: (part.certainty, _ORDER.index(part.cls)), default=None)
    if worst is None:
        return Intent("EXEC", Class.SESSION, Certainty.HARMLESS)
    return replace(worst, name="EXEC", uses=tuple(use for part in parts for use in part.uses), parts=tuple(parts))


def _unknown(name: str, why: str) -> Intent:
    return Intent(name, Class.UNKNOWN, Certainty.SURE, Scope.ANYTHING, why=why)


def _fits(arity: int, words: int) -> bool:
    return words >= -arity if arity <= 0 else words == arity


def _scope(name: str, cls: Class) -> Scope:
    if cls is Class.FLUSHES and name.startswith(("FUNCTION ", "SCRIPT ")):
        return Scope.CODE
    return Scope.DATABASE if name == "FLUSHDB" else _SCOPE.get(cls, Scope.KEYS)


_NEEDS_KEYS = {Class.EXPIRES, Class.EMPTIES, Class.OVERWRITES, Class.REMOVES}


def _uses(row: Command, turn: _Turn, args: Sequence[bytes], db: int | None) -> tuple[KeyUse, ...] | None:
    """Every key with what may happen to it; None if the keys cannot be told."""
    places = turn.places
    if places is None:
        places = ()
        for spec in row.keys:
            found = spec.positions(args)
            if found is None and turn.cls not in {Class.READ, Class.SESSION}:
                return None
            if "not_key" not in spec.flags:
                places += tuple((at, _loss(turn.cls, spec, row.keys)) for at in found or ())
    if any(at >= len(args) for at, _ in places):
        return None
    return tuple(KeyUse(args[at], turn.db_at.get(at, db), loss) for at, loss in places)


def _loss(cls: Class, spec: KeySpec, specs: Sequence[KeySpec]) -> Loss:
    if cls in {Class.READ, Class.SESSION}:
        return Loss.NONE
    if spec.mode == "RO":
        # XREADGROUP says that it only reads, and writes into the group all the same.
        return Loss.CHANGED if all(other.mode == "RO" for other in specs) else Loss.NONE
    if spec.mode == "OW" and spec.flags == {"insert"}:
        return Loss.CHANGED  # written only if nothing was there
    match cls:
        case Class.WRITE:
            return Loss.CHANGED
        case Class.EXPIRES:
            return Loss.EXPIRES
        case Class.EMPTIES:
            takes = "delete" in spec.flags or not any("delete" in other.flags for other in specs)
            return Loss.EMPTIED if takes else Loss.CHANGED
        case Class.REMOVES if spec.mode == "OW" and len(specs) > 1:
            return Loss.OVERWRITTEN  # the new name of RENAME
        case Class.REMOVES:
            return Loss.REMOVED
    return Loss.OVERWRITTEN


# Rules: what one call is. Each is named by a row of the table.


def _always(row: Command, _args: Sequence[bytes], _terms: Terms) -> _Turn:
    return _Turn(row.cls)


def _tokens(args: Sequence[bytes], begin: int) -> list[bytes]:
    return [token(arg) for arg in args[begin:]]


_EXPIRIES = {b"EX": (1000, False), b"PX": (1, False), b"EXAT": (1000, True), b"PXAT": (1, True)}
_TAKES_ONE = {*_EXPIRIES, b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"}


def _ends(arg: bytes, unit_ms: int, terms: Terms, *, absolute: bool) -> bool:
    """Whether a key with this expiry is gone at once or very soon; also if that cannot be told."""
    value = number(arg)
    if value is None:
        return True
    return value * unit_ms - (terms.now_ms if absolute else 0) <= terms.soon_ms


def _expiry(args: Sequence[bytes], begin: int, terms: Terms) -> bool | None:
    """Whether any of EX, PX, EXAT, PXAT is over; None if there is none. Values are looked at as if they were options, too."""
    found = []
    for at in range(begin, len(args)):
        if token(args[at]) in _EXPIRIES:
            unit, absolute = _EXPIRIES[token(args[at])]
            found.append(_ends(args[at + 1] if at + 1 < len(args) else b"", unit, terms, absolute=absolute))
    return any(found) if found else None


def _only_new(args: Sequence[bytes], begin: int) -> bool:
    """Whether NX is among the options; what another option takes is none, so that `IFEQ NX` compares with a value."""
    at = begin
    while at < len(args):
        word = token(args[at])
        if word == b"NX":
            return True
        at += 2 if word in _TAKES_ONE else 1
    return False


def _set(row: Command, args: Sequence[bytes], terms: Terms) -> _Turn:
    return _stored(row, args, 3, terms)


def _stored(row: Command, args: Sequence[bytes], begin: int, terms: Terms) -> _Turn:
    if _only_new(args, begin):
        return _Turn(Class.WRITE)
    return _Turn(Class.REMOVES if _expiry(args, begin, terms) else row.cls)


def _setex(row: Command, args: Sequence[bytes], terms: Terms) -> _Turn:
    unit = 1 if row.name.startswith("P") else 1000
    return _Turn(Class.REMOVES if _ends(args[2], unit, terms, absolute=False) else row.cls)


def _msetex(row: Command, args: Sequence[bytes], terms: Terms) -> _Turn:
    return _stored(row, args, 2 + 2 * max(0, number(args[1]) or 0), terms)


def _expire(row: Command, args: Sequence[bytes], terms: Terms) -> _Turn:
    over = Class.EMPTIES if row.name.startswith("H") else Class.REMOVES
    unit = 1 if row.name.lstrip("H").startswith("P") else 1000
    return _Turn(over if _ends(args[2], unit, terms, absolute=row.name.endswith("AT")) else row.cls)


def _with_expiry(without: Class, over: Class) -> "_Rule":
    def rule(row: Command, args: Sequence[bytes], terms: Terms) -> _Turn:
        ends = _expiry(args, 2, terms)
        if ends is None:
            return _Turn(row.cls if b"PERSIST" in _tokens(args, 2) else without)
        return _Turn(over if ends else row.cls)

    return rule


def _copy(row: Command, args: Sequence[bytes], _terms: Terms) -> _Turn:
    words = _tokens(args, 3)
    db_at: dict[int, int | None] = {}
    for at in range(3, len(args) - 1):
        if words[at - 3] == b"DB":
            db_at[2] = number(args[at + 1])
    return _Turn(row.cls if b"REPLACE" in words else Class.WRITE, db_at=db_at)


def _restore(row: Command, args: Sequence[bytes], terms: Terms) -> _Turn:
    words = _tokens(args, 4)
    if b"REPLACE" not in words:
        return _Turn(Class.WRITE)
    ends = args[2] != b"0" and _ends(args[2], 1, terms, absolute=b"ABSTTL" in words)
    return _Turn(Class.REMOVES if ends else row.cls)


def _replace(row: Command, args: Sequence[bytes], _terms: Terms) -> _Turn:
    return _Turn(row.cls if b"REPLACE" in _tokens(args, 2) else Class.WRITE)


_SKIPPED = {b"LIMIT": 2, b"GET": 1, b"BY": 1}


def _store(row: Command, args: Sequence[bytes], _terms: Terms) -> _Turn:
    """SORT and GEORADIUS: the last STORE is obeyed, every one counts; what other options take is none."""
    at, skipped, stores = (2, _SKIPPED, {b"STORE"}) if row.name == "SORT" else (5, {}, {b"STORE", b"STOREDIST"})
    places = [(1, Loss.NONE)]
    while at < len(args):
        word = token(args[at])
        if word in stores and at + 1 < len(args):
            at += 1
            places.append((at, Loss.OVERWRITTEN))
        at += 1 + skipped.get(word, 0)
    return _Turn(row.cls if len(places) > 1 else Class.READ, places=tuple(places))


def _trim(row: Command, args: Sequence[bytes], _terms: Terms) -> _Turn:
    """XADD: options come before the id, but a field called MAXLEN is only taken for one."""
    return _Turn(row.cls if {b"MAXLEN", b"MINID"} & {*_tokens(args, 2)} else Class.WRITE)


_MIGRATE_SKIPPED = {b"AUTH": 1, b"AUTH2": 2}


def _migrate(row: Command, args: Sequence[bytes], _terms: Terms) -> _Turn:
    """Keys stand at the third place or after KEYS; with COPY they stay here, but REPLACE still overwrites elsewhere."""
    at, keys, words = 6, (3,), set[bytes]()
    while at < len(args):
        word = token(args[at])
        if word == b"KEYS":
            keys = (*(() if not args[3] else keys), *range(at + 1, len(args)))
            break
        words.add(word)
        at += 1 + _MIGRATE_SKIPPED.get(word, 0)
    if b"COPY" not in words:
        return _Turn(row.cls, places=tuple((key, Loss.REMOVED) for key in keys))
    loss, cls = (Loss.OVERWRITTEN, Class.OVERWRITES) if b"REPLACE" in words else (Loss.NONE, Class.READ)
    return _Turn(cls, places=tuple((key, loss) for key in keys))


_TUNING = {
    b"ACTIVE-DEFRAG-CYCLE-MAX",
    b"ACTIVE-DEFRAG-CYCLE-MIN",
    b"ACTIVEDEFRAG",
    b"BUSY-REPLY-THRESHOLD",
    b"COMMANDLOG-EXECUTION-SLOWER-THAN",
    b"COMMANDLOG-SLOW-EXECUTION-MAX-LEN",
    b"DYNAMIC-HZ",
    b"HZ",
    b"LATENCY-MONITOR-THRESHOLD",
    b"LATENCY-TRACKING",
    b"LOGLEVEL",
    b"LUA-TIME-LIMIT",
    b"NOTIFY-KEYSPACE-EVENTS",
    b"SLOWLOG-LOG-SLOWER-THAN",
    b"SLOWLOG-MAX-LEN",
    b"TCP-KEEPALIVE",
    b"TRACKING-TABLE-MAX-KEYS",
}
"""What CONFIG SET may change without a question: it decides neither what is stored, nor what is saved, nor who gets in."""
_LOOKING = {b"OBJECT", b"DIGEST", b"DIGEST-VALUE", b"SDSLEN", b"HTSTATS", b"HTSTATS-KEY", b"LISTPACK", b"HELP"}


def _config(row: Command, args: Sequence[bytes], _terms: Terms) -> _Turn:
    return _Turn(row.cls, Treatment.PASS if {token(arg) for arg in args[2::2]} <= _TUNING else None)


def _debug(row: Command, args: Sequence[bytes], _terms: Terms) -> _Turn:
    return _Turn(Class.READ if token(args[1]) in _LOOKING else row.cls)


def _script(row: Command, args: Sequence[bytes], terms: Terms) -> _Turn:
    """A script that was looked at may still not touch protected keys, as far as it names them."""
    if row.name == "EVAL":
        digest = sha1(args[1], usedforsecurity=False).hexdigest()
    else:
        digest = args[1].decode("latin-1").lower()
    return _Turn(row.cls, Treatment.PROTECT if digest in terms.scripts else None)


_Rule = Callable[[Command, Sequence[bytes], Terms], _Turn]
_RULES: dict[Rule, _Rule] = {
    Rule.ALWAYS: _always,
    Rule.SET: _set,
    Rule.SETEX: _setex,
    Rule.MSETEX: _msetex,
    Rule.EXPIRE: _expire,
    Rule.GETEX: _with_expiry(Class.READ, Class.REMOVES),
    Rule.INCREX: _with_expiry(Class.WRITE, Class.REMOVES),
    Rule.HEXPIRE: _expire,
    Rule.HGETEX: _with_expiry(Class.READ, Class.EMPTIES),
    Rule.HSETEX: _with_expiry(Class.WRITE, Class.EMPTIES),
    Rule.COPY: _copy,
    Rule.RESTORE: _restore,
    Rule.REPLACE: _replace,
    Rule.STORE: _store,
    Rule.TRIM: _trim,
    Rule.MIGRATE: _migrate,
    Rule.CONFIG: _config,
    Rule.DEBUG: _debug,
    Rule.SCRIPT: _script,
}
