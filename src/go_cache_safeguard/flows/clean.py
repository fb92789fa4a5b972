"""The story of a clean: check, plan, decide, hold or go on, quarantine, prove.

Knows:     the steps and their order, and what each writes into the journal.
Called by: the command line's `clean` and `fsck --repair`.
Never:     executes a plan that is neither ALLOWED nor APPROVED; executes one twice.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.decision import Allow, Decision, Hold, Refuse
from go_cache_safeguard.core.errors import ExitCode, Failure, IllegalTransition, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Plan, parse_plan
from go_cache_safeguard.core.policy import Policy, decide
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.size import Share
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.account import write_account
from go_cache_safeguard.flows.approve import approve_by_digest, expire
from go_cache_safeguard.flows.contents import contents_of
from go_cache_safeguard.flows.deletion import kept_path
from go_cache_safeguard.flows.desk import terms_of
from go_cache_safeguard.flows.fleet import decide_there, server_of, tell_server
from go_cache_safeguard.flows.fleet_link import Link
from go_cache_safeguard.flows.hooks import Hook, announce, ask_elsewhere, channels_of, executed_by, hook_of
from go_cache_safeguard.flows.ledger import Moves
from go_cache_safeguard.flows.recheck import recheck_cache
from go_cache_safeguard.flows.remove import Manner, execute
from go_cache_safeguard.flows.session import Session, new_operation_id
from go_cache_safeguard.flows.site import FINAL, SERVERS
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

if TYPE_CHECKING:
    from go_cache_safeguard.gocache.inventory import Inventory
    from go_cache_safeguard.journal.store import Journal


class Held(Failure):
    """The operation waits for a person."""

    id = "held"
    exit_code = ExitCode.HELD
    meaning = "policy holds the operation until a person approves it"


class Refused(Failure):
    """Policy says never."""

    id = "refused"
    exit_code = ExitCode.REFUSED
    meaning = "policy refuses the operation, whoever asks"


class PlanNotKept(Failure):
    """What was asked for cannot be written down."""

    id = "plan-not-kept"
    exit_code = ExitCode.JOURNAL
    meaning = "the plan cannot be written beside the journal, so nobody could show later what was asked for"


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan that was judged.

    Attributes:
        op: The operation's id.
        plan: What would go.
        verdicts: What the checks said.
        decision: What policy makes of them.
    """

    op: str
    plan: Plan
    verdicts: tuple[Verdict, ...]
    decision: Decision


Confirm = Callable[[Asked], str]
"""Shows the plan to the person at the terminal and returns what was typed; empty for no."""


@dataclass(frozen=True, slots=True)
class How:
    """How it is asked for.

    Attributes:
        confirm: Asks the person at the terminal; None when there is none.
        always_ask: Ask even when policy allows it.
        replaces: The operation that it is asked for instead of; empty for none.
    """

    confirm: Confirm | None = None
    always_ask: bool = False
    replaces: str = ""


ENDED = frozenset({State.CANCELLED, State.EXPIRED, State.REJECTED, State.REFUSED})
"""States of operations that may be asked for again."""

_CONFIRMED = "whoever asked wants a person to confirm it"
_FOR_GOOD = "approval.purge wants a person to approve whatever is deleted for good"
_NO_WAY_BACK = "it is deleted for good"
_WHOLE = Share(1_000_000)

Executor = Callable[[Session, "Journal", str, Plan], Receipt]
"""Executes a plan that is not about a cache: session, journal, operation, plan."""


