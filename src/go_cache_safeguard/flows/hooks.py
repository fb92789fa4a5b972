"""Who is told of held operations, and how a command or a guard waits for the answer.

Knows:     which settings make a channel to people, that what cannot be told now stays in the outbox, and who delivers it later.
Called by: `flows.clean`, `flows.redis_gate` for calls of clients, `serve`, and the command line's `ops watch` and `ops deliver`.
Never:     approves: an answer of a hook means only that the message came; lets a hook that fails change what is held; makes a client
           wait; writes down the path of a hook, which may be a secret.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.notify import NotSent, Sent, deliver
from go_cache_safeguard.approval.outbox import About, Rule
from go_cache_safeguard.approval.webhook import Secret, Target, message_of, parse_secret, parse_target
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.alerts import Alarms, alarms_of, push_now
from go_cache_safeguard.flows.approve import expire
from go_cache_safeguard.flows.outbox import Channel, Courier, Letter, Pause, lease_s
from go_cache_safeguard.flows.page_links import page_of, pages_at
from go_cache_safeguard.flows.private_file import password_in
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import FINAL, SERVERS

if TYPE_CHECKING:
    from go_cache_safeguard.journal.records import Records
    from go_cache_safeguard.journal.store import Journal

INTERACTIVE = "cli-interactive"

_SECRET = "approval.hook_secret_file"  # noqa: S105 - the name of a setting
_POLL_S = 0.2
_LOOK_S = 2.0
_LAST_S = 2.0
_CLOSING_S = 3.0


@dataclass(frozen=True, slots=True)
class Hook:
    """A URL that gets signed messages.

    Attributes:
        target: Where messages go.
        secret: What they are signed with.
        timeout_s: How long connecting, the handshake and the answer may each take.
        page: Where people decide in a browser; empty if nowhere.
        here: Whether an approval on this machine counts.
    """

    target: Target
    secret: Secret
    timeout_s: int
    page: str = ""
    here: bool = True

    @property
    def name(self) -> str:
        """See `Channel`."""
        return "hook"

    @property
    def where(self) -> str:
        """See `Channel`."""
        return self.target.name

    @property
    def gather_s(self) -> int:
        """Each is one message."""
        return 0

    @property
    def lease_s(self) -> int:
        """See `Channel`."""
        return lease_s(self.timeout_s)

    def send(self, letters: Sequence[Letter], pause: Pause) -> Sent | NotSent:
        """See `Channel`."""
        (letter,) = letters
        operation, event = letter.operation, letter.post.event
        manner, kind = operation.data.get("manner", ""), str(operation.data.get("kind", ""))
        execute = "" if manner == "retry" else executed_by(kind, operation.id)
        page = page_of(self.page, operation.id)
        message = message_of(operation, event=event, execute=execute, page=page, here=self.here)
        return deliver(self.target, self.secret, message, timeout_s=self.timeout_s, pause=pause)


def hook_of(session: Session, tenant: str = "") -> Hook | None:
    """The hook that the settings name; None if people are asked at the terminal.

    Args:
        session: With the settings.
        tenant: Whose pages messages link to, where `serve` has several tenants.

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
    timeout_s, here = session.config.seconds("approval.hook_timeout"), not session.config.text("approval.server")
    return Hook(target, secret, timeout_s, pages_at(session.config, tenant), here)


def channels_of(session: Session, tenant: str = "") -> list[Channel]:
    """Everybody whom the settings name.

    Args:
        session: With the settings.
        tenant: Whose pages messages link to, where `serve` has several tenants.

    Raises:
        ConfigBad: One of them may not be used, or its secret cannot be.
    """
    found: list[Channel] = []
    if (hook := hook_of(session, tenant)) is not None:
        found.append(hook)
    if session.config.text("approval.slack_file") or session.config.text("approval.apprise_file"):
        from go_cache_safeguard.flows.chat import chats_of  # noqa: PLC0415 - loaded where it is wanted

        found += chats_of(session, tenant)
    return found


def rule_of(config: Config) -> Rule:
    """What is told, and for how long it is tried."""
    return Rule(About(config.choice("approval.tell")), config.seconds("approval.give_up"))


def executed_by(kind: str, op: str) -> str:
    """The command that carries out an operation that was approved."""
    command = "redis resume" if kind in SERVERS else "purge" if kind in FINAL else "clean"
    return f"go-cache-safeguard {command} {op}"


