"""A host of a fleet: what it holds, people decide at a server.

Knows:     how a held operation is filed at the server, how a decision is brought home, and that an approval is used there, once,
           before anything is done here.
Called by: `flows.clean` for what a command asks for, `flows.rounds` for calls of clients, the command line for tokens that people bring.
Never:     takes silence, an error or an answer about something else for an approval; asks for the same use twice without having looked
           what became of the first; lets a server that is away change what is held.

The order of a use: `server-consuming` is durable here, then the server is asked, then APPROVED is durable here, then something is done.
If we hear nothing, the server is asked where the operation stands: PASSED counts only if we have said here that we were about to use
it, and nobody has told yet what came of it.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from go_cache_safeguard.approval.ballot import Ballot
from go_cache_safeguard.approval.eyes import Denied, parse_person
from go_cache_safeguard.approval.token import Token
from go_cache_safeguard.approval.webhook import parse_target
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.canonical import Value, canonical
from go_cache_safeguard.core.errors import ExitCode, Failure, IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.approve import expire
from go_cache_safeguard.flows.desk import NotApproved
from go_cache_safeguard.flows.fleet_link import Answered, Bearer, Link, NoAnswer, ask_once
from go_cache_safeguard.flows.pack import JournalRecords, pack_of
from go_cache_safeguard.flows.private_file import password_in
from go_cache_safeguard.flows.session import Session

if TYPE_CHECKING:
    from go_cache_safeguard.journal.record import Record
    from go_cache_safeguard.journal.records import Records
    from go_cache_safeguard.journal.store import Journal

SERVER = "server"
"""The channel of an approval that was given there."""
FILED = "server-filed"
"""The note about an operation that people can see at the server."""
CONSUMING = "server-consuming"
"""The note that the approval of an operation is about to be used there."""
TOLD = "server-told"
"""The note that the server knows what came of it."""

_TOKEN = "approval.server_token_file"  # noqa: S105 - the name of a setting
_POLL_S, _LONGEST_POLL_S = 0.5, 5.0
_LONG, _MANY, _WIDE = 300, 100, 4096
_RECEIPT_BYTES, _EVIDENCE_BYTES = 32 << 10, 256 << 10
_NAME = re.compile(r"[0-9A-Za-z._$-]{1,64}", re.ASCII)
_AT_ONCE = 20
_FOR_EVER = frozenset({State.REJECTED, State.EXPIRED, State.CANCELLED})
_KNOWN_THERE = frozenset({409, 410})
"""The server has heard of it, or has ended it itself."""
_SETTLED = {
    State.DONE: "DONE",
    State.ROLLED_BACK: "ROLLED_BACK",
    State.UNKNOWN: "UNKNOWN",
    State.REFUSED: "REFUSED",
    State.CANCELLED: "CANCELLED",
    State.EXPIRED: "EXPIRED",
    State.PASSED: "PASSED",
}


class Trouble(Failure):
    """The server does not help now; the operation stays as it is."""

    id = "approval-server"
    exit_code = ExitCode.HELD
    meaning = (
        "the approval server of the fleet is away, refuses, or answers with something that is not about the operation"
    )

    def __init__(self, op: str, server: str, why: str) -> None:
        super().__init__(
            f"{op} is held, and {server} does not help: {why}",
            not_done="nothing was removed, and nothing was approved",
            hint="run the same again when the server is back: nothing is asked for twice",
        )
        self.why = f"{server} does not help: {why}"


class Book(Protocol):
    """What keeps notes and moves operations: the journal itself, or a ledger."""

    def note(self, step: str, data: Mapping[str, Value], *, op: str | None = None) -> object:
        """See `Journal.note`."""

    def advance(self, op: str, to: State, data: Mapping[str, Value]) -> Operation:
        """See `Journal.advance`."""

    def operation(self, op: str) -> Operation:
        """See `Journal.operation`."""


class Pages(Protocol):
    """What gives records: a journal."""

    def records(self, since: int = 0, *, op: str | None = None) -> "Iterator[Record]":
        """See `Journal.records`."""

    def notes(self, step: str) -> "Iterator[Record]":
        """See `Journal.notes`."""

    def operation(self, op: str) -> Operation:
        """See `Journal.operation`."""


def server_of(session: Session) -> Link | None:
    """The approval server that the settings name; None if people decide on this machine.

    Raises:
        ConfigBad: It may not be used, or its token cannot be.
    """
    url = session.config.text("approval.server")
    if not url:
        return None
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    target = parse_target(url, (host,))
    if isinstance(target, Denied) or "?" in target.path:
        raise ConfigBad(f"approval.server cannot be used: {target.reason if isinstance(target, Denied) else 'a query'}")
    text = password_in(session, _TOKEN).strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigBad(
            f"{_TOKEN} names no file with an API token",
            hint="`go-cache-safeguard serve token add HOST --scope read --scope request --output FILE` at the server",
        )
    config = session.config
    return Link(target, Bearer(text), config.text("approval.server_ca"), config.seconds("approval.server_timeout"))


def file(link: Link, book: Book, operation: Operation, evidence: Mapping[str, Value]) -> None:
    """Show a held operation to the people at the server. Doing it again changes nothing.

    Raises:
        Trouble: It is not known to be there.
    """
    answer = ask_once(link, "POST", "/operations", filing_of(operation, evidence))
    _about(link, operation, answer, after=lambda: ask_once(link, "GET", f"/operations/{operation.id}"))
    book.note(FILED, {"server": link.target.name}, op=operation.id)


def bring_home(link: Link, book: Book, pages: Pages, op: str) -> Operation:
    """Ask where a held operation stands, and write down here what was decided; an approval is used at the server first.

    Args:
        link: The server.
        book: This host's journal, for writing.
        pages: The same, for reading.
        op: The operation.

    Returns:
        The operation: HELD if nobody has decided.

    Raises:
        Trouble: Nobody knows; it is still held.
    """
    operation = book.operation(op)
    if operation.state is not State.HELD:
        return operation
    there = _about(link, operation, ask_once(link, "GET", f"/operations/{op}"))
    match there["state"]:
        case State.HELD:
            return operation
        case State.APPROVED:
            return _use(link, book, operation)
        case State.PASSED:
            return _used_before(link, book, pages, operation, there)
        case state if state in _FOR_EVER:
            return _ended(link, book, operation, there)
        case state:
            raise _trouble(link, operation, f"it says that the operation is {state}")


def redeem_there(link: Link, book: "Records", op: str, token: Token) -> Ballot:
    """Bring a token to the server, which judges and counts it. Here it stays held until whoever goes on brings the decision home.

    Args:
        link: The server.
        book: This host's journal, for writing: what is over expires.
        op: The held operation.
        token: What an approver has minted there.

    Returns:
        How far the approval is, as the server says.

    Raises:
        NotApproved: The token does not count, and why; or the operation is not held any more.
        Trouble: Nobody knows; it is still held.
    """
    operation = expire(book, book.operation(op), int(time.time()))
    if operation.state is not State.HELD:
        raise NotApproved(f"{op} is {operation.state}", not_done="nobody was asked", hint="`ops list` tells what waits")
    answer = ask_once(link, "POST", f"/operations/{op}/redeem", {"token": token.text})
    if isinstance(answer, NoAnswer):
        return _redeemed_unheard(link, operation, answer)
    if answer.status in _KNOWN_THERE or answer.value.get("id") == NotApproved.id:
        raise NotApproved(f"{link.target.name} refuses: {answer.problem}", not_done=f"{op} stays as it is")
    return _ballot(link, operation, answer)


def owed(pages: Pages) -> list[str]:
    """Operations of which the server has not heard the end. Reads the whole journal."""
    told = {record.op for record in pages.notes(TOLD)}
    known = {record.op: None for step in (FILED, CONSUMING) for record in pages.notes(step) if record.op}
    return [op for op in known if op not in told]


def tell_outcomes(link: Link, book: Book, pages: Pages, ops: Iterable[str]) -> tuple[set[str], list[str]]:
    """Tell the server what came of operations that were approved there, and what was taken back here.

    Args:
        link: The server.
        book: This host's journal, for writing.
        pages: The same, for reading.
        ops: See `owed`; those that have not ended are left for later.

    Returns:
        Of which it has heard now; and what could not be told, one clause each: it is tried again the next time.
    """
    operations = [pages.operation(op) for op in ops]
    heard, troubles = set[str](), list[str]()
    for operation, (call, body) in [(one, news) for one in operations if (news := _news(one)) is not None][:_AT_ONCE]:
        answer = ask_once(link, "POST", f"/operations/{operation.id}/{call}", body)
        if isinstance(answer, Answered) and (answer.status < 300 or answer.status in _KNOWN_THERE):
            with suppress(Failure):  # it is told again, and known there
                book.note(TOLD, {"server": link.target.name, "state": str(operation.state)}, op=operation.id)
                heard.add(operation.id)
            continue
        why = answer.why if isinstance(answer, NoAnswer) else answer.problem
        troubles.append(f"what came of {operation.id} was not told to {link.target.name}: {why}")
        if isinstance(answer, NoAnswer):
            break
    return heard, troubles


def _news(operation: Operation) -> tuple[str, dict[str, Value]] | None:
    """What the server has to hear of an operation: the call, and what it says; None if nothing yet."""
    if operation.state in _SETTLED and State.APPROVED in operation.states:
        return "outcome", outcome_of(operation)
    if operation.state in _FOR_EVER:
        return "cancel", {"why": f"{operation.state} on the host: {operation.data.get('why', '')}"[:_LONG]}
    return None


def decide_there(session: Session, journal: "Journal", link: Link, op: str) -> tuple[Operation, str]:
    """Have people at the server decide, and wait for them as long as `approval.wait` says.

    Args:
        session: Who asks.
        journal: Open for writing.
        link: The server.
        op: The held operation.

    Returns:
        The operation as it is then, held if nobody has decided; and why the server does not help, empty if it does.
    """
    until = time.monotonic() + session.config.seconds("approval.wait")
    filed, pause = False, _POLL_S
    while True:
        try:
            if not filed:
                file(link, journal, journal.operation(op), evidence_of(session, journal, op))
                filed = True
                session.progress.say(f"{op} is held; people decide at {link.target.name}")
            operation, trouble = bring_home(link, journal, journal, op), ""
        except Trouble as away:
            operation, trouble = journal.operation(op), away.why
        operation = expire(journal, operation, int(time.time()))
        left = until - time.monotonic()
        if operation.state is not State.HELD or left <= 0:
            return operation, trouble
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_POLL_S)


def evidence_of(session: Session, journal: "Journal", op: str) -> Mapping[str, Value]:
    """What people are shown: the evidence pack."""
    return pack_of(JournalRecords(journal), op, session.state_dir / "plans").as_value()


def tell_server(session: Session, journal: "Journal") -> None:
    """Tell the server of the fleet, if there is one, what came of what was approved there; nothing is raised."""
    try:
        link = server_of(session)
        troubles = [] if link is None else tell_outcomes(link, journal, journal, owed(journal))[1]
        for text in troubles:
            session.progress.say(text)
    except Failure as failure:
        session.progress.say(f"the approval server was not told what came of it: {failure}")


def tell_of_decision(session: Session) -> None:
    """The same after something was decided here; without a server, nothing happens."""
    if session.config.text("approval.server"):
        with session.journal() as journal:
            tell_server(session, journal)


def filing_of(operation: Operation, evidence: Mapping[str, Value]) -> dict[str, Value]:
    """What a server is told of a held operation; always the same of the same one.

    Args:
        operation: Held.
        evidence: The pack; left out if it is larger than a server takes.
    """
    data = operation.data
    expires_s = int(data.get("expires_s", 0)) - int(_seconds(operation.last_at))
    return {
        "op": operation.id,
        "requester": _account(operation.requester),
        "kind": str(data.get("kind", ""))[:64],
        "target": str(data.get("target", ""))[:_WIDE],
        "identity": str(data.get("identity", ""))[:_LONG],
        "selectors": _lines(data.get("selectors", ())),
        "digest": str(data.get("digest", "")),
        "items": int(data.get("items", 0)),
        "bytes": int(data.get("bytes", 0)),
        "whole_bytes": int(data.get("whole", 0)),
        "reasons": _lines(data.get("reasons", ())),
        "verdicts": [
            {"check": str(it["check"])[:64], "outcome": str(it["outcome"]), "summary": str(it["summary"])[:_LONG]}
            for it in list(data.get("verdicts", ()))[:_MANY]
        ],
        "final": str(data.get("final", ""))[:_LONG],
        "expires_in_s": min(max(expires_s, 60), 31_536_000),
        "evidence": evidence if len(canonical(evidence)) <= _EVIDENCE_BYTES else {},
    }


def outcome_of(operation: Operation) -> dict[str, Value]:
    """What a server is told of an operation that is over."""
    receipt: Any = operation.data.get("receipt", {})
    if len(canonical(receipt)) > _RECEIPT_BYTES:
        receipt = {key: value for key, value in receipt.items() if isinstance(value, int)}
    why = str(operation.data.get("why") or operation.data.get("evidence") or "")
    return {"state": _SETTLED[operation.state], "why": why[:1000], "receipt": receipt}


def _use(link: Link, book: Book, operation: Operation) -> Operation:
    """Use an approval there, then write it down here."""
    digest = str(operation.data["digest"])
    book.note(CONSUMING, {"server": link.target.name, "digest": digest}, op=operation.id)
    answer = ask_once(link, "POST", f"/operations/{operation.id}/consume", {"digest": digest})
    if isinstance(answer, Answered) and answer.status < 300:
        there = _about(link, operation, answer)
        if there["state"] is State.PASSED:
            return _approved(link, book, operation, there)
        raise _trouble(link, operation, f"it says that the operation is {there['state']}")
    # Used or not? Whoever knows is the server.
    there = _about(link, operation, ask_once(link, "GET", f"/operations/{operation.id}"))
    if there["state"] is State.PASSED and not there["outcome"]:
        return _approved(link, book, operation, there)
    if there["state"] in _FOR_EVER:
        return _ended(link, book, operation, there)
    why = answer.why if isinstance(answer, NoAnswer) else answer.problem
    raise _trouble(link, operation, f"the approval was not used: {why}")


def _redeemed_unheard(link: Link, operation: Operation, lost: NoAnswer) -> Ballot:
    """Counted or not? Of an approval the server can tell; of one vote among several nobody can."""
    if lost.sent:
        there = _about(link, operation, ask_once(link, "GET", f"/operations/{operation.id}"))
        approvers = tuple(there["approvers"])
        if there["state"] in {State.APPROVED, State.PASSED} and approvers:
            return Ballot(operation.id, there["state"], len(approvers), approvers, 0, there.get("emergency") is True)
    raise _trouble(link, operation, lost.why)


def _ballot(link: Link, operation: Operation, answer: Answered) -> Ballot:
    """What the server says of the votes for this very operation.

    Raises:
        Trouble: It says nothing of the kind.
    """
    if answer.status >= 300:
        raise _trouble(link, operation, answer.problem)
    value = answer.value
    if value.get("schema") != "go-cache-safeguard/ballot/1" or value.get("op") != operation.id:
        raise _trouble(link, operation, "it answers with something else than this operation")
    state, approvers, needed, left = (value.get(key) for key in ("state", "approvers", "needed", "left"))
    if not isinstance(state, str) or state not in State.__members__ or type(needed) is not int or type(left) is not int:
        raise _trouble(link, operation, "it does not say where the operation stands")
    if not isinstance(approvers, list) or not all(isinstance(one, str) and one for one in approvers):
        raise _trouble(link, operation, "it does not say who has approved")
    return Ballot(operation.id, State(state), needed, tuple(approvers), left, value.get("emergency") is True)


def _used_before(link: Link, book: Book, pages: Pages, operation: Operation, there: Mapping[str, Any]) -> Operation:
    """The approval is used: by us, if we were about to."""
    ours = any(record.step == CONSUMING for record in pages.records(op=operation.id))
    if ours and not there["outcome"]:
        return _approved(link, book, operation, there)
    raise _trouble(link, operation, "its approval was used already, and not by this journal")


def _approved(link: Link, book: Book, operation: Operation, there: Mapping[str, Any]) -> Operation:
    approvers = there["approvers"]
    if not approvers:
        raise _trouble(link, operation, "it does not say who has approved")
    data: dict[str, Value] = {
        "approver": approvers[-1],
        "approvers": list(approvers),
        "channel": SERVER,
        "server": link.target.name,
    }
    if there.get("emergency") is True:
        data["broken_glass"] = True
    return _move(book, operation, State.APPROVED, data)


def _ended(link: Link, book: Book, operation: Operation, there: Mapping[str, Any]) -> Operation:
    why = str(there.get("why", ""))[:_LONG]
    ended = _move(book, operation, there["state"], {"server": link.target.name, **({"why": why} if why else {})})
    book.note(TOLD, {"server": link.target.name, "state": str(there["state"])}, op=operation.id)
    return ended


def _move(book: Book, operation: Operation, to: State, data: Mapping[str, Value]) -> Operation:
    """Somebody else here may have been faster: then it stands where they have put it."""
    try:
        return book.advance(operation.id, to, data)
    except IllegalTransition:
        return book.operation(operation.id)


def _about(link: Link, operation: Operation, answer: Answered | NoAnswer, *, after: Any = None) -> Mapping[str, Any]:
    """What the server says of this very operation.

    Args:
        link: The server.
        operation: As it stands here.
        answer: What it said.
        after: Looks it up, for when the answer to a request that changes something was lost.

    Raises:
        Trouble: It says nothing of the kind.
    """
    if isinstance(answer, NoAnswer):
        if answer.sent and after is not None:
            return _about(link, operation, after())
        raise _trouble(link, operation, answer.why)
    if answer.status >= 300:
        raise _trouble(link, operation, answer.problem)
    value = answer.value
    digest = operation.data.get("digest")
    if value.get("schema") != "go-cache-safeguard/operation/1" or value.get("op") != operation.id:
        raise _trouble(link, operation, "it answers with something else than this operation")
    if value.get("digest") != digest:
        raise _trouble(link, operation, "it tells of another plan")
    state, approvers = value.get("state"), value.get("approvers")
    if not isinstance(state, str) or state not in State.__members__ or not isinstance(approvers, list):
        raise _trouble(link, operation, "it does not say where the operation stands")
    if not all(isinstance(one, str) and one for one in approvers):
        raise _trouble(link, operation, "it does not say who has approved")
    return {**value, "state": State(state), "approvers": approvers, "outcome": value.get("outcome")}


def _trouble(link: Link, operation: Operation, why: str) -> Trouble:
    return Trouble(operation.id, link.target.name, why)


def _seconds(at: str) -> float:
    from datetime import datetime  # noqa: PLC0415 - only here

    return datetime.fromisoformat(at).timestamp()


def _lines(lines: Sequence[object]) -> list[str]:
    shown = [str(one)[:_LONG] for one in lines]
    return shown if len(shown) <= _MANY else [*shown[: _MANY - 1], f"and {len(shown) - _MANY + 1} more"]


def _account(requester: str) -> str:
    """An account, with its name if that is a plain one: only the number counts, and names may hold anything."""
    person = parse_person(requester)
    if person is None or _NAME.fullmatch(person.name):
        return requester
    return f"uid:{person.uid}"