def ask(
    session: Session,
    journal: Moves,
    plan: Plan,
    checks: Callable[[], Sequence[Verdict]],
    *,
    op: str = "",
    about: Mapping[str, Value] | None = None,
    person: str = "",
    seen: "Inventory | None" = None,
) -> Asked:
    """Bring a plan before policy.

    Args:
        session: Who asks.
        journal: Open for writing.
        plan: What would go.
        checks: Runs the checks; called after the request is in the journal.
        op: The name of the new operation; empty to have one made.
        about: What else the journal is to say of the request.
        person: Why a person decides even if policy allows it; empty if policy may.
        seen: What a look at the build cache that the plan is about has just seen, to say what its items are.

    Returns:
        The decision; the operation is then ALLOWED, HELD or REFUSED.
    """
    op, terms = op or new_operation_id(), terms_of(session)  # what cannot be used ends this before anything is asked
    journal.advance(
        op,
        State.REQUESTED,
        {
            "kind": plan.kind,
            "target": plan.target,
            "identity": plan.identity,
            "selectors": list(plan.selectors),
            "digest": plan.digest,
            "items": len(plan.items),
            "bytes": plan.total,
            "whole": plan.whole,
            **(about or {}),
        },
    )
    _keep_plan(session, op, plan)
    verdicts = _checked(checks)
    journal.advance(op, State.CHECKED, {"verdicts": [verdict.as_value() for verdict in verdicts]})
    with span(SpanName.POLICY) as here:
        decision = decide(policy_for(session, plan), verdicts, removing=plan.total, of=plan.whole)
        if person and isinstance(decision, Allow):
            decision = Hold((person, *decision.reasons))
        here.set(decision=type(decision).__name__.lower())
    reasons: dict[str, Value] = {"reasons": list(decision.reasons)}
    match decision:
        case Allow():
            journal.advance(op, State.ALLOWED, reasons)
        case Hold():
            expires_s = int(time.time()) + session.config.seconds("approval.expires")
            held = {
                **reasons,
                "expires_s": expires_s,
                "terms": terms.as_value(),
                **contents_of(session, plan, seen),
                **_lately(session, plan),
            }
            journal.advance(op, State.HELD, held)
        case Refuse():
            journal.advance(op, State.REFUSED, reasons)
    return Asked(op, plan, verdicts, decision)


def _lately(session: Session, plan: Plan) -> dict[str, Value]:
    """What was wrong among the services that use a server; a cache of files has none."""
    if plan.kind not in SERVERS:
        return {}
    from go_cache_safeguard.flows.anomalies import wrong_lately  # noqa: PLC0415 - only when it is held

    return wrong_lately(session)


def _checked(checks: Callable[[], Sequence[Verdict]]) -> tuple[Verdict, ...]:
    with span(SpanName.CHECK) as here:
        verdicts = tuple(checks())
        for verdict in verdicts:
            here.event("verdict", check=verdict.check, verdict=verdict.outcome)
    return verdicts


def clean(
    session: Session,
    plan: Plan,
    checks: Callable[[], Sequence[Verdict]],
    manner: Manner | Executor,
    confirm: Confirm | None,
    *,
    always_ask: bool = False,
    account: Path | None = None,
    replaces: str = "",
    seen: "Inventory | None" = None,
) -> Receipt:
    """The whole story for one plan.

    Args:
        session: Who asks, with which settings.
        plan: What would go.
        checks: Runs the checks.
        manner: How it is executed.
        confirm: Asks the person at the terminal; None when there is none.
        always_ask: Ask even when policy allows: at the terminal, or where `approval.server` or `approval.hook` say.
        account: A new file for the receipt that an auditor keeps, however it ends; None for none.
        replaces: The operation that this one is asked for instead of; empty for none.
        seen: What was just seen of the build cache, if it is at hand.

    Raises:
        Held: Policy holds it, and nobody here may or did approve.
        Refused: Policy refuses it, or a person.
        ConfigBad: The server or the hook cannot be used.
    """
    elsewhere = somewhere_else(session)
    channels_of(session)  # what cannot be used ends this before anything is asked
    op = new_operation_id()
    with span(SpanName.OPERATION, op=op, **words_of(plan)) as here, session.journal() as journal:
        somebody = _CONFIRMED if always_ask and (elsewhere or confirm is None) else ""
        if plan.kind in FINAL and asks_for_good(session):
            somebody = _FOR_GOOD
        about = {**_instead_of(journal, plan, replaces), **({"final": _NO_WAY_BACK} if plan.kind in FINAL else {})}
        asked = ask(session, journal, plan, checks, op=op, person=somebody, about=about, seen=seen)
        here.set(decision=type(asked.decision).__name__.lower())
        with _accounted(session, journal, asked.op, account):
            receipt = _go_on(session, journal, asked, manner, elsewhere or confirm, always_ask=always_ask)
        here.set(outcome=receipt.state.value.lower())
        return receipt


def words_of(plan: Plan) -> dict[str, str | int]:
    """What a span says of a plan."""
    return {
        "kind": plan.kind,
        "target": plan.target,
        "digest": plan.digest,
        "keys": len(plan.items),
        "size": plan.total,
        "actor": plan.requester,
    }


