"""What a removal from a server, or one call of a client, would take, and what every check says of it. Touches nothing.

Knows:     how keys are found by name, by pattern or all of them, which facts each check gets, and which calls can be undone.
Called by: the command line's `redis check`, `redis del`, `redis unlink`, `redis flush`; `flows.redis_gate`.
Never:     asks KEYS; looks at the first key only; writes to the server.
"""

import time
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import Refused
from go_cache_safeguard.flows.guard import load_rules
from go_cache_safeguard.flows.redis_server import identity_of
from go_cache_safeguard.flows.redis_trash import open_bin, room
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import SERVER
from go_cache_safeguard.redis.call import Call
from go_cache_safeguard.redis.checks import blast_radius, hit_rate, names, replication, ttl, undo
from go_cache_safeguard.redis.client import FOREVER, GONE, SLACK, Link, Looked, Server
from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.hitrate import Reading, State
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.intent import Intent, KeyUse, Scope
from go_cache_safeguard.redis.keyname import place_name, text_of
from go_cache_safeguard.redis.rules import Rules
from go_cache_safeguard.redis.tablefile import load_table
from go_cache_safeguard.redis.trashlog import TrashUnusable
from go_cache_safeguard.redis.wording import shown

_BATCH = 500
_SHOWN = 10
_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for.

    Attributes:
        command: `DEL`, `UNLINK`, `FLUSHDB` or `FLUSHALL`: what the site's rules are asked about.
        keys: By name.
        patterns: As in SCAN.
        everything: All keys of the database, or of all databases with FLUSHALL.
    """

    command: str
    keys: tuple[bytes, ...] = ()
    patterns: tuple[bytes, ...] = ()
    everything: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """As it is written into the plan."""
        return (self.command.lower(), *map(text_of, self.keys), *(f"--match={text_of(one)}" for one in self.patterns))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a removal: the checks are asked about this, and nothing else.

    Attributes:
        target: The server.
        rules: The site's.
        infos: What each node said of itself.
        pttl: What is left of each key, as PTTL would tell it.
        there: How many keys are there; None if nobody can say which would go.
        size: Bytes of their values in the server's memory.
        sized: Whether the server told the size of every key.
        whole: Bytes of all values of the server.
        counts: Keys of each database that was looked at, on each node; None if that was not told.
        patterns: By which keys were chosen.
        person: Why a person decides whatever the checks say; empty if they may decide.
        dumped: Bytes of all values as DUMP gives them; None if one of them could not be had.
        final: Why it could not be undone; empty if it can, as far as there is room.
        copied: Whether a copy would be made first; otherwise nobody is asked whether there is room for it.
        largest: Bytes of the largest value as DUMP gives it, and the name of its key.
        takes: Bytes of the largest value that the server takes back; None if it was not asked, or does not say.
        unread: The first keys whose values the server did not give, or could not without going beyond its memory.
    """

    target: str
    rules: Rules
    infos: Sequence[Info]
    pttl: Mapping[bytes, int | None]
    there: int | None
    size: int
    sized: bool
    whole: int
    counts: Sequence[int | None]
    patterns: tuple[bytes, ...] = ()
    person: str = ""
    dumped: int | None = None
    final: str = ""
    copied: bool = True
    largest: tuple[int, str] = (0, "")
    takes: int | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """A plan, and the facts that it was made from."""

    plan: Plan
    facts: Facts


def survey(session: Session, server: Link, wanted: Wanted) -> Survey:
    """Look at every key that would go.

    Raises:
        Refused: The site's rules refuse the command whatever it is about.
        ReplyLost: The connection ended.
    """
    rules = load_rules(session.config)
    treatment = rules.of_command(load_table().rows[wanted.command])
    if treatment is Treatment.REFUSE:
        raise Refused(f"{wanted.command} is refused by the rules of this site", not_done="nothing was removed")
    infos = server.infos()
    looker = _Looker(server, server.now_ms())
    databases = _databases(server, infos) if wanted.command == "FLUSHALL" else [server.address.db]
    session.progress.phase("looking at keys")
    for db in databases:
        server.select(db)
        for reason, keys in _found(server, wanted):
            looker.look(db, keys, reason)
            session.progress.update(len(looker.items), looker.dumped)
    session.progress.phase("")
    facts = replace(
        looker.facts(rules, infos, databases),
        patterns=(b"*",) if wanted.everything else wanted.patterns,
        person=_waits(wanted.command) if treatment is Treatment.HOLD else "",
    )
    return Survey(looker.plan(infos, wanted.words, session.actor, facts.whole), facts)


