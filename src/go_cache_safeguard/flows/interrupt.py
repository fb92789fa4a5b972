"""Ctrl-C that leaves things whole.

Knows:     that the first signal asks to stop between two steps, and the second one insists.
Called by: flows that move or remove things.
Never:     swallows a signal: whoever was asked to stop says so in the result.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question.

    Args:
        say: Told when the first signal comes.

    Yields:
        A function that says whether to stop at the next safe place. A second SIGINT raises KeyboardInterrupt at once:
        then `recover` puts things right.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals come to the main thread only
        return
    asked = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True
        say(
            "stopping at the next safe place; press Ctrl-C again to leave at once (then run `go-cache-safeguard recover`)"
        )

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def at_once() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt: for work that may be given up at any point, inside of `stoppable`, too.

    So it ends what it started and removes what it made, as `finally` does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread only
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
