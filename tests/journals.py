"""Records as a journal would hold them, for tests of what is folded from them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from go_cache_safeguard.journal.record import NO_PREV, Record

NOON = 1_767_355_200
"""2026-01-02T12:00:00Z."""


class Told:
    """Writes records one after the other; nothing is stored."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def __call__(
        self, op: str | None, step: str, at_s: int, data: Mapping[str, Any] | None = None, *, actor: str = "uid:1000(a)"
    ) -> Record:
        at = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        seq = len(self.records) + 1
        record = Record("ab" * 16, seq, NO_PREV, at, seq, "b", actor, "h", "0.1", op, step, dict(data or {}))
        self.records.append(record)
        return record

    def held(self, op: str, at_s: int = NOON, **data: Any) -> None:
        """An operation is asked for and held."""
        about = {"kind": "go-build-cache", "target": "/cache", "digest": "ab" * 32, "items": 3, "bytes": 700}
        self(op, "REQUESTED", at_s, {**about, **data})
        self(op, "CHECKED", at_s)
        self(op, "HELD", at_s, {"reasons": ["too much"], "expires_s": at_s + 86_400})


def op_of(number: int) -> str:
    """A name for an operation."""
    return f"op_{number:016}"
