"""Connections of our own to one server, for questions.

Knows:     that each is used by one thread at a time, and that one that failed is thrown away.
Called by: `flows.redis_gate`.
Never:     asks twice what changes something: only questions go through here.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from go_cache_safeguard.redis.client import ReplyLost, Server

_IDLE = 16
_T = TypeVar("_T")


class Links:
    """Connections of our own, each used by one thread at a time. One that failed is thrown away."""

    def __init__(self, connect: Callable[[], Server]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[Server] = []
        self._closed = False

    def ask(self, question: Callable[[Server], _T]) -> _T:
        """Ask something that changes nothing; once more on a new connection if an idle one has died meanwhile."""
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is not None:
            try:
                return self._asked(link, question)
            except ReplyLost:
                self.drop()
        return self._asked(self._connect(), question)

    def drop(self) -> None:
        """Hang up all that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            with link:
                pass

    def close(self) -> None:
        """Hang up; those that are in use end when their question is answered."""
        self._closed = True
        self.drop()

    def _asked(self, link: Server, question: Callable[[Server], _T]) -> _T:
        try:
            answer = question(link)
        except BaseException:
            with link:
                pass
            raise
        with self._lock:
            keep = not self._closed and len(self._idle) < _IDLE
            if keep:
                self._idle.append(link)
        if not keep:
            with link:
                pass
        return answer
