"""Decides about one client's call: it passes, it is held until a person approves it, or it is refused.

Knows:     what is asked before a call passes, when a held one is done and by whom, and what a client is told.
Called by: the proxy's worker threads, and the redis-py face.
Never:     lets anything pass before that is durable in the journal; does a call twice; holds the same call twice; lets a failure of
           its own count as permission.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.decision import Allow, Hold, Refuse
from go_cache_safeguard.core.errors import Failure, IllegalTransition, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.policy import Then, decide
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows import redis_removal
from go_cache_safeguard.flows.approve import expire
from go_cache_safeguard.flows.clean import Asked, ask, kept_plan, words_of
from go_cache_safeguard.flows.desk import terms_of
from go_cache_safeguard.flows.fleet import server_of
from go_cache_safeguard.flows.guard import load_rules
from go_cache_safeguard.flows.hooks import announcer_of
from go_cache_safeguard.flows.ledger import Ledger
from go_cache_safeguard.flows.redis_call import carry_out, keep_call, manner_of, see_unchanged
from go_cache_safeguard.flows.redis_links import Links
from go_cache_safeguard.flows.redis_open import OpenCalls, counted_as
from go_cache_safeguard.flows.redis_plan import (
    Facts,
    Manner,
    Survey,
    Wish,
    glance,
    judge,
    kept_in_memory,
    survey_call,
    wish,
)
from go_cache_safeguard.flows.redis_server import connect_node
from go_cache_safeguard.flows.redis_trash import noted
from go_cache_safeguard.flows.rounds import Rounds
from go_cache_safeguard.flows.session import Session, new_operation_id
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.call import Answer, Answered, Call, Held, Pass, Refused, error_line
from go_cache_safeguard.redis.checks import names
from go_cache_safeguard.redis.client import GONE, Elsewhere, Server
from go_cache_safeguard.redis.commands import Treatment
from go_cache_safeguard.redis.hitrate import Reading
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis.keyname import text_of
from go_cache_safeguard.redis.rate import Removals
from go_cache_safeguard.redis.trashlog import TrashLocked
from go_cache_safeguard.redis.wording import shown
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

UNKNOWN = "GUARDUNKNOWN"
"""First word of the error for a call of which nobody knows whether it was done; the operation's id is the second."""
PARTLY = "GUARDPARTLY"
"""First word of the error for a removal that was approved, and of which something stays."""
DONE = "GUARDDONE"
"""First word of the error for a call that somebody else did, so that its reply is not here."""
PASSED = "call-passed"
"""The note about a call that every check allowed."""
REFUSED = "call-refused"
"""The note about a call that policy refused, whoever asks."""

_INFO_S = 1.0
_POLL_S = 0.1
_TURNS = 64
_ATTEMPTS = 3
_REASON_CHARS = 220
_CLIENTS = 10_000
_HEAD_START_S = 1.0
"""A client that waits for an approval does what was approved itself, if it looks within this time."""


class HitRates(Protocol):
    """Somebody who watches the hit rates of a server's nodes."""

    def readings(self) -> Mapping[str, Reading | None]:
        """What is known of each node now; None for one that cannot be read."""