def policy_for(session: Session, plan: Plan) -> Policy:
    """The site's rules; how much of a cache may go says nothing about what is deleted for good, of which often all goes."""
    rules = session.config.policy()
    return replace(rules, hold_share=_WHOLE, hold_bytes=0) if plan.kind in FINAL else rules


def asks_for_good(session: Session) -> bool:
    """Whether a person decides about whatever is deleted for good, even if policy allows it."""
    return session.config.choice("approval.purge") == "ask"


def _instead_of(journal: "Journal", plan: Plan, replaces: str) -> dict[str, Value]:
    """What the request says of the operation before it, whose approval was void or not used in time."""
    if not replaces:
        return {}
    before = journal.operation(replaces)
    if before.data.get("target") != plan.target or before.state not in ENDED:
        raise IllegalTransition(
            f"{replaces} is {before.state}, about {before.data.get('target')}: nothing can be asked for instead of it here",
            not_done="nothing was asked for",
        )
    return {"replaces": replaces}


def somewhere_else(session: Session) -> Hook | Link | None:
    """Who is asked who is not at this terminal."""
    return server_of(session) or hook_of(session)


def _go_on(
    session: Session,
    journal: "Journal",
    asked: Asked,
    manner: Manner | Executor,
    confirm: Confirm | Hook | Link | None,
    *,
    always_ask: bool,
) -> Receipt:
    plan = asked.plan
    if isinstance(asked.decision, Refuse):
        raise Refused("; ".join(asked.decision.reasons), not_done="nothing was removed")
    if isinstance(asked.decision, Hold):
        if isinstance(confirm, Hook | Link):
            _approve_elsewhere(session, journal, confirm, plan.kind, asked.op)
        else:
            _approve_here(session, journal, asked, confirm)
    elif (
        always_ask
        and confirm is not None
        and not isinstance(confirm, Hook | Link)
        and not _typed_right(confirm(asked), plan)
    ):
        journal.advance(asked.op, State.CANCELLED, {"why": "not confirmed"})
        raise Refused("not confirmed", not_done="nothing was removed")
    return _carry_out(session, journal, asked.op, plan, manner)


def _carry_out(session: Session, journal: "Journal", op: str, plan: Plan, manner: Manner | Executor) -> Receipt:
    if (plan.kind in SERVERS | FINAL) == isinstance(manner, Manner):
        raise IllegalTransition(
            f"{op} is about {plan.target}",
            not_done="nothing was removed",
            hint=_next(plan, op),
        )
    try:
        with span(SpanName.EXECUTE, op=op, **words_of(plan)) as here:
            if isinstance(manner, Manner):
                recheck_cache(session, journal, op, plan)
                receipt = execute(session, journal, op, plan, manner)
            else:
                receipt = manner(session, journal, op, plan)
            here.set(outcome=receipt.state.value.lower())
        return receipt
    finally:
        tell_server(session, journal)


def _next(plan: Plan, op: str) -> str:
    """What executes an approved operation: a collection makes a proof of its own."""
    if plan.selectors[:1] in {("gc",), ("mod gc",)}:
        return f"`{' '.join(('go-cache-safeguard', plan.selectors[0], op))}`"
    return f"`{executed_by(plan.kind, op)}`"


def _typed_right(typed: str, plan: Plan) -> bool:
    from go_cache_safeguard.approval.token import digest_matches  # noqa: PLC0415 - loaded where used

    return digest_matches(typed, plan.digest)


def _approve_here(session: Session, journal: "Journal", asked: Asked, confirm: Confirm | None) -> None:
    with span(SpanName.WAIT, op=asked.op, channel="terminal"):
        typed = confirm(asked) if confirm is not None else ""
    if not typed:
        announce(session, journal, asked.op, session.progress.say)
        raise Held(
            f"{asked.op} is held: {'; '.join(asked.decision.reasons)}",
            not_done="nothing was removed",
            hint=f"`go-cache-safeguard ops approve {asked.op}` (by somebody who may), "
            f"then {_next(asked.plan, asked.op)}",
        )
    approved = approve_by_digest(session, journal, asked.op, typed)
    if approved.state is State.HELD:
        raise Held(
            f"{asked.op} takes more people than one",
            not_done="nothing was removed",
            hint=f"`go-cache-safeguard ops approve {asked.op}` by somebody else, then {_next(asked.plan, asked.op)}",
        )


