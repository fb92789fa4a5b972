"""Acting with no more power than the owner of a tree has.

Knows:     how root becomes the owner in a child process, how the child's result, progress and failures come back, and how an
           interrupt turns into a question that work asks between two steps.
Called by: `snapshot.quarantine` for everything it does.
Never:     changes the rights of this process: only the child drops them, for good.
Source:    setresuid(2), prctl(2). With root's rights a cache whose owner is hostile is a trap; with the owner's rights the
           owner can only harm what the owner could harm anyway.
"""

import ctypes
import json
import os
import pwd
import select
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TypeAlias

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure

Progress: TypeAlias = Callable[[int], None]
"""Told how many steps are done so far."""
Stop: TypeAlias = Callable[[], bool]
"""Asked between two steps whether to end early."""

_PR_SET_PDEATHSIG = 1
_NOBODY = 65_534
_LIBC = ctypes.CDLL(None, use_errno=True)


class OwnerProcessFailed(Failure):
    """The child that acts for the owner ended without a result."""

    id = "owner-process"
    exit_code = ExitCode.BUG
    meaning = "the process that acts with the owner's rights failed in a way that we did not foresee"


def silent(_done: int) -> None:
    """A `Progress` for which nobody watches."""


def never() -> bool:
    """A `Stop` that lets work go to its end."""
    return False


def must_drop(uid: int) -> bool:
    """Whether we are root and the owner is not."""
    return os.geteuid() == 0 and uid != 0


def as_owner(
    uid: int, gid: int, work: Callable[[Progress, Stop], Value], *, progress: Progress = silent, stop: Stop = never
) -> Value:
    """Do work with the rights of the owner of a tree.

    While it runs SIGINT and SIGTERM do not break into the work: they make the `Stop` that the work was given answer yes, so that
    it ends between two steps and says truly what was done. A signal of which the work takes no notice is sent again afterwards.

    Args:
        uid: The owner.
        gid: The owner's group.
        work: Gets a `Progress` and a `Stop`; its result must have a JSON form, because it may come through a pipe.
        progress: Told what the work tells.
        stop: Asked whether to end early.

    Raises:
        Failure: Whatever failure the work raised; `OwnerProcessFailed` when the child died or raised anything else.
    """
    with patience(stop) as asked:
        if not must_drop(uid):
            return work(progress, asked)
        receive, send = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            os.close(receive)
            _be_child(uid, gid, work, stop, send=send, parent=parent)
        os.close(send)
        return _wait_for(child, receive, progress, asked)


class Patience:
    """A `Stop` that also answers yes once SIGINT or SIGTERM came, and knows whether anybody heard it say so."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self.signals: list[int] = []
        self.heard = False

    def __call__(self) -> bool:
        """The answer, for somebody who acts on it."""
        if self.peek():
            self.heard = True
            return True
        return False

    def peek(self) -> bool:
        """The answer, for somebody who will not act on it."""
        return bool(self.signals) or self._stop()

    def note(self, number: int, _frame: FrameType | None) -> None:
        """A signal handler."""
        self.signals.append(number)


@contextmanager
def patience(stop: Stop = never, *, again: bool = True) -> Iterator[Patience]:
    """Turn SIGINT and SIGTERM into a question for the length of a block.

    Outside the main thread signals are not ours to handle; then only `stop` is asked.

    Args:
        stop: Another reason to answer yes.
        again: Whether a signal that nobody in the block heard of is sent again when the block ends, so that it is not lost.
    """
    asked = Patience(stop)
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, asked.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if again and asked.signals and not asked.heard:
            os.kill(os.getpid(), asked.signals[0])


def _be_child(
    uid: int, gid: int, work: Callable[[Progress, Stop], Value], stop: Stop, *, send: int, parent: int
) -> NoReturn:
    """The child's whole life. It leaves by os._exit, so that nothing of the parent's (buffers, exit handlers) runs twice."""
    status = 1
    try:
        drop_to(uid, gid)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        orphan = os.getppid() != parent
        with patience(lambda: orphan or stop(), again=False) as asked:
            result = work(lambda done: _tell(send, done), asked)
        _send(send, {"result": result, "heard": asked.heard})
        status = 0
    except Failure as failure:
        name = f"{type(failure).__module__}.{type(failure).__qualname__}"
        _send(send, {"failure": [name, failure.what, failure.not_done, failure.hint]})
    except BaseException:  # noqa: BLE001 - the top of a process: everything becomes one message, and the parent fails closed
        _send(send, {"error": traceback.format_exc()})
    finally:
        os._exit(status)


def drop_to(uid: int, gid: int) -> None:
    """Become somebody else, for good.

    Raises:
        OwnerProcessFailed: The kernel did not do all of it.
    """
    group = gid or _primary_group(uid)
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (group,) * 3 or os.getgroups():
        raise OwnerProcessFailed("the rights of root could not be dropped", not_done="nothing was touched")
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise OwnerProcessFailed("the rights of root were dropped but could be taken back", not_done="nothing was touched")


def _primary_group(uid: int) -> int:
    """Group 0 reads much of what is root's: a tree of group 0 is entered with the owner's own group instead."""
    try:
        return pwd.getpwuid(uid).pw_gid or _NOBODY
    except KeyError:
        return _NOBODY


def _send(fd: int, message: dict[str, Value]) -> None:
    data = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
    while data:
        data = data[os.write(fd, data) :]


def _tell(fd: int, done: int) -> None:
    # Nobody reads any more: the parent is dead, and the signal of its death already asks us to stop.
    with suppress(BrokenPipeError):
        _send(fd, {"done": done})


def _wait_for(child: int, receive: int, progress: Progress, asked: Patience) -> Value:
    """Read what the child says until it ends. Whatever happens here, the child is ended and collected."""
    last: dict[str, Any] = {}
    try:
        for message in _messages(child, receive, asked.peek):
            if "done" in message:
                progress(message["done"])
            else:
                last = message
    except BaseException:
        os.kill(child, signal.SIGTERM)  # it ends between two steps
        raise
    finally:
        os.close(receive)
        _, status = os.waitpid(child, 0)
    asked.heard |= last.get("heard", False)
    return _outcome(last, os.waitstatus_to_exitcode(status))


def _messages(child: int, receive: int, stop: Stop) -> Iterator[dict[str, Any]]:
    pending, told = b"", False
    while True:
        if not told and stop():
            told = True
            os.kill(child, signal.SIGTERM)
        if not select.select([receive], [], [], 0.1)[0]:
            continue
        data = os.read(receive, 1 << 20)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _outcome(message: dict[str, Any], status: int) -> Value:
    if "result" in message:
        result: Value = message["result"]
        return result
    if "failure" in message:
        name, what, not_done, hint = message["failure"]
        raise _failure_named(name)(what, not_done=not_done, hint=hint)
    raise OwnerProcessFailed(
        message.get("error") or f"the process that acts for the owner ended with status {status} and without a result",
        hint="run `go-cache-safeguard recover`: it finishes or undoes what was begun",
    )


def _failure_named(name: str) -> type[Failure]:
    kinds = [Failure]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return next((kind for kind in kinds if f"{kind.__module__}.{kind.__qualname__}" == name), OwnerProcessFailed)