class Manner(StrEnum):
    """How a client's call is done once a person has approved it."""

    KEYS = "keys"
    """The guard removes its keys, with a copy of every value."""
    CALL = "call"
    """The guard sends the very call, with a copy of every key that it may change."""
    RETRY = "retry"
    """The client sends it again, once, and nothing is copied."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One client's call, with all that was found out about it without asking a server.

    Attributes:
        call: What it wants done.
        intent: What that would do.
        rules: The site's.
        manner: How it would be done.
        final: Why it could not be undone; empty if it can.
    """

    call: Call
    intent: Intent
    rules: Rules
    manner: Manner
    final: str

    @property
    def parts(self) -> tuple[Intent, ...]:
        """Each call of a transaction; else the one."""
        return self.intent.parts or (self.intent,)

    @property
    def judged(self) -> tuple[KeyUse, ...]:
        """The keys that the checks are asked about: of which something may be lost, or that the site wants left as they are."""
        return self.rules.judged(self.intent)

    @property
    def flushes(self) -> bool:
        """Whether everything goes."""
        return any(part.name in _FLUSHES for part in self.parts)

    @property
    def uncounted(self) -> bool:
        """Whether nobody can say which keys would go."""
        return any(part.scope not in {Scope.KEYS, Scope.CODE} and part.name not in _FLUSHES for part in self.parts)

    @property
    def places(self) -> tuple[tuple[int, bytes], ...]:
        """Databases and names of all keys that may be another afterwards."""
        return _places(self.intent.changing)


def wish(call: Call, intent: Intent, rules: Rules, *, guard: bool, exact: bool = False) -> Wish:
    """Find out how a call would be done.

    Args:
        call: What a client wants done.
        intent: What that would do.
        rules: The site's.
        guard: Whether the guard is to do it itself, if it can.
        exact: Whether DEL and UNLINK are to take all of their keys or none, as they do without a guard.
    """
    final = _final(call, intent)
    if final or not guard:
        return Wish(call, intent, rules, Manner.RETRY, final or "the client itself does it, and nothing is copied")
    of_keys = intent.name in (_FLUSHES if exact else _OF_KEYS | _FLUSHES)
    return Wish(call, intent, rules, Manner.KEYS if of_keys else Manner.CALL, "")


def glance(server: Server, wanted: Wish, infos: Sequence[Info]) -> Facts:
    """What the checks need to know of a call that names its keys, in one pipeline for each database.

    Raises:
        Elsewhere: Another node of the cluster has one of them.
        ReplyLost: The connection ended.
    """
    pttl: dict[bytes, int | None] = {}
    there, size, sized = 0, 0, True
    places = _places(wanted.judged)
    for db, keys in _by_db(places):
        server.select(db)
        for one in server.glance(keys):
            pttl[one.key] = sooner(pttl[one.key], one.left_ms) if one.key in pttl else one.left_ms
            there += one.left_ms != GONE
            size += one.size or 0
            sized &= one.size is not None or one.left_ms == GONE
    databases = {db for db, _ in places}
    facts = _facts(server, wanted.rules, infos, databases, size)
    return replace(
        facts, pttl=pttl, there=None if wanted.uncounted else there, sized=sized and not wanted.uncounted, copied=False
    )


def databases_of(server: Link, wanted: Wish, infos: Sequence[Info]) -> set[int]:
    """Which databases a call reaches."""
    if not wanted.flushes:
        return {db for db, _ in wanted.places}
    return {wanted.call.db or 0} if wanted.intent.name == "FLUSHDB" else set(_databases(server, infos))


