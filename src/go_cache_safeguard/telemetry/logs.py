"""Lines of a log as JSON, so that whoever reads one finds the trace it belongs to.

Knows:     the form of a line; that an operation's trace follows from its id.
Called by: `web.server`, `flows.redis_voice` and `flows.cacheprog_start`, if `log.format` is `json`.
Never:     writes anything; breaks a line in two, whatever a message holds.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from go_cache_safeguard.telemetry.names import ids_of
from go_cache_safeguard.telemetry.span import current_ids

NO_MORE: Mapping[str, object] = MappingProxyType({})


def json_line(
    level: str, source: str, message: str, more: Mapping[str, object] = NO_MORE, *, at_s: float | None = None
) -> str:
    """One line, without its end.

    Args:
        level: `info`, `warning`, `error`.
        source: Which part speaks.
        message: For people.
        more: What else there is to say. An operation is `op`.
        at_s: When, seconds since 1970-01-01 UTC; None for now.
    """
    at = datetime.now(UTC) if at_s is None else datetime.fromtimestamp(at_s, UTC)
    trace_id, span_id = current_ids()
    op = more.get("op")
    if not trace_id and isinstance(op, str):
        ids = ids_of(op)
        trace_id, span_id = ids.trace.hex(), ids.root.hex()
    found = {"trace_id": trace_id, "span_id": span_id} if trace_id else {}
    time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    value = {"time": time, "level": level, "source": source, "message": message, **more, **found}
    return json.dumps(value, ensure_ascii=True, default=str)


class JsonLines(logging.Formatter):
    """The same for whoever logs with `logging`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; of an error that is attached, what kind it is: its text may hold values."""
        error = record.exc_info[0] if record.exc_info else None
        more = NO_MORE if error is None else {"error": error.__name__}
        return json_line(record.levelname.lower(), record.name, record.getMessage(), more, at_s=record.created)