def announce(
    session: Session, journal: "Records", op: str, say: Callable[[str], object], *, again: bool = True
) -> list[str]:
    """Tell everybody of a held operation now. The operation stays as it is; what does not arrive stays in the outbox.

    Args:
        session: With the settings.
        journal: Open for writing.
        op: Held.
        say: Told when it does not go well.
        again: Also those who were told before, by the same name.

    Returns:
        What went wrong.
    """
    try:
        trouble = Courier(channels_of(session), rule_of(session.config), say).tell(journal, op, again=again)
    except Failure as failure:
        trouble = [f"{op} is held, and nobody was told: {failure}"]
        say(trouble[0])
    push_now(session, journal, say)
    return trouble


def tell_decision(session: Session, op: str) -> None:
    """Tell those who want to know what was decided just now. Nothing is raised; what does not arrive stays in the outbox."""
    try:
        channels = channels_of(session)
        if channels:
            with session.journal() as journal:
                Courier(channels, rule_of(session.config), session.progress.say).tell(journal, op, again=False)
    except Failure as failure:
        session.progress.say(f"nobody was told of the decision about {op}: {failure}")


def ask_elsewhere(session: Session, journal: "Journal", op: str) -> tuple[Operation, str]:
    """Tell people of a held operation, and wait for their answer as long as `approval.wait` says.

    Args:
        session: Who asks.
        journal: Open for writing.
        op: The held operation.

    Returns:
        The operation as it is then, held if nobody has answered; and why somebody was not told, empty if all were.
    """
    trouble = announce(session, journal, op, lambda _: None)
    detached = session.config.choice("approval.detach") == "yes"
    wait_s = 0 if detached else session.config.seconds("approval.wait")
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
    """Delivers the outbox on a thread of its own, which begins with the first message. Safe from any thread, but not across a fork."""

    def __init__(
        self,
        open_journal: "Callable[[], Records]",
        channels: Sequence[Channel],
        rule: Rule,
        say: Callable[[str], object],
        *,
        alarms: Sequence[Alarms] = (),
    ) -> None:
        """Make one; nothing is opened or sent yet.

        Args:
            open_journal: Opens the journal for writing.
            channels: Whom to tell.
            rule: What, and for how long it is tried.
            say: Told of what goes wrong.
            alarms: Who else looks at the journal, now and then.
        """
        self._open = open_journal
        self._courier = Courier(channels, rule, say, pause=self._wait)
        self._alarms = alarms
        self._say = say
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._until = inf
        self._said = ""

    def begin(self) -> None:
        """Take over what earlier runs have left, and go on until `close`."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="hooks", daemon=True)
                self._thread.start()

    def tell(self, operation: Operation) -> None:
        """Have people told soon of what the journal holds. Never waits for them, and never fails."""
        del operation  # the journal knows
        self._wake.set()
        self.begin()

    def close(self) -> None:
        """Send what is due, each once more at most, for a moment; what is left then stays in the outbox."""
        with self._lock:
            self._until = min(self._until, time.monotonic() + _LAST_S)
            self._stop.set()
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(_CLOSING_S)

    def _wait(self, seconds: float) -> bool:
        """Between two attempts; true at the end."""
        return self._stop.wait(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._open() as journal:
                    self._said = ""
                    self._follow(journal)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one message must not keep the next one back
                text = str(error) if isinstance(error, Failure) else type(error).__name__
                if isinstance(error, Failure):
                    self._fails(error)
                if text != self._said:  # the same trouble may last for hours
                    self._said = text
                    self._say(f"nobody is told of held operations now: {text}")
                self._stop.wait(_LOOK_S)

    def _fails(self, failure: Failure) -> None:
        for alarms in self._alarms:
            alarms.fails(failure)

    def _follow(self, journal: "Records") -> None:
        while True:
            self._wake.clear()
            ends = self._stop.is_set()
            wait_s = self._courier.round(journal, stop=lambda: time.monotonic() > self._until)
            for alarms in self._alarms:
                alarms.look(journal)
            if ends:
                return
            self._wake.wait(_LOOK_S if wait_s is None else min(wait_s, _LOOK_S))


def announcer_of(
    session: Session,
    say: Callable[[str], object],
    open_journal: "Callable[[], Records] | None" = None,
    *,
    tenant: str = "",
) -> Announcer | None:
    """Who delivers the outbox of a journal; None if the settings name nobody to tell.

    Args:
        session: With the settings.
        say: Told of what goes wrong.
        open_journal: Opens another journal than the session's; its metrics go into no file.
        tenant: Whose it is.

    Raises:
        ConfigBad: A channel cannot be used.
    """
    channels = channels_of(session, tenant)
    alarms = alarms_of(session, say, tenant=tenant, alone=open_journal is None)
    if not channels and not alarms:
        return None
    return Announcer(open_journal or session.journal, channels, rule_of(session.config), say, alarms=alarms)
