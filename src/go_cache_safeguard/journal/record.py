"""One record of the journal, and the bytes it is stored and hashed as.

Knows:     the fields of a record, their form, and each way in which stored bytes are not a record.
Called by: `journal.store` writes and reads with it, `journal.chain` judges with it.
Never:     asks who, where or when: all of that is told.
Source:    the leaf hash is the one of RFC 6962 section 2.1: SHA-256 of a zero byte and the bytes as stored.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from go_cache_safeguard.core.canonical import Value, canonical
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import is_operation_id

FORMAT = 1
"""Raised when the meaning of a field changes. A reader refuses a format that it does not know."""

NO_PREV = "0" * 64
"""What the first record of a journal has for `prev`."""

_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LOG = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NOTE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_FIELDS = frozenset(
    ("v", "log", "seq", "prev", "at", "mono_ns", "boot", "actor", "host", "version", "op", "step", "data")
)


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened.

    Attributes:
        log: 32 hexadecimal digits, drawn once for each journal: a record of another journal is foreign here.
        seq: 1 for the first record, then dense.
        prev: 64 hexadecimal digits, the hash of the record before; `NO_PREV` in the first.
        at: RFC 3339, UTC, six digits of a second: `2026-01-02T03:04:05.000006Z`.
        mono_ns: Nanoseconds of the monotonic clock; comparable only within one boot.
        boot: Which boot that was.
        actor: Who did it, for example `uid:1000(alice)`.
        host: Name of the machine.
        version: Of the program that wrote the record.
        op: The operation it belongs to, or None.
        step: The name of a `State` if the record moves its operation there, else a word such as `config`.
        data: What there is to say, as `core.canonical` allows it.
    """

    log: str
    seq: int
    prev: str
    at: str
    mono_ns: int
    boot: str
    actor: str
    host: str
    version: str
    op: str | None
    step: str
    data: Mapping[str, Any]

    @property
    def state(self) -> State | None:
        """The state that this record enters, or None for a note."""
        return State(self.step) if self.step in State.__members__ else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One record that is to be written.

    Attributes:
        step: The name of a state, or of a note.
        data: What there is to say.
        op: The operation; None for a note about none.
        actor: On whose behalf, if that is not whoever opened the journal: a server files what somebody elsewhere asks for.
    """

    step: str
    data: Mapping[str, Value]
    op: str | None = None
    actor: str = ""

    @property
    def to(self) -> State | None:
        """The state to enter; None for a note."""
        return State(self.step) if self.step in State.__members__ else None


def record_bytes(record: Record) -> bytes:
    """The one form of a record: what is stored, and what its hash is taken of.

    Raises:
        TypeError: `data` holds something that has no canonical form.
        ValueError: A field has not the form that `parse_record` asks for.
    """
    value: dict[str, Value] = {"v": FORMAT, "data": dict(record.data)}
    value |= {"log": record.log, "seq": record.seq, "prev": record.prev, "op": record.op, "step": record.step}
    value |= {"at": record.at, "mono_ns": record.mono_ns, "boot": record.boot}
    value |= {"actor": record.actor, "host": record.host, "version": record.version}
    why = _damage(value)
    if why:
        raise ValueError(why)
    return canonical(value)


def parse_record(data: bytes) -> Record | str:
    """Read stored bytes.

    Damage is a result, not an exception: whoever audits a journal wants to see all of it.

    Returns:
        The record, or why these bytes are not one that we wrote.
    """
    try:
        value: Any = json.loads(data)
        same = canonical(value) == data
    except (ValueError, TypeError, RecursionError):
        return "the bytes are not canonical JSON"
    if not same:
        return "the bytes are not in the form that we write"
    why = _damage(value)
    if why:
        return why
    del value["v"]
    return Record(**value)


def leaf_hash(data: bytes) -> bytes:
    """The hash of one record, 32 bytes."""
    return sha256(b"\x00" + data).digest()


def is_note_step(step: str) -> bool:
    """Whether a note may be called this: small words joined by dashes, so that no `State` is ever one."""
    return _NOTE.fullmatch(step) is not None


def _damage(value: Any) -> str:
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        return "the fields are not those of a record"
    if type(value["v"]) is not int or value["v"] != FORMAT:
        return "the format of the record is not one that we know"
    for name, least in (("seq", 1), ("mono_ns", 0)):
        if type(value[name]) is not int or value[name] < least:
            return f"{name} is not a number of {least} or more"
    for name, form in (("log", _LOG), ("prev", _HASH), ("at", _AT)):
        if not isinstance(value[name], str) or not form.fullmatch(value[name]):
            return f"{name} has not the form that we write"
    for name in ("boot", "actor", "host", "version", "step"):
        if not isinstance(value[name], str):
            return f"{name} is not text"
    if not isinstance(value["data"], dict):
        return "data is not an object"
    return _bad_step(value["op"], value["step"])


def _bad_step(op: object, step: str) -> str:
    if op is not None and not (isinstance(op, str) and is_operation_id(op)):
        return "op is not the name of an operation"
    if step in State.__members__:
        return "" if op else "a state without an operation"
    return "" if is_note_step(step) else "step is neither a state nor a word that we would write"