def survey_call(session: Session, server: Link, wanted: Wish) -> Survey:
    """Look at every key that a call may change, closely enough for an approval to be bound to what they are.

    Raises:
        ReplyLost: The connection ended.
    """
    call, infos = wanted.call, server.infos()
    looker = _Looker(server, server.now_ms(), absent=wanted.manner is not Manner.KEYS)
    databases = databases_of(server, wanted, infos)
    for db in sorted(databases) if wanted.flushes else ():
        server.select(db)
        for keys in server.scan():
            looker.look(db, keys, "everything")
    for db, keys in _by_db(wanted.places):
        server.select(db)
        looker.look(db, keys, "named")
    if not wanted.flushes:
        looker.forget({use.key for use in wanted.judged})
    facts = looker.facts(wanted.rules, infos, databases)
    facts = replace(
        facts,
        there=None if wanted.uncounted else facts.there,
        sized=facts.sized and not wanted.uncounted,
        patterns=(b"*",) if wanted.flushes else (),
        person=_waits(wanted.intent.name) if wanted.rules.of_intent(wanted.intent) is Treatment.HOLD else "",
        final=wanted.final,
    )
    words = shown(call.commands, {use.key for use in wanted.intent.uses})
    return Survey(looker.plan(infos, words, session.actor, facts.whole, call.digest), facts)


def kept_in_memory(wanted: Wish, found: Survey) -> Wish:
    """The same wish, or one that only the client can have, because its keys are too large to be copied at once."""
    dumped = found.facts.dumped
    if wanted.manner is not Manner.CALL or (dumped is not None and dumped <= _LARGEST_KEYS):
        return wanted
    final = "a value cannot be copied" if dumped is None else "the keys are too large to be copied at once"
    return replace(wanted, manner=Manner.RETRY, final=final)


def judge(
    session: Session,
    facts: Facts,
    *,
    readings: Mapping[str, Reading | None] | None = None,
    recent: int | None = None,
) -> list[Verdict]:
    """What every check says, in the order of `redis.checks.CHECKS`.

    Args:
        session: Who asks, with which settings.
        facts: What is known.
        readings: The hit rate of each node; None if nobody has watched it.
        recent: Keys that whoever asks removed in the last minute; None to ask the journal.
    """
    config = session.config
    keys = list(facts.pttl)
    expiry = ttl.TtlFacts(
        pttl=facts.pttl,
        threshold_ms=config.seconds("redis.block_ttl_threshold") * 1000,
        on_no_expiry=Outcome[config.choice("redis.on_no_expiry").upper()],
        on_missing=Outcome[config.choice("redis.on_missing").upper()],
    )
    return [
        _held_command(facts.person, names.judge(names.NameFacts(keys, facts.rules, facts.patterns))),
        ttl.judge(expiry),
        _hit_rate(session, readings or {facts.target: Reading(State.LEARNING)}),
        blast_radius.judge(_blast(session, facts, _recent(session) if recent is None else recent)),
        max((replication.judge(replication.gather(info)) for info in facts.infos), key=_badness),
        *_undo(session, facts),
    ]


def removed_lately(operations: Sequence[Operation], requester: str, now: datetime) -> int:
    """Keys that a requester removed in the last minute, as the journal tells it."""
    count = 0
    for operation in operations:
        age_s = (now - datetime.fromisoformat(operation.last_at)).total_seconds()
        if operation.data.get("kind") == SERVER and operation.requester == requester and age_s < _MINUTE_S:
            count += int(operation.data.get("receipt", {}).get("moved", 0))
    return count