@dataclass(slots=True)
class _Counts:
    """What all threads count together; the lock is held while it changes.

    Attributes:
        removals: Of each client.
        asking: Calls of each client that are about to be held.
        awaited: Operations whose client waits for the approval.
        hits: Look-ups of ours that found a key.
        misses: Those that did not.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    removals: dict[str, Removals] = field(default_factory=dict)
    asking: dict[str, int] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)
    hits: int = 0
    misses: int = 0


class RedisGate:
    """Decides about the calls of one server's clients. Safe from any thread, but not across a fork; `close` it at the end."""

    def __init__(
        self,
        session: Session,
        address: Address,
        *,
        watcher: HitRates | None = None,
        tell: Callable[[str], object] | None = None,
        failed: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """Make a gate; nothing is connected or opened yet.

        Args:
            session: Who guards, with which settings.
            address: The server.
            watcher: Who watches its hit rate; None means that nobody has.
            tell: Told when the hook of what is held was not; None for the session's progress.
            failed: Told why a call could not be decided, or what was approved not done.

        Raises:
            ConfigBad: The rules cannot be read, or the server or the hook cannot be used.
        """
        config = session.config
        self._session = session
        self._address = address
        self._watcher = watcher
        self._on_failure = failed
        self._rules = load_rules(config)
        self._policy = config.policy()
        self._guard = config.choice("redis.execute") == "guard" and config.choice("redis.capture") != "never"
        self._captures = config.choice("redis.capture") == "checked"
        self._wait_s = config.seconds("redis.wait")
        self._max_held = config.count("redis.max_held")
        self._links = Links(lambda: connect_node(session, address))
        self._open = OpenCalls(address.target)
        self._ledger = Ledger(session.journal)
        say, link = tell or session.progress.say, server_of(session)
        terms_of(session)  # whoever is named there must be somebody
        self._announcer = announcer_of(session, say)
        self._fleet = None if link is None else Rounds(session, link, self._ledger, self._held, say)
        self._counts = _Counts()
        self._said: dict[str, str] = {}
        self._turns = [threading.Lock() for _ in range(_TURNS)]
        self._info_lock = threading.Lock()
        self._infos: tuple[float, list[Info]] = (0.0, [])

    @property
    def lookups(self) -> tuple[int, int]:
        """Look-ups that this gate caused itself, hits and misses: they are to be taken off the server's own counts."""
        with self._counts.lock:
            return self._counts.hits, self._counts.misses

    def close(self) -> None:
        """Hang up, and let go of the journal."""
        if self._announcer is not None:
            self._announcer.close()
        if self._fleet is not None:
            self._fleet.close()
        self._ledger.close()
        self._links.close()

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        """Ask every check, the policy and, if need be, people.

        Args:
            call: What a client wants done. If it names an operation, that one is meant.
            intent: What it would do.
            abandoned: Says whether the client has gone, while the call waits for an approval.

        Returns:
            What the client gets. Whatever fails here is a refusal.
        """
        try:
            return self._decide(call, intent, abandoned or (lambda: False))
        except Elsewhere as elsewhere:
            return Answered(elsewhere.reply)
        except (Failure, OSError) as error:
            self._on_failure(error)
            return Refused(_line(f"the guard cannot decide: {error}"))

    def decide_retry(self, op: str, call: Call, intent: Intent) -> Answer:
        """The same for a call that names the operation with which it was approved."""
        return self.decide(replace(call, op=op), intent)

    def execute_approved(self) -> list[str]:
        """Do what people have approved and no client waits for. Call it every second.

        Returns:
            The operations that were done, or ended otherwise.
        """
        if self._announcer is not None:
            self._announcer.begin()
        if self._fleet is not None:
            self._fleet.begin()
        self._refresh()
        ended = []
        for operation in self._open.approved():
            with self._counts.lock:
                awaited = operation.id in self._counts.awaited
            if manner_of(operation) is Manner.RETRY or awaited or not self._is_old(operation):
                continue
            try:
                self._do(operation, resp=2)
            except (Failure, OSError) as error:
                self._on_failure(error)
                self._say_once(operation.id, str(error))
            if self._ledger.operation(operation.id).state is not State.APPROVED:
                self._said.pop(operation.id, None)
                ended.append(operation.id)
        return ended

    def _say_once(self, op: str, text: str) -> None:
        """The same trouble may last for hours."""
        if self._said.get(op) != text:
            self._said[op] = text
            self._session.progress.say(f"{op}: {text}")

    def _is_old(self, operation: Operation) -> bool:
        """Whether whoever waits for it, in another process too, had time to see the approval."""
        age_s = time.time() - datetime.fromisoformat(operation.last_at).timestamp()
        return not self._wait_s or age_s > _HEAD_START_S

    # One call

    def _decide(self, call: Call, intent: Intent, abandoned: Callable[[], bool]) -> Answer:
        call = replace(call, client=_plain(call.client))
        treatment = self._rules.of_intent(intent)
        if treatment is Treatment.PASS:
            return Pass()
        if treatment is Treatment.REFUSE:
            return Refused(f"{intent.name} is refused by the rules of this site")
        if any(use.db is None for use in intent.changing) or (call.db is None and intent.name == "FLUSHDB"):
            return Refused("nobody knows which database is selected: send SELECT by itself, then this again")
        wanted = wish(call, intent, self._rules, guard=self._guard, exact=self._captures)
        if treatment is Treatment.PROTECT and all(names.may_lose(use.key, self._rules) for use in wanted.judged):
            return Pass()
        if call.op:
            return self._named(wanted, abandoned)
        if treatment is Treatment.HOLD and self._policy.on_block is Then.REFUSE:
            self._ledger.note(REFUSED, {**_about(wanted), "target": self._address.target})
            return Refused(f"{intent.name} is for a person to allow, and policy.on_block refuses that")
        if treatment is not Treatment.HOLD and not wanted.flushes and self._open.of_call(call.digest) is None:
            answer = self._checked(wanted)
            if answer is not None:
                return answer
        return self._with_a_person(wanted, abandoned)

    def _checked(self, wanted: Wish) -> Answer | None:
        """Let it pass if every check and the policy allow it, or refuse it; None if that takes more than a glance."""
        facts = self._links.ask(lambda server: glance(server, wanted, self._info(server)))
        self._looked(facts, each=1)
        verdicts = self._judged(facts, wanted.call)
        decision = decide(self._policy, verdicts, removing=facts.size, of=facts.whole)
        if isinstance(decision, Refuse):
            self._ledger.note(REFUSED, _note(wanted, facts, verdicts))
            return Refused(_line("; ".join(decision.reasons)))
        if not isinstance(decision, Allow) or _person(facts, verdicts) or (self._captures and not wanted.final):
            return None
        self._ledger.note(PASSED, _note(wanted, facts, verdicts))
        self._went(wanted.call.client, facts.there or 0)
        return Pass()

    def _with_a_person(self, wanted: Wish, abandoned: Callable[[], bool]) -> Answer:
        """Hold it, or go on with the operation that it has already."""
        with self._turns[int(wanted.call.digest[:8], 16) % _TURNS]:
            operation = self._waiting(wanted.call.digest)
            if operation is None:
                answer = self._ask(wanted)
                if not isinstance(answer, Held):
                    return answer
                operation = self._waiting(wanted.call.digest)
        return (
            Refused("it was decided meanwhile; ask again")
            if operation is None
            else self._go_on(operation, wanted, abandoned)
        )

    def _named(self, wanted: Wish, abandoned: Callable[[], bool]) -> Answer:
        """The client says which operation it means."""
        op = wanted.call.op
        with self._session.journal() as journal:
            operation = expire(journal, journal.operation(op), int(time.time()))
        data = operation.data
        if data.get("call") != wanted.call.digest or data.get("target") != self._address.target:
            return Refused(f"{op} is about another call")
        if operation.state not in {State.HELD, State.APPROVED}:
            return Refused(f"{op} is {operation.state}: it passes no more")
        return self._go_on(operation, wanted, abandoned)

    def _go_on(self, operation: Operation, wanted: Wish, abandoned: Callable[[], bool]) -> Answer:
        """Wait for the approval as long as the site wants, then do what was approved."""
        if operation.state is State.HELD and self._wait_s:
            operation = self._awaited(operation, abandoned)
        if operation.state is State.HELD:
            return Held(operation.id, _held_text(operation))
        if operation.state is not State.APPROVED:
            return _ended(operation)
        try:
            if manner_of(operation) is Manner.RETRY:
                return self._let_through(operation, wanted)
            return self._do(operation, resp=wanted.call.resp)
        except PlanVoid:
            return self._again(wanted, operation.id)
        except (IllegalTransition, TrashLocked):
            return _ended(self._ledger.operation(operation.id))

    def _again(self, wanted: Wish, void: str) -> Answer:
        """The approval was void: ask anew."""
        with self._turns[int(wanted.call.digest[:8], 16) % _TURNS]:
            operation = self._waiting(wanted.call.digest)
            return self._ask(wanted, replaces=void) if operation is None else Held(operation.id, _held_text(operation))

    def _awaited(self, operation: Operation, abandoned: Callable[[], bool]) -> Operation:
        """The operation once it is not held any more, or the client has waited long enough."""
        until = time.monotonic() + self._wait_s
        with (
            span(SpanName.WAIT, op=operation.id, channel="client") as here,
            self._awaiting(operation.id),
            self._session.journal(read_only=True) as journal,
        ):
            while operation.state is State.HELD and time.monotonic() < until and not abandoned():
                time.sleep(_POLL_S)
                operation = journal.operation(operation.id)
            here.set(state=operation.state)
        return operation

    @contextmanager
    def _awaiting(self, op: str) -> Iterator[None]:
        with self._counts.lock:
            self._counts.awaited.add(op)
        try:
            yield
        finally:
            with self._counts.lock:
                self._counts.awaited.discard(op)

    # Operations

    def _waiting(self, digest: str) -> Operation | None:
        """The operation that this very call has already, as the journal tells it now."""
        self._refresh()
        return self._open.of_call(digest)

    def _refresh(self) -> None:
        """Read what all processes have written since."""
        with self._session.journal() as journal:
            self._open.refresh(journal)

    def _held(self) -> list[Operation]:
        """What waits for a person, as the journal tells it now."""
        self._refresh()
        return self._open.held()

    def _ask(self, wanted: Wish, attempts: int = _ATTEMPTS, *, replaces: str = "") -> Answer:
        """Look at every key closely, and bring it before policy as an operation."""
        with self._place_for(wanted.call.client) as free:
            if not free:
                return Refused(f"{self._max_held} calls of this client wait for a person already (redis.max_held)")
            found = self._links.ask(lambda server: self._surveyed(server, wanted))
            self._looked(found.facts, each=2 if wanted.flushes else 3)
            wanted = kept_in_memory(wanted, found)
            found = replace(found, facts=replace(found.facts, final=wanted.final))
            verdicts = self._judged(found.facts, wanted.call)
            op = new_operation_id()

            def checks() -> Sequence[Verdict]:
                if wanted.manner is Manner.CALL:
                    keep_call(self._session, op, found.plan, wanted.call)
                return verdicts

            person = _person(found.facts, verdicts)
            about = {**_about(wanted), "manner": str(wanted.manner), "final": wanted.final, **noted(self._session)}
            about |= {"replaces": replaces} if replaces else {}
            with span(SpanName.OPERATION, op=op, **words_of(found.plan)) as here:
                asked = ask(self._session, self._ledger, found.plan, checks, op=op, about=about, person=person)
                here.set(decision=type(asked.decision).__name__.lower())
            self._refresh()
        if isinstance(asked.decision, Allow):
            return self._allowed(asked, wanted, attempts)
        if isinstance(asked.decision, Hold):
            operation = self._ledger.operation(op)
            if self._announcer is not None:
                self._announcer.tell(operation)
            if self._fleet is not None:
                self._fleet.tell()
            return Held(op, _held_text(operation))
        return Refused(_line("; ".join(asked.decision.reasons)))

    def _surveyed(self, server: Server, wanted: Wish) -> Survey:
        glance(server, wanted, self._info(server))  # says so if another node has the keys
        return survey_call(self._session, server, wanted)

    @contextmanager
    def _place_for(self, client: str) -> Iterator[bool]:
        """Whether one more call of a client may be held; its place is kept meanwhile."""
        counts, client = self._counts, counted_as(client)
        held = self._open.of_client(client)
        with counts.lock:
            asking = counts.asking.get(client, 0)
            free = held + asking < self._max_held
            if free:
                counts.asking[client] = asking + 1
        try:
            yield free
        finally:
            with counts.lock:
                left = counts.asking.get(client, 0) - free
                if left > 0:
                    counts.asking[client] = left
                else:
                    counts.asking.pop(client, None)

    def _allowed(self, asked: Asked, wanted: Wish, attempts: int) -> Answer:
        """Nobody has to be asked: let it pass, or do it with a copy, which begins anew when a key was written to meanwhile."""
        if wanted.manner is not Manner.RETRY and self._captures:
            try:
                return self._do(self._ledger.operation(asked.op), resp=wanted.call.resp)
            except PlanVoid:
                if attempts <= 1:
                    raise
                return self._ask(wanted, attempts - 1)
        self._ledger.advance(asked.op, State.PASSED, {})
        self._went(wanted.call.client, len(asked.plan.items))
        return Pass()

    def _let_through(self, operation: Operation, wanted: Wish) -> Answer:
        """Once, if every key is what was approved."""
        plan = kept_plan(self._session, operation)
        with span(SpanName.EXECUTE, op=operation.id, **words_of(plan)) as here:
            try:
                self._links.ask(lambda server: see_unchanged(server, plan, wanted))
            except PlanVoid as void:
                self._ledger.advance(operation.id, State.REFUSED, {"why": void.what})
                raise
            self._ledger.advance(operation.id, State.PASSED, {})
            here.set(outcome="passed")
        self._went(wanted.call.client, len(plan.items))
        return Pass()

    def _do(self, operation: Operation, *, resp: int) -> Answer:
        """Carry out what was allowed or approved, on a connection of our own."""
        op, plan = operation.id, kept_plan(self._session, operation)
        try:
            with span(SpanName.EXECUTE, op=op, **words_of(plan)) as here:
                if manner_of(operation) is Manner.KEYS:
                    with self._session.journal() as journal:
                        receipt = redis_removal.execute(self._session, journal, op, plan)
                    reply = _reply_of(str(operation.data["command"]), receipt)
                else:
                    receipt, reply = carry_out(self._session, self._ledger, op, plan, resp=resp)
                here.set(outcome=receipt.state.value.lower())
        except (Failure, OSError) as error:
            return self._failed(op, error)
        self._went(str(operation.data["client"]), receipt.moved)
        return Answered(reply)

    def _failed(self, op: str, error: Failure | OSError) -> Answer:
        state = self._ledger.operation(op).state
        if state is State.UNKNOWN:
            return Answered(error_line(f"{UNKNOWN} {op} {_line(str(error))}"))
        if state is State.WAITING:
            return Answered(error_line(f"{PARTLY} {op} {_line(str(error))}"))
        raise error

    # Facts

    def _judged(self, facts: Facts, call: Call) -> list[Verdict]:
        readings = None if self._watcher is None else self._watcher.readings()
        return judge(self._session, facts, readings=readings, recent=self._recent(call.client))

    def _info(self, server: Server) -> list[Info]:
        """What the server says of itself, not older than a second."""
        with self._info_lock:
            at, infos = self._infos
            if not infos or time.monotonic() - at > _INFO_S:
                infos = server.infos()
                self._infos = (time.monotonic(), infos)
            return infos

    def _looked(self, facts: Facts, *, each: int) -> None:
        """Count our own look-ups: so many for each key."""
        misses = sum(left == GONE for left in facts.pttl.values())
        with self._counts.lock:
            self._counts.misses += misses * each
            self._counts.hits += (len(facts.pttl) - misses) * each

    def _recent(self, client: str) -> int:
        client = counted_as(client)
        with self._counts.lock:
            known = self._counts.removals.get(client)
        return 0 if known is None else known.of(client, time.monotonic_ns() // 10**6)

    def _went(self, client: str, keys: int) -> None:
        now_ms = time.monotonic_ns() // 10**6
        counts, client = self._counts, counted_as(client)
        with counts.lock:
            counts.removals[client] = counts.removals.get(client, Removals()).plus(client, keys, now_ms)
            if len(counts.removals) > _CLIENTS:
                counts.removals = {who: known for who, known in counts.removals.items() if known.of(who, now_ms)}


def _person(facts: Facts, verdicts: Sequence[Verdict]) -> str:
    """Why a person decides even if policy allows it."""
    if facts.person:
        return facts.person
    protected = (one.summary for one in verdicts if one.check == names.CHECK.id and one.outcome is Outcome.BLOCK)
    return next(protected, "")


def _about(wanted: Wish) -> dict[str, Value]:
    """What the journal says of a call, besides its plan."""
    call = wanted.call
    return {
        "call": call.digest,
        "command": wanted.intent.name,
        "words": list(shown(call.commands, {use.key for use in wanted.intent.uses})),
        "client": call.client,
        "user": _plain(call.user),
        "db": call.db if call.db is not None else 0,
    }


def _plain(name: str) -> str:
    """What a client says of itself, without odd bytes."""
    return text_of(name.encode("utf-8", "surrogateescape"))


def _note(wanted: Wish, facts: Facts, verdicts: Sequence[Verdict]) -> dict[str, Value]:
    """What the journal says of a call that was decided at a glance."""
    return {
        **_about(wanted),
        "target": facts.target,
        "keys": facts.there,
        "bytes": facts.size if facts.sized else None,
        "verdicts": {verdict.check: str(verdict.outcome) for verdict in verdicts},
    }


def _held_text(operation: Operation) -> str:
    """Why, and what to do: one short line."""
    data = operation.data
    reason = str(next(iter(data.get("reasons", ())), "a person decides"))
    parts = [_line(reason)]
    if data.get("final"):
        parts.append("cannot be undone")
    if manner_of(operation) is Manner.RETRY:
        parts.append("send it again when it is approved")
    parts.append(f"see: go-cache-safeguard ops show {operation.id}")
    return "; ".join(parts)


def _line(text: str) -> str:
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return plain if len(plain) <= _REASON_CHARS else f"{plain[:_REASON_CHARS]}..."


def _ended(operation: Operation) -> Answer:
    """The operation went its way without this client."""
    op, state = operation.id, operation.state
    if state in {State.HELD, State.APPROVED}:
        return Held(op, _held_text(operation))
    if state is State.UNKNOWN:
        return Answered(error_line(f"{UNKNOWN} {op} {_line(str(operation.data.get('evidence', '')))}"))
    if state in {State.REJECTED, State.EXPIRED, State.REFUSED, State.CANCELLED, State.ROLLED_BACK}:
        return Refused(_line(f"{op} is {state} {operation.data.get('why', '')}"))
    return Answered(error_line(f"{DONE} {op} is {state}: somebody else does it, and its reply is not here"))


def _reply_of(command: str, receipt: Receipt) -> bytes:
    """What a server would have answered, had it done what the guard did."""
    stays = len(receipt.failed) + (receipt.changed if command.startswith("FLUSH") else 0)
    if stays:
        text = f"{receipt.moved} of {receipt.planned} keys are gone; the others were written to, or cannot be kept"
        return error_line(f"{PARTLY} {receipt.op} {text}")
    return b"+OK\r\n" if command.startswith("FLUSH") else b":%d\r\n" % receipt.moved
