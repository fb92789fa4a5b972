"""What a removal from a server would take, and what every check says of it. Touches nothing.

Knows:     how keys are found by name, by pattern or all of them, and which facts each check gets.
Called by: the command line's `redis check`, `redis del`, `redis unlink`, `redis flush`.
Never:     asks KEYS; looks at the first key only; writes to the server.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import Refused
from go_cache_safeguard.flows.guard import load_rules
from go_cache_safeguard.flows.redis_server import identity_of, trash_folder
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import SERVER
from go_cache_safeguard.redis.checks import blast_radius, hit_rate, names, replication, ttl, undo
from go_cache_safeguard.redis.client import FOREVER, GONE, Link, Looked
from go_cache_safeguard.redis.commands import Treatment
from go_cache_safeguard.redis.hitrate import Reading, State
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.keyname import place_name, text_of
from go_cache_safeguard.redis.rules import Rules
from go_cache_safeguard.redis.tablefile import load_table
from go_cache_safeguard.redis.trashfile import free_bytes, kept

_BATCH = 500
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
class Survey:
    """A plan, and the facts that it was made from.

    Attributes:
        plan: What would go.
        wanted: What was asked for.
        rules: The site's.
        infos: What each node said of itself.
        pttl: What is left of each key, as PTTL would tell it.
        dumped: Bytes of all values as DUMP gives them; None if one of them could not be had.
        sized: Whether the server told the size of every key.
        counts: Keys of each database that was looked at, on each node; None if that was not told.
    """

    plan: Plan
    wanted: Wanted
    rules: Rules
    infos: list[Info]
    pttl: dict[bytes, int | None]
    dumped: int | None
    sized: bool
    counts: list[int | None]


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
    plan = Plan(
        kind=SERVER,
        target=server.address.target,
        identity=identity_of(infos),
        selectors=wanted.words,
        requester=session.actor,
        made_at=now_text(),
        whole=max(
            sum(info.count("used_memory_dataset") or 0 for info in infos),
            sum(item.size for item in looker.items.values()),
        ),
        items=tuple(looker.items[name] for name in sorted(looker.items)),
    )
    dumped = None if looker.unread else looker.dumped
    counts = [info.keys(db) for db in databases for info in infos]
    return Survey(plan, wanted, rules, infos, looker.pttl, dumped, looker.sized, counts)


def judge(session: Session, found: Survey) -> list[Verdict]:
    """What every check says, in the order of `redis.checks.CHECKS`."""
    config = session.config
    keys = list(found.pttl)
    patterns = (b"*",) if found.wanted.everything else found.wanted.patterns
    expiry = ttl.TtlFacts(
        pttl=found.pttl,
        threshold_ms=config.seconds("redis.block_ttl_threshold") * 1000,
        on_no_expiry=Outcome[config.choice("redis.on_no_expiry").upper()],
        on_missing=Outcome[config.choice("redis.on_missing").upper()],
    )
    return [
        _held_command(found, names.judge(names.NameFacts(keys, found.rules, patterns))),
        ttl.judge(expiry),
        _hit_rate(session, found),
        blast_radius.judge(_blast(session, found)),
        max((replication.judge(replication.gather(info)) for info in found.infos), key=_badness),
        undo.judge(_room(session, found)),
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

    def __init__(self, server: Link, now_ms: int) -> None:
        self.items: dict[str, Item] = {}
        self.pttl: dict[bytes, int | None] = {}
        self.dumped = 0
        self.unread = False
        self.sized = True
        self._server = server
        self._now_ms = now_ms

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
        if one.expires_ms == GONE:
            return
        self.sized &= one.size is not None
        self.unread |= one.dump is None
        self.dumped += len(one.dump or b"")
        digest = sha256(one.dump).hexdigest() if one.dump is not None else ""
        name = place_name(db, one.key)
        end = one.expires_ms if one.expires_ms is not None else FOREVER
        self.items[name] = Item(name, one.size or 0, end, reason, digest)


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


def _held_command(found: Survey, verdict: Verdict) -> Verdict:
    """Names are asked about first, and so is whether the rules want a person for the command itself."""
    command = found.wanted.command
    if found.rules.of_command(load_table().rows[command]) is not Treatment.HOLD:
        return verdict
    said = f"{command} waits for a person, whatever its keys are"
    if verdict.outcome is Outcome.BLOCK:
        return replace(verdict, evidence=(said, *verdict.evidence))
    return replace(verdict, outcome=Outcome.BLOCK, summary=said, evidence=(said,))


def _hit_rate(session: Session, found: Survey) -> Verdict:
    verdict = hit_rate.judge(hit_rate.HitRateFacts({found.plan.target: Reading(State.LEARNING)}))
    then = Outcome[session.config.choice("redis.on_no_history").upper()]
    return replace(verdict, outcome=then) if verdict.outcome is Outcome.UNKNOWN else verdict


def _blast(session: Session, found: Survey) -> blast_radius.BlastFacts:
    config = session.config
    known = [count for count in found.counts if count is not None]
    return blast_radius.BlastFacts(
        keys=len(found.plan.items),
        size=found.plan.total if found.sized else None,
        of=sum(known) if len(known) == len(found.counts) else None,
        recent=_recent(session),
        limits=blast_radius.Limits(
            keys=config.count("redis.max_keys"),
            size=config.size("redis.max_bytes"),
            share=config.share("redis.max_share"),
            rate=config.count("redis.max_rate"),
        ),
    )


def _recent(session: Session) -> int:
    if not (session.state_dir / "journal.sqlite").exists():
        return 0
    now = datetime.fromtimestamp(time.time(), UTC)
    with session.journal(read_only=True) as journal:
        return removed_lately(journal.operations(), session.actor, now)


def _room(session: Session, found: Survey) -> undo.UndoFacts:
    try:
        folder = trash_folder(session)
        used, free = sum(one.size for one in kept(folder)), free_bytes(folder)
    except OSError:
        used, free = 0, None
    return undo.UndoFacts(
        keys=len(found.plan.items),
        size=found.dumped,
        used=used,
        limit=session.config.size("redis.trash_max_bytes"),
        free=free,
        removes=session.config.choice("redis.trash_beyond") == "remove",
    )
