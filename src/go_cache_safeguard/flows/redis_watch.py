"""Watch a server for destructive commands that did not come through the guard.

Knows:     what is asked, how often, and what the journal says that the guard did itself.
Called by: the command line's `redis watch`; whoever runs the proxy can pass in what that let through.
Never:     writes to the server; believes in a surplus before it has asked again what was let through.

It asks INFO, CLIENT LIST, CLIENT ID and ACL LOG only: a user with `+info +client|list +client|id +acl|log` is enough.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation, follow
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.guard import load_rules
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.redis_gate import PASSED
from go_cache_safeguard.flows.redis_server import connect_node
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import SERVER, SERVERS
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.bypass import (
    Base,
    Finding,
    LetThrough,
    Ours,
    Reading,
    Through,
    Watch,
    begin,
    compare,
    read_counts,
    read_peers,
    read_refusals,
    surplus,
)
from go_cache_safeguard.redis.client import ReplyLost, Server, ServerUnreachable
from go_cache_safeguard.redis.info import Info, parse_info
from go_cache_safeguard.redis.tablefile import load_table

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_TICK_S = 0.1
_SETTLE_S = 0.5
"""How long what the guard did may take to reach the journal."""
_UNDER_WAY = frozenset({State.REMOVING, State.UNDOING})
_SENT = frozenset({State.PASSED, State.PROVING, State.DONE, State.UNKNOWN, State.UNDOING, State.UNDONE, *_UNDER_WAY})


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched, and how.

    Attributes:
        address: The server; of a cluster, one of its processes.
        ours: How connections of ours are known.
        every_s: Seconds between two looks.
        for_s: How long; None for until somebody stops it.
        strict: Report also what can remove or empty a key in one of its forms.
    """

    address: Address
    ours: Ours
    every_s: float = 5.0
    for_s: float | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """One finding, and when.

    Attributes:
        at: RFC 3339 UTC.
        target: The server.
        finding: What was found.
    """

    at: str
    target: str
    finding: Finding

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        one = self.finding
        return {
            "schema": "go-cache-safeguard/redis-watch/1",
            "at": self.at,
            "target": self.target,
            "what": one.what,
            "outcome": str(one.outcome),
            "text": one.text,
            "command": one.command,
            "calls": one.calls,
            "evidence": list(one.evidence),
        }


def watched(session: Session, wanted: Watched, tell: Callable[[Told], None], more: LetThrough | None = None) -> None:
    """Look until the time is over, or somebody asks to stop.

    Args:
        session: Who looks.
        wanted: What is watched.
        tell: Told each finding once.
        more: What was let through and is not in the journal, such as what the proxy's checks allowed.

    Raises:
        ServerUnreachable: The server cannot be reached at the beginning.
    """
    watch = Watch(load_rules(session.config), load_table(), wanted.ours, wanted.strict)
    began = time.monotonic()

    def say(findings: Iterable[Finding]) -> None:
        for finding in findings:
            tell(Told(now_text(), wanted.address.target, finding))

    looker = _Looker(session, wanted.address, more)
    try:
        with stoppable(session.progress.say) as stop:
            first = looker.look()
            base, found = begin(first, looker.ours(first.run_id), watch)
            say(found)
            more_to_come = True
            while more_to_come:
                _rest(min(wanted.every_s, _left(wanted, began)), stop)
                more_to_come = not stop() and not _over(wanted, began)
                base, found = _again(looker, base, watch)
                say(found)
    finally:
        looker.close()


def _again(looker: "_Looker", base: Base, watch: Watch) -> tuple[Base, list[Finding]]:
    """One more look; after a lost connection, on a new one."""
    try:
        now = looker.look()
    except (ReplyLost, ServerUnreachable) as lost:
        looker.close()
        text = f"the server could not be asked: {lost}"
        return base, [Finding("unread", Outcome.UNKNOWN, text)]
    ours = base.before  # it only grows, so there is no need to ask again while nothing is over
    for wait_s in (0.0, _SETTLE_S):
        if surplus(base, now, ours, watch):
            time.sleep(wait_s)
            ours = looker.ours(now.run_id)
    return compare(base, now, ours, watch)


def _left(wanted: Watched, began: float) -> float:
    return wanted.every_s if wanted.for_s is None else max(0.0, began + wanted.for_s - time.monotonic())


def _over(wanted: Watched, began: float) -> bool:
    return wanted.for_s is not None and time.monotonic() >= began + wanted.for_s


def _rest(seconds: float, stop: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, _TICK_S))