class _Looker:
    """Gathers what keys are, each once."""

    def __init__(self, server: Link, now_ms: int, *, absent: bool = False) -> None:
        self.items: dict[str, Item] = {}
        self.pttl: dict[bytes, int | None] = {}
        self.dumped = 0
        self.unread: list[str] = []
        self.largest = (0, "")
        self.sized = True
        self._server = server
        self._now_ms = now_ms
        self._absent = absent

    def look(self, db: int, keys: Sequence[bytes], reason: str) -> None:
        new = [key for key in dict.fromkeys(keys) if place_name(db, key) not in self.items]
        for begin in range(0, len(new), _BATCH):
            for one in self._server.look(new[begin : begin + _BATCH]):
                self._add(db, one, reason)

    def _add(self, db: int, one: Looked, reason: str) -> None:
        left = one.expires_ms
        if left is not None and left >= 0:
            left = max(0, left - self._now_ms)
        self.pttl[one.key] = sooner(self.pttl[one.key], left) if one.key in self.pttl else left
        name = place_name(db, one.key)
        if one.expires_ms == GONE:
            if self._absent:
                self.items[name] = Item(name, 0, GONE, "not there")
            return
        self.sized &= one.size is not None
        self.unread += [name] if one.length is None else []
        self.dumped += one.length or 0
        self.largest = max(self.largest, (one.length or 0, name))
        end = one.expires_ms if one.expires_ms is not None else FOREVER
        self.items[name] = Item(name, one.size or 0, end, reason, one.digest)

    def forget(self, keys: Container[bytes]) -> None:
        """The checks are not asked about other keys than these."""
        self.pttl = {key: left for key, left in self.pttl.items() if key in keys}

    def facts(self, rules: Rules, infos: Sequence[Info], databases: Collection[int]) -> Facts:
        """What was found out."""
        there = [item for item in self.items.values() if item.stamp != GONE]
        found = _facts(self._server, rules, infos, databases, sum(item.size for item in there))
        dumped = None if self.unread else self.dumped
        takes = self._server.takes() if self.largest[0] > SLACK else None
        return replace(
            found,
            pttl=self.pttl,
            there=len(there),
            sized=self.sized,
            dumped=dumped,
            largest=self.largest,
            takes=takes,
            unread=tuple(self.unread[:_SHOWN]),
        )

    def plan(self, infos: Sequence[Info], words: tuple[str, ...], requester: str, whole: int, call: str = "") -> Plan:
        """What would go."""
        return Plan(
            kind=SERVER,
            target=self._server.address.target,
            identity=identity_of(infos),
            selectors=words,
            requester=requester,
            made_at=now_text(),
            whole=whole,
            items=tuple(self.items[name] for name in sorted(self.items)),
            call=call,
        )


def _facts(server: Link, rules: Rules, infos: Sequence[Info], databases: Collection[int], size: int) -> Facts:
    """What is known before any key was looked at."""
    return Facts(
        target=server.address.target,
        rules=rules,
        infos=infos,
        pttl={},
        there=0,
        size=size,
        sized=True,
        whole=max(sum(info.count("used_memory_dataset") or 0 for info in infos), size),
        counts=[info.keys(db) for db in databases for info in infos],
    )


def sooner(one: int | None, other: int | None) -> int | None:
    """Of two keys of one name, in two databases, what the worse one has left; not known if one of them is not."""
    if one is None or other is None:
        return None
    ends = [left for left in (one, other) if left >= 0]
    return min(ends) if ends else max(one, other)


def _found(server: Link, wanted: Wanted) -> Iterator[tuple[str, Sequence[bytes]]]:
    if wanted.keys:
        yield "named", wanted.keys
    for pattern in wanted.patterns:
        for keys in server.scan(pattern):
            yield f"matches {text_of(pattern)}", keys
    if wanted.everything:
        for keys in server.scan():
            yield wanted.command.lower(), keys


def _badness(verdict: Verdict) -> int:
    return tuple(Outcome).index(verdict.outcome)


def _databases(server: Link, infos: Sequence[Info]) -> list[int]:
    numbers = [name[2:] for info in infos for name in info.fields if name.startswith("db") and name[2:].isdecimal()]
    return sorted({int(number) for number in numbers}) or [server.address.db]


def _waits(command: str) -> str:
    return f"{command} waits for a person, whatever its keys are"