def _approve_elsewhere(session: Session, journal: "Journal", whom: Hook | Link, kind: str, op: str) -> None:
    """Ask the server, or tell the hook; return once it is approved."""
    if isinstance(whom, Link):
        with span(SpanName.WAIT, op=op, channel="server") as here:
            operation, trouble = decide_there(session, journal, whom, op)
            here.set(state=operation.state)
        hint = f"people decide at {whom.target.name}; then `{executed_by(kind, op)}`"
    else:
        with span(SpanName.WAIT, op=op, channel="hook") as here:
            operation, trouble = ask_elsewhere(session, journal, op)
            here.set(state=operation.state)
        hint = f"`go-cache-safeguard ops approve {op}` (by somebody who may), then `{executed_by(kind, op)}`"
    match operation.state:
        case State.APPROVED:
            return
        case State.HELD:
            raise Held(
                f"{op} is held: {'; '.join(operation.data.get('reasons', ()))}{trouble and '; '}{trouble}",
                not_done="nothing was removed",
                hint=hint,
            )
        case State.REJECTED | State.EXPIRED | State.CANCELLED:
            why = str(operation.data.get("why", ""))
            raise Refused(f"{op} is {operation.state}{why and ': '}{why}", not_done="nothing was removed")
        case _:
            raise IllegalTransition(
                f"{op} is {operation.state}: somebody else carries it out", not_done="nothing was removed here"
            )


@contextmanager
def _accounted(session: Session, journal: "Journal", op: str, account: Path | None) -> Iterator[None]:
    """Write the receipt when the story is over, however it ends; what ended it is not hidden by a full disk."""
    try:
        yield
    except BaseException:
        if account is not None:
            try:
                write_account(journal, op, account)
            except (Failure, OSError) as problem:
                session.progress.say(f"the receipt of {op} was not written: {problem}")
        raise
    if account is not None:
        write_account(journal, op, account)


def resume(session: Session, op: str, manner: Manner | Executor, *, account: Path | None = None) -> Receipt:
    """Execute an operation that was held and is approved now.

    Args:
        session: Who works, with which settings.
        op: The operation.
        manner: How it is executed.
        account: A new file for the receipt, however it ends; None for none.

    Raises:
        Held: It is still held.
        IllegalTransition: It cannot be executed (any more).
        PlanVoid: The kept plan is not the one that was approved.
    """
    with session.journal() as journal:
        operation = expire(journal, journal.operation(op), int(time.time()))
        if operation.state is State.HELD:
            elsewhere = somewhere_else(session)
            if elsewhere is None:
                raise Held(
                    f"{op} is still held", not_done="nothing was removed", hint=f"go-cache-safeguard ops approve {op}"
                )
            _approve_elsewhere(session, journal, elsewhere, str(operation.data.get("kind", "")), op)
            operation = journal.operation(op)
        if operation.state not in {State.APPROVED, State.ALLOWED}:
            raise IllegalTransition(f"{op} is {operation.state}: it cannot be executed", not_done="nothing was removed")
        with _accounted(session, journal, op, account):
            return _carry_out(session, journal, op, kept_plan(session, operation), manner)


def _keep_plan(session: Session, op: str, plan: Plan) -> None:
    """Write the plan into our own state, so that what is approved later is what was asked."""
    folder = session.state_dir / "plans"
    try:
        session.state_folder(folder.name)
        with (folder / f"{op}.json").open("xb") as file:
            file.write(plan.data + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise PlanNotKept(
            f"the plan of {op} cannot be kept in {folder}: {error.strerror}",
            not_done="nothing was removed",
            hint="make room, or choose another place with --state-dir or the setting state.dir",
        ) from error


def kept_plan(session: Session, operation: Operation) -> Plan:
    """The plan that an operation was asked with.

    Raises:
        PlanVoid: It is gone, damaged, or not the one whose digest is in the journal.
    """
    path = kept_path(session, operation.id)
    try:
        plan = parse_plan(path.read_bytes())
    except OSError as error:
        raise PlanVoid(f"the plan of {operation.id} cannot be read: {error}", not_done="nothing was removed") from error
    if plan.digest != operation.data["digest"]:
        raise PlanVoid(
            f"{path} is not the plan that was asked for", not_done="nothing was removed", hint="make a new plan"
        )
    return plan
