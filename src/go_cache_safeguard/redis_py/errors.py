"""What a caller is told when a call did not simply go through.

Knows:     which kind of redis-py's errors each answer of the guard is, so that those who catch these do the right thing.
Called by: the connections and clients of this package; whoever talks through the proxy uses `parse_error`.
Never:     makes an answer of the guard look like a connection that broke: whoever sees one of those connects and sends again.
"""

import re

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from go_cache_safeguard.redis.call import HELD, REFUSED


class GuardError(ResponseError):
    """The guard answered in the server's place; the server saw nothing of the call, nor of what was sent with it.

    Attributes:
        text: For people.
    """

    def __init__(self, said: str, text: str) -> None:
        super().__init__(said)
        self.text = text

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        return type(self), (self.text,)


class OperationHeld(GuardError):  # noqa: N818 - what happened is not a mistake
    """A person decides.

    Attributes:
        op: The operation, as `ops show` and `ops approve` want it.
    """

    def __init__(self, op: str, text: str) -> None:
        super().__init__(f"{HELD} {op} {text}", text)
        self.op = op

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        return type(self), (self.op, self.text)


class OperationRefused(GuardError):  # noqa: N818 - likewise
    """Never done; asking again does not help."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{REFUSED} {text}", text)


class GuardUnavailable(OperationRefused):
    """The guard could not be asked, so nothing was sent."""


class OperationElsewhere(GuardError):  # noqa: N818 - likewise
    """The guard did it, wholly or in part, without a reply that could be given here; its journal tells what came of it.

    Attributes:
        op: The operation.
    """

    def __init__(self, op: str, text: str) -> None:
        super().__init__(f"{op} {text}", text)
        self.op = op

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        return type(self), (self.op, self.text)


class OutcomeUnknown(RedisError):  # noqa: N818 - that is the point
    """Something may be lost by the call, and its reply did not come. It was not sent again; look before you do."""


class ConnectionOutcomeUnknown(OutcomeUnknown, RedisConnectionError):  # noqa: N818 - likewise
    """The same, for those who connect again after a connection error. redis-py's own retry leaves it alone."""


class TimeoutOutcomeUnknown(OutcomeUnknown, RedisTimeoutError):  # noqa: N818 - likewise
    """The same, for those who expect that a blocking call may time out."""


_SAID = re.compile(r"(?:^|caused error: )(?P<word>GUARD[A-Z]+) (?P<op>\S+) ?(?P<text>.*)$", re.DOTALL)


def parse_error(error: BaseException) -> GuardError | OutcomeUnknown | None:
    """Tell what the guard said, from an error that a client without a guard of its own got through the proxy.

    Args:
        error: What redis-py raised, or put into the results of a pipeline.

    Returns:
        `OperationHeld`, `OperationRefused`, `OperationElsewhere`, `OutcomeUnknown`; None if it is not the guard's.
    """
    if isinstance(error, GuardError | OutcomeUnknown):
        return error
    found = _SAID.search(str(error)) if isinstance(error, ResponseError) else None
    if found is None:
        return None
    word, op, text = found.groups()
    match word:
        case "GUARDHELD":
            return OperationHeld(op, text)
        case "GUARDREFUSED":
            return OperationRefused(f"{op} {text}".rstrip())
        case "GUARDUNKNOWN":
            return OutcomeUnknown(f"{op} {text}")
        case "GUARDPARTLY" | "GUARDDONE":
            return OperationElsewhere(op, text)
    return None