class Ledger:
    """What the guard did on a server, or let through, as the journal tells it; reads on where it stopped."""

    def __init__(self, target: str) -> None:
        self._target = _without_user(target)
        self._operations: dict[str, Operation] = {}
        self._passed: Counter[str] = Counter()
        self._seen: int | None = None

    def read(self, journal: "Journal") -> None:
        """Take in what was written since the last time; of what was before the first, only what operations say."""
        if self._seen is None:
            self._seen = journal.last_seq
            self._operations = {one.id: one for one in journal.operations() if one.data.get("kind") in SERVERS}
            return
        for record in journal.records(self._seen):
            self._seen = max(self._seen, record.seq)
            self._take(record)

    def through(self, run_id: str) -> Through:
        """Everything up to now, for one process; a removal tells when it is over."""
        found, rejected = Counter(self._passed), Counter[str]()
        pending = set[str]()
        for operation in self._operations.values():
            data = operation.data
            if not run_id or run_id not in str(data.get("identity", "")):
                continue
            for into, keys in ((found, ("calls", "undo_calls")), (rejected, ("rejected",))):
                for key in keys:
                    into.update({str(name): int(times) for name, times in data.get(key, {}).items()})
            if data.get("call") and "calls" not in data and set(operation.states) & _SENT:
                found.update(names_of(data.get("selectors", ())))
            elif data["kind"] == SERVER and operation.state is State.REMOVING:
                pending.add("unlink")
        return Through(found, frozenset(pending), rejected)

    def _take(self, record: Record) -> None:
        if record.op is not None and record.state is not None:
            before = self._operations.get(record.op)
            if before is not None or record.data.get("kind") in SERVERS:
                self._operations[record.op] = follow(
                    before, op=record.op, state=record.state, actor=record.actor, at=record.at, data=record.data
                )
        elif record.step == PASSED and _without_user(str(record.data.get("target", ""))) == self._target:
            self._passed.update(names_of(record.data.get("words", ())))


def names_of(words: Iterable[str]) -> list[str]:
    """What a server counts the calls as, of which the journal shows the words, with `;` between those of a transaction."""
    calls: list[list[bytes]] = [[]]
    for word in words:
        if word == ";":
            calls.append([])
        else:
            calls[-1].append(word.encode())
    return [load_table().name(call).lower().replace(" ", "|") for call in calls if call]


def _without_user(target: str) -> str:
    scheme, _, rest = target.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


class _Looker:
    """Asks one server again and again."""

    def __init__(self, session: Session, address: Address, more: LetThrough | None) -> None:
        self._session, self._address, self._more = session, address, more
        self._ledger = Ledger(address.target)
        self._server: Server | None = None
        self._own = ""
        self._asked: Counter[str] = Counter()

    def look(self) -> Reading:
        """What the server says now."""
        server = self._open()
        sections = [self._info(server, name) for name in ("server", "replication", "commandstats")]
        answers = self._ask(server, ("CLIENT", "LIST"), ("ACL", "LOG"))
        peers, log = answers
        return Reading(
            run_id=sections[0].fields.get("run_id", "") if sections[0] else "",
            counts=read_counts(sections[2]) if sections[2] else None,
            peers=read_peers(peers, self._own) if isinstance(peers, bytes) else None,
            refusals=read_refusals(log) if isinstance(log, list) else None,
            replica=sections[1] is not None and sections[1].fields.get("role") == "slave",
        )

    def ours(self, run_id: str) -> Through:
        """What was let through so far, with our own questions."""
        with self._session.journal(read_only=True) as journal:
            self._ledger.read(journal)
        known = self._ledger.through(run_id)
        more = self._more.counts() if self._more is not None else {}
        return Through(Counter(known.counts) + self._asked + Counter(more), known.pending, known.rejected)

    def close(self) -> None:
        """Hang up."""
        if self._server is not None:
            self._server.close()
        self._server = None

    def _open(self) -> Server:
        if self._server is None:
            self._server = connect_node(self._session, self._address)
            answer = self._ask(self._server, ("CLIENT", "ID"))[0]
            self._own = str(answer) if isinstance(answer, int) else ""
        return self._server

    def _info(self, server: Server, section: str) -> Info | None:
        answer = self._ask(server, ("INFO", section))[0]
        return parse_info(answer) if isinstance(answer, bytes) else None

    def _ask(self, server: Server, *commands: tuple[str, ...]) -> list[object]:
        """Ask, and count it: an older server tells of a container and not of its subcommands."""
        self._asked.update(words[0].lower() for words in commands)
        return server.ask_all(commands)
