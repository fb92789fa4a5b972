"""The confirm hook: who is told of a held operation, and how a command waits for the answer.

Knows:     which settings make a hook, what the journal says of a message, and that one message waits for another.
Called by: `flows.clean`, and `flows.redis_gate` for calls of clients.
Never:     approves: an answer of a hook means only that the message came; lets a hook that fails change what is held; makes a client
           wait; writes down the path of a hook, which may be a secret.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.webhook import Secret, Target, message_of, parse_secret, parse_target
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.approve import expire
from go_cache_safeguard.flows.private_file import password_in
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import SERVERS

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

INTERACTIVE = "cli-interactive"
SENT = "hook-sent"
"""The note about a message that arrived."""
FAILED = "hook-failed"
"""The note about one that did not; the operation is held all the same."""

_SECRET = "approval.hook_secret_file"  # noqa: S105 - the name of a setting
_POLL_S = 0.2
_MOST = 100
_LAST_S = 2.0


@dataclass(frozen=True, slots=True)
class Hook:
    """Where people are told, and how.

    Attributes:
        target: Where messages go.
        secret: What they are signed with.
        timeout_s: How long connecting, the handshake and the answer may each take.
    """

    target: Target
    secret: Secret
    timeout_s: int


class Notes(Protocol):
    """What keeps notes: the journal itself, or a ledger."""

    def note(self, step: str, data: Mapping[str, Value], *, op: str | None = None) -> object:
        """See `Journal.note`."""


def hook_of(session: Session) -> Hook | None:
    """The hook that the settings name; None if people are asked at the terminal.

    Raises:
        ConfigBad: It may not be used, or its secret cannot be.
    """
    url = session.config.text("approval.hook")
    if url in {"", INTERACTIVE}:
        return None
    target = parse_target(url, tuple(session.config.text("approval.hook_allow").split()))
    if isinstance(target, Denied):
        raise ConfigBad(f"approval.hook cannot be used: {target.reason}")
    secret = parse_secret(password_in(session, _SECRET))
    if secret is None:
        raise ConfigBad(
            f"{_SECRET} names no file with a secret",
            hint="24 to 64 bytes, or whsec_ and their base64, in a file of mode 600",
        )
    return Hook(target, secret, session.config.seconds("approval.hook_timeout"))


def executed_by(kind: str, op: str) -> str:
    """The command that carries out an operation that was approved."""
    return f"go-cache-safeguard {'redis resume' if kind in SERVERS else 'clean'} {op}"


def announce(
    hook: Hook,
    notes: Notes,
    operation: Operation,
    say: Callable[[str], object],
    *,
    pause: Callable[[float], object] = time.sleep,
) -> bool:
    """Tell people of a held operation, and write down whether that went well. The operation stays as it is.

    Args:
        hook: Where to.
        notes: The journal.
        operation: Held.
        say: Told when it does not go well.
        pause: See `approval.notify.deliver`.

    Returns:
        Whether the message arrived.
    """
    from go_cache_safeguard.approval.notify import NotSent, deliver  # noqa: PLC0415 - brings http and ssl

    manner, kind = operation.data.get("manner", ""), str(operation.data.get("kind", ""))
    message = message_of(operation, execute="" if manner == "retry" else executed_by(kind, operation.id))
    answer = deliver(hook.target, hook.secret, message, timeout_s=hook.timeout_s, pause=pause)
    about: dict[str, Value] = {"hook": hook.target.name, "message": message.id, "tries": answer.tries}
    if isinstance(answer, NotSent):
        say(f"{operation.id} is held, and its hook was not told: {answer.why}")
        about["why"] = answer.why
    else:
        about["status"] = answer.status
    try:
        notes.note(FAILED if isinstance(answer, NotSent) else SENT, about, op=operation.id)
    except Failure as failure:
        say(f"what became of the hook of {operation.id} is not in the journal: {failure}")
    return not isinstance(answer, NotSent)


def ask_elsewhere(session: Session, journal: "Journal", hook: Hook, op: str) -> tuple[Operation, str]:
    """Tell people of a held operation, and wait for their answer as long as `approval.wait` says.

    Args:
        session: Who asks.
        journal: Open for writing.
        hook: Where people are told.
        op: The held operation.

    Returns:
        The operation as it is then, held if nobody has answered; and why the hook was not told, empty if it was.
    """
    trouble: list[str] = []
    announce(hook, journal, journal.operation(op), trouble.append)
    wait_s = session.config.seconds("approval.wait")
    until = time.monotonic() + wait_s
    if wait_s:
        for text in trouble:
            session.progress.say(text)
        session.progress.say(f"{op} is held; waiting for `go-cache-safeguard ops approve {op}`")
    operation = journal.operation(op)
    while operation.state is State.HELD and time.monotonic() < until:
        time.sleep(_POLL_S)
        operation = expire(journal, journal.operation(op), int(time.time()))
    return operation, "; ".join(trouble)


class Announcer:
    """Tells people one after the other, on a thread of its own that begins with the first. Safe from any thread."""

    def __init__(self, hook: Hook, notes: Notes, say: Callable[[str], object], *, most: int = _MOST) -> None:
        """Make one; nothing is sent yet.

        Args:
            hook: Where people are told.
            notes: The journal; safe from any thread.
            say: Told when a message does not arrive.
            most: How many messages may wait; more are dropped, and that is told.
        """
        self._hook, self._notes, self._say = hook, notes, say
        self._waiting: queue.Queue[Operation | None] = queue.Queue(most)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, operation: Operation) -> None:
        """Have people told soon. Never waits for them, and never fails."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="hooks", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(operation)
        except queue.Full:
            self._drop(operation)

    def close(self) -> None:
        """Send what waits, each once more at most, for a moment; what is left then is told."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is None:
            return
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_LAST_S)
        thread.join(_LAST_S)
        while True:
            try:
                left = self._waiting.get_nowait()
            except queue.Empty:
                return
            if left is not None:
                self._drop(left)

    def _drop(self, operation: Operation) -> None:
        self._say(f"{operation.id} is held, and its hook was not told: too many messages wait, or the guard stops")
        with suppress(Failure):  # it was said
            self._notes.note(FAILED, {"hook": self._hook.target.name, "why": "dropped", "tries": 0}, op=operation.id)

    def _run(self) -> None:
        while (operation := self._waiting.get()) is not None:
            try:
                announce(self._hook, self._notes, operation, self._say, pause=self._stop.wait)
            except Exception as error:  # noqa: BLE001 - what one message does must not keep the next one back
                self._say(f"{operation.id} is held, and its hook was not told: {type(error).__name__}")
