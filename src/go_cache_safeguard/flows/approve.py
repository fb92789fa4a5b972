"""People's answers at the terminal: who they are, and the files that tokens come from and go to.

Knows:     that a token comes from a file of its owner, from stdin or from a prompt that does not show it, and goes into a new file.
Called by: the command line's `ops` and `--token-file`, `clean --confirm`, and `flows.fleet` for what is over.
Never:     takes a token from the command line; judges: `flows.desk` does; executes anything.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.approval.token import Token, parse_token
from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation, is_over
from go_cache_safeguard.flows.desk import Desk, NotApproved, lent, rules_of, voter_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.law import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from go_cache_safeguard.journal.record import Record
    from go_cache_safeguard.journal.records import Records

_PRIVATE = 0o600


def expire(journal: "Records", operation: Operation, now_s: int) -> Operation:
    """Let a held or approved operation expire when its time is over; expired is for ever.

    This is a look: whatever it finds, the journal lets nothing on whose time is over by its own clock.
    """
    if not is_over(operation, now_s):
        return operation
    try:
        return journal.advance(operation.id, State.EXPIRED, {})
    except IllegalTransition:  # somebody was faster
        return journal.operation(operation.id)


def approve_by_digest(session: Session, journal: "Records", op: str, typed: str, *, seen: str = "") -> Operation:
    """Agree to a held operation by typing (the first digits of) its plan's digest.

    Args:
        session: Who approves.
        journal: Open for writing.
        op: The held operation.
        typed: What the person typed.
        seen: SHA-256 of the evidence that they were shown; empty if they were shown none.

    Returns:
        The operation: APPROVED, or still HELD if it takes more people.

    Raises:
        NotApproved: It does not count, and why.
    """
    _desk(session, journal).approve(op, voter_of(session), typed, seen=seen)
    return journal.operation(op)


def approve_by_token(
    session: Session, journal: "Records", op: str, token_file: Path, *, barred: "Callable[[Record], bool] | None" = None
) -> Operation:
    """Agree to a held operation with a token that an approver has minted for exactly this plan.

    Args:
        session: Who brings it.
        journal: Open for writing.
        op: The held operation.
        token_file: Where it is.
        barred: Whether who minted it, as this record says, is let in as an approver no more; None if nobody knows of people here.

    Returns:
        The operation: APPROVED, or still HELD if it takes more people.

    Raises:
        NotApproved: It does not count, and why; a token counts once.
    """
    token = token_in(token_file, op)
    notes = (it for it in journal.records(op=op) if it.step == TOKEN and it.data.get("sha256") == token.stored)
    minted = next(notes, None)
    if minted is not None and barred is not None and barred(minted):
        raise no_more(op, minted)
    _desk(session, journal).redeem(op, token, session.actor)
    return journal.operation(op)


def no_more(op: str, minted: "Record") -> NotApproved:
    """Why the token of somebody counts no more who was let in as an approver when it was minted."""
    return NotApproved(
        f"{minted.data.get('approver')}, whose token it is, is not let in as an approver any more",
        not_done=f"{op} stays as it is",
        hint="somebody who may approve it mints another one",
    )


def token_in(token_file: Path, op: str, server: str = "") -> Token:
    """The token in a file that only its owner can read; `-` is stdin, or a prompt.

    Args:
        token_file: The file.
        op: What it is to approve.
        server: Where people decide about it; empty if they do it here.

    Raises:
        NotApproved: There is none, or others can read it.
    """
    token = parse_token(_read_private(token_file))
    if token is None:
        raise NotApproved(
            f"there is no token in {token_file}",
            not_done=f"{op} stays as it is",
            hint=f"an approver mints one at {server}: POST /api/v1/operations/{op}/token"
            if server
            else f"an approver mints one with `go-cache-safeguard ops token {op} --output FILE`",
        )
    return token


def mint_token(session: Session, journal: "Records", op: str, output: Path, *, lifetime_s: int) -> None:
    """Mint a token with which somebody else, or a job, can approve this operation once.

    Args:
        session: Who mints, and so who approves.
        journal: Open for writing.
        op: The held operation.
        output: A new file, readable by its owner only.
        lifetime_s: Seconds for which it counts.

    Raises:
        NotApproved: This person may not approve, or the file cannot be made.
    """
    if os.path.lexists(output):
        raise NotApproved(f"{output} is there already", not_done="no token was minted", hint="name a new file")
    token = _desk(session, journal).mint(op, voter_of(session), lifetime_s)
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
    except OSError as error:
        raise NotApproved(f"{output} cannot be made: {error.strerror}", not_done="nobody has the token") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(token.text + "\n")


def _desk(session: Session, journal: "Records") -> Desk:
    return Desk(lent(journal), rules_of(session))


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
