"""People's answers to held operations.

Knows:     who may approve what, how long a held operation waits, and what an approval covers: one plan digest.
Called by: the command line's `ops`, and `clean --confirm`.
Never:     takes a token from the command line; executes anything.
"""

import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.approval.eyes import Denied, SelfApproval, may_approve, parse_person
from go_cache_safeguard.approval.token import Grant, check_grant, digest_matches, mint, parse_token
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.session import Session

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_PRIVATE = 0o600


class NotApproved(Failure):
    """This approval does not count."""

    id = "not-approved"
    exit_code = ExitCode.REFUSED
    meaning = "the approval was refused: wrong person, wrong digest, wrong or used token, or expired"


def expire(journal: "Journal", operation: Operation, now_s: int) -> Operation:
    """Let a held or approved operation expire when its time is over; expired is for ever."""
    expires_s = int(operation.data.get("expires_s", 0))
    if operation.state in {State.HELD, State.APPROVED} and expires_s and now_s >= expires_s:
        return journal.advance(operation.id, State.EXPIRED, {})
    return operation


def approve_by_digest(session: Session, journal: "Journal", op: str, typed: str) -> Operation:
    """Approve a held operation by typing (the first digits of) its plan's digest.

    Args:
        session: Who approves.
        journal: Open for writing.
        op: The held operation.
        typed: What the person typed.

    Raises:
        NotApproved: It does not count, and why.
        IllegalTransition: The operation is not held.
    """
    operation = _held(journal, op)
    if not digest_matches(typed, str(operation.data["digest"])):
        raise NotApproved(
            f"{typed!r} is not the beginning of the plan's digest",
            not_done=f"{op} stays held",
            hint=f"look at the plan with `go-cache-safeguard ops show {op}` and type at least 8 digits of its digest",
        )
    rule = _check_person(session, operation, session.actor)
    return journal.advance(op, State.APPROVED, {"approver": session.actor, "channel": "terminal", **rule})


def approve_by_token(session: Session, journal: "Journal", op: str, token_file: Path) -> Operation:
    """Approve a held operation with a token that an approver has minted for exactly this plan.

    Raises:
        NotApproved: It does not count, and why.
        IllegalTransition: The operation is not held: a token counts once, because approving is one arrow.
    """
    operation = _held(journal, op)
    token = parse_token(_read_private(token_file))
    for record in journal.records(op=op):
        if record.step != "token-minted" or token is None:
            continue
        grant = Grant(op, str(record.data["digest"]), str(record.data["approver"]), int(record.data["expires_s"]))
        verdict = check_grant(
            grant,
            token,
            stored=str(record.data["sha256"]),
            op=op,
            digest=str(operation.data["digest"]),
            approver=grant.approver,
            now=time.time(),
        )
        if isinstance(verdict, Denied):
            continue
        rule = _check_person(session, operation, grant.approver)
        return journal.advance(
            op,
            State.APPROVED,
            {
                "approver": grant.approver,
                "channel": "token",
                "by": session.actor,
                "token": str(record.data["sha256"]),
                **rule,
            },
        )
    raise NotApproved(
        f"the token in {token_file} was not minted for {op}, or has expired",
        not_done=f"{op} stays held",
        hint=f"an approver mints one with `go-cache-safeguard ops token {op} --output FILE`",
    )


def mint_token(session: Session, journal: "Journal", op: str, output: Path, *, lifetime_s: int) -> None:
    """Mint a token with which somebody else, or a job, can approve this operation once.

    Args:
        session: Who mints, and so who approves.
        journal: Open for writing.
        op: The held operation.
        output: A new file, readable by its owner only.
        lifetime_s: Seconds for which it counts.

    Raises:
        NotApproved: This person may not approve.
    """
    operation = _held(journal, op)
    _check_person(session, operation, session.actor)
    token, sha256 = mint(secrets.token_bytes(32))
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
    except OSError as error:
        raise NotApproved(f"{output} cannot be made: {error.strerror}", not_done="no token was minted") from error
    journal.note(
        "token-minted",
        {
            "sha256": sha256,
            "approver": session.actor,
            "digest": str(operation.data["digest"]),
            "expires_s": int(time.time()) + lifetime_s,
        },
        op=op,
    )
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(token.text + "\n")


def reject(session: Session, journal: "Journal", op: str, why: str) -> Operation:
    """Say no to a held operation; the requester may do so too."""
    _held(journal, op)
    return journal.advance(op, State.REJECTED, {"rejected_by": session.actor, "why": why})


def _held(journal: "Journal", op: str) -> Operation:
    operation = expire(journal, journal.operation(op), int(time.time()))
    if operation.state is not State.HELD:
        raise NotApproved(f"{op} is {operation.state}, not HELD", not_done="nothing changed")
    return operation


def _check_person(session: Session, operation: Operation, approver: str) -> dict[str, Value]:
    """Refuse who may not approve. Returns what the record says of the rule, for whoever audits it under another one."""
    rule = SelfApproval(session.config.choice("approval.self"))
    verdict = may_approve(operation.requester, approver, rule=rule, accounts=session.accounts)
    if isinstance(verdict, Denied):
        raise NotApproved(
            verdict.reason,
            not_done=f"{operation.id} stays held",
            hint="somebody else approves it; on a machine of your own, `approval.self` may allow you (`config show`)",
        )
    asked, agrees = parse_person(operation.requester), parse_person(approver)
    return {"self": str(rule)} if asked and agrees and asked.uid == agrees.uid else {}


def _typed() -> str:
    from getpass import getpass  # noqa: PLC0415 - brings termios, which few commands need

    return getpass("Token (not shown): ").strip()


def _read_private(path: Path) -> str:
    """Read a small file that only its owner can read; `-` is stdin, which does not show what is typed at a terminal."""
    if str(path) == "-":
        return _typed() if sys.stdin.isatty() else sys.stdin.readline(4096).strip()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            data = file.read(4096)
    except OSError as error:
        raise NotApproved(f"{path} cannot be read: {error.strerror}", not_done="nothing was approved") from error
    if found.st_mode & 0o077:
        raise NotApproved(
            f"{path} can be read by others",
            not_done="nothing was approved",
            hint=f"chmod 600 {path}, and mint a new token",
        )
    return data.decode("ascii", errors="replace").strip()
