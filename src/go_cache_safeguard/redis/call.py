"""One call that a client made, and what the guard answers to it.

Knows:     what of a call an approval is bound to, and how held and refused calls are told to a client.
Called by: the proxy, the redis-py face, `flows`.
Never:     decides; puts a line break or an unprintable byte into an error line, which would be another reply.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from go_cache_safeguard.redis.intent import Intent

HELD = "GUARDHELD"
"""First word of the error that a client gets for a held call; the operation's id is the second."""
REFUSED = "GUARDREFUSED"
"""First word of the error for a call that is never done."""
_LINE_CHARS = 500


@dataclass(frozen=True, slots=True)
class Call:
    """What a client wants done.

    Attributes:
        commands: The call; of a transaction all its calls in order, without MULTI and EXEC.
        transaction: Whether EXEC does them.
        db: The database that was selected when the call, or its MULTI, came; None if that is not known.
        user: Who the connection said it was.
        client: From where, for people and for counting: an address, or the process on this machine.
        resp: Version of the protocol in which an answer is wanted, 2 or 3.
        op: The operation that the client says was approved (`GUARD RETRY op ...`); empty when it names none.
    """

    commands: tuple[tuple[bytes, ...], ...]
    transaction: bool = False
    db: int | None = 0
    user: str = "default"
    client: str = ""
    resp: int = 2
    op: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over everything that an approval is bound to: what, where, as whom; not over which socket."""
        about = (
            str(int(self.transaction)).encode(),
            str(self.db).encode(),
            self.user.encode("utf-8", "surrogateescape"),
        )
        state = sha256()
        for words in (about, *self.commands):
            state.update(b"*%d\r\n" % len(words))
            for word in words:
                state.update(b"$%d\r\n%b\r\n" % (len(word), word))
        return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Pass:
    """Send on what the client sent."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The guard's own connection did it.

    Attributes:
        reply: As the server gave it, in the protocol that the call asked for.
    """

    reply: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing reached the server; a person decides.

    Attributes:
        op: The operation.
        text: For people: why, and what to do.
    """

    op: str
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing reached the server, and asking again does not help.

    Attributes:
        text: For people.
    """

    text: str


Answer = Pass | Answered | Held | Refused


class Gate(Protocol):
    """Decides about calls that are not harmless."""

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        """Ask every check, the policy and, if need be, people. May take long; safe to call from several threads.

        Args:
            call: What a client wants done.
            intent: What it would do.
            abandoned: Says whether the client has gone, so that nobody has to be waited for.
        """


def reply_to(answer: Answered | Held | Refused) -> bytes:
    """What a client reads instead of the server's reply."""
    match answer:
        case Answered():
            return answer.reply
        case Held():
            return error_line(f"{HELD} {answer.op} {answer.text}")
        case Refused():
            return error_line(f"{REFUSED} {answer.text}")


def error_line(text: str) -> bytes:
    """An error in RESP: one line of printable ASCII, cut where it is too long."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return f"-{plain[:_LINE_CHARS]}\r\n".encode("ascii")
