"""What a running proxy says of itself: one line for each event that matters.

Knows:     how an event looks for people (stderr), for a log (JSON lines on stderr) and for machines (JSON lines on stdout), and that a
           flood of one kind is summed up.
Called by: `flows.redis_proxy` and what it starts, from any thread.
Never:     lets an odd byte of a client through; waits.
"""

import json
import os
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from go_cache_safeguard.telemetry.logs import json_line

_EVERY_S = 10.0
_AT_ONCE = 10
_FLOODS = frozenset({"closed", "refused", "held", "hook"})
SCHEMA = "go-cache-safeguard/redis-proxy-event/1"


@dataclass(slots=True)
class _Flood:
    """How often one kind of event came lately."""

    since: float = 0.0
    count: int = 0


@dataclass(slots=True)
class Voice:
    """Says events.

    Attributes:
        as_json: As JSON lines on stdout, otherwise as text on stderr.
        worker: Which of several workers speaks; None for the only process, or their parent.
        log_json: Instead of the text on stderr, JSON lines there: `log.format`.
    """

    as_json: bool = False
    worker: int | None = None
    log_json: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _floods: dict[str, _Flood] = field(default_factory=dict)

    def tell(self, event: str, text: str, **more: object) -> None:
        """Say one thing.

        Args:
            event: Its kind, one word.
            text: For people.
            more: For machines.
        """
        left_out = self._left_out(event)
        if left_out is None:
            return
        if left_out:
            self._write(event, f"{left_out} more events of this kind were not shown", {"left_out": left_out})
        self._write(event, text, more)

    def _left_out(self, event: str) -> int | None:
        """How many events of this kind were left out before this one; None if this one is left out, too."""
        if event not in _FLOODS:
            return 0
        now = time.monotonic()
        with self._lock:
            flood = self._floods.setdefault(event, _Flood(now))
            left_out = 0
            if now - flood.since >= _EVERY_S:
                left_out, flood.since, flood.count = max(0, flood.count - _AT_ONCE), now, 0
            flood.count += 1
            return None if flood.count > _AT_ONCE else left_out

    def _write(self, event: str, text: str, more: dict[str, object]) -> None:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        who = {} if self.worker is None else {"worker": self.worker}
        if self.log_json and not self.as_json:
            level = event if event in {"warning", "error"} else "info"
            line, out = json_line(level, "redis-proxy", text, {"event": event, **who, **more}), 2
        elif self.as_json:
            value = {"schema": SCHEMA, "at": at, "event": event, **who, "text": text, **more}
            line, out = json.dumps(value, ensure_ascii=True, default=str), 1
        else:
            who_text = "" if self.worker is None else f" worker {self.worker}:"
            line, out = f"{at} {event}:{who_text} {_plain(text)}", 2
        try:
            os.write(out, line.encode("ascii", "backslashreplace") + b"\n")  # one call: lines of workers never mix
        except OSError:
            return  # nobody listens; the guard goes on


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