def _held_command(said: str, verdict: Verdict) -> Verdict:
    """Names are asked about first, and so is whether the rules want a person for the command itself."""
    if not said:
        return verdict
    if verdict.outcome is Outcome.BLOCK:
        return replace(verdict, evidence=(said, *verdict.evidence))
    return replace(verdict, outcome=Outcome.BLOCK, summary=said, evidence=(said,))


def _hit_rate(session: Session, readings: Mapping[str, Reading | None]) -> Verdict:
    verdict = hit_rate.judge(hit_rate.HitRateFacts(readings))
    if verdict.outcome is not Outcome.UNKNOWN or None in readings.values():
        return verdict
    return replace(verdict, outcome=Outcome[session.config.choice("redis.on_no_history").upper()])


def _blast(session: Session, facts: Facts, recent: int) -> blast_radius.BlastFacts:
    config = session.config
    known = [count for count in facts.counts if count is not None]
    return blast_radius.BlastFacts(
        keys=facts.there,
        size=facts.size if facts.sized else None,
        of=sum(known) if len(known) == len(facts.counts) else None,
        recent=recent,
        limits=blast_radius.Limits(
            keys=config.count("redis.max_keys"),
            size=config.size("redis.max_bytes"),
            share=config.share("redis.max_share"),
            rate=config.count("redis.max_rate"),
        ),
    )


def _recent(session: Session) -> int:
    now = datetime.fromtimestamp(time.time(), UTC)
    with session.journal(read_only=True) as journal:
        return removed_lately(journal.operations(), session.actor, now)


def _undo(session: Session, facts: Facts) -> Iterator[Verdict]:
    """Whether there is room for a copy; what can have none is said plainly, and is for people to weigh."""
    if facts.final:
        yield Verdict(undo.CHECK.id, Outcome.WARN, f"this cannot be undone: {facts.final}")
    elif facts.copied:
        yield undo.judge(_room(session, facts))


def _room(session: Session, facts: Facts) -> undo.UndoFacts:
    used, limit, free, why = 0, 0, None, ""
    try:
        with open_bin(session, infos=facts.infos) as home:
            home.see_fit()
            used, limit, free = room(session, home)
    except (TrashUnusable, OSError) as error:
        why = str(error)
    return undo.UndoFacts(
        keys=facts.there or 0,
        size=facts.dumped,
        used=used,
        limit=limit,
        free=free,
        removes=session.config.choice("redis.trash_beyond") == "remove",
        why=why,
        largest=facts.largest,
        takes=facts.takes,
        unread=facts.unread,
    )


_OF_KEYS = frozenset({"DEL", "UNLINK"})
_FLUSHES = frozenset({"FLUSHDB", "FLUSHALL"})
_NOT_CAPTURED = {
    Class.SCRIPT: "a script may do anything",
    Class.SERVER: "what a server is told about itself is no key",
    Class.UNKNOWN: "nobody knows what the command does",
}
_LARGEST = 16 << 20
_LARGEST_KEYS = 256 << 20


def _final(call: Call, intent: Intent) -> str:
    """Why nothing that a call would take could be put back; empty if it can."""
    if call.transaction:
        return "a transaction is done by the client's own connection"
    if intent.cls in _NOT_CAPTURED:
        return _NOT_CAPTURED[intent.cls]
    if intent.cls is Class.FLUSHES and intent.name not in _FLUSHES:
        return "what goes are not keys that could be named"
    if intent.name == "MIGRATE":
        return "it reaches another server"
    if sum(map(len, call.commands[0])) > _LARGEST:
        return "the call is too large to be kept"
    return "" if intent.changing or intent.name in _FLUSHES else "it names no key"


def _places(uses: Sequence[KeyUse]) -> tuple[tuple[int, bytes], ...]:
    return tuple((use.db, use.key) for use in uses if use.db is not None)


def _by_db(places: Sequence[tuple[int, bytes]]) -> list[tuple[int, list[bytes]]]:
    found: dict[int, list[bytes]] = {}
    for db, key in places:
        found.setdefault(db, []).append(key)
    return sorted(found.items())
