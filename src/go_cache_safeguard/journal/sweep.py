"""A journal that is as it should be, recognised quickly.

Knows:     the one byte form of a record well enough to check it without building it, and what a run of rows leaves for later: hashes of
           all records, and those few that say what was asked, agreed and done.
Called by: `journal.store`, and its helper processes, for a run of rows each.
Never:     says what is wrong: at the first row that is not surely right it gives up, and `journal.chain` looks slowly and tells.
"""

import json.encoder
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from json import JSONDecoder, JSONEncoder
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple, NoReturn

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.journal.chain import Head, Row
from go_cache_safeguard.journal.law import NOTES, Act, arrows_hold, judged
from go_cache_safeguard.journal.record import NO_PREV

_TEXT = rb'"[ !#-\[\]-\x7f]*"'
_BEGIN = re.compile(
    rb'\{"actor":(' + _TEXT + rb'),"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","boot":(' + _TEXT + rb'),"data":(?=\{)'
)
_END = re.compile(
    rb',"host":' + _TEXT + rb',"log":"([0-9a-f]{32})","mono_ns":(0|[1-9]\d*),"op":(?:null|"(op_[0-9a-z]{16})"),'
    rb'"prev":"([0-9a-f]{64})","seq":([1-9]\d*),"step":"([A-Za-z0-9_-]+)","v":1,"version":' + _TEXT + rb"\}"
)
_LAST = b',"host":"'
_NOTE = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)


def _no_float(text: str) -> NoReturn:
    raise ValueError(text)


def _writer() -> Callable[[Any], str]:
    """What writes a value as `core.canonical` does, without what `JSONEncoder.encode` builds anew for each value."""
    encoder = JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without it
        return encoder.encode
    flags = (encoder.sort_keys, encoder.skipkeys, encoder.allow_nan)
    write = make(None, encoder.default, encode_basestring_ascii, None, ":", ",", *flags)
    return lambda value: "".join(write(value, 0))


_read = JSONDecoder(parse_float=_no_float, parse_constant=_no_float).raw_decode
_write = _writer()
_STATES: Mapping[bytes, str] = {str(it).encode(): str(it) for it in State}


class Run(NamedTuple):
    """Rows that follow each other and are as they should be.

    Attributes:
        log: Of which journal.
        first: Number of the first record.
        prev: 64 hexadecimal digits, what the first one says is the hash of the one before.
        begins: Boot and nanoseconds of the first record.
        ends: The same of the last one.
        leaves: 32 bytes for each record, its hash.
        acts: What the law is about, in order.
    """

    log: str
    first: int
    prev: str
    begins: tuple[str, int]
    ends: tuple[str, int]
    leaves: bytes
    acts: list[Act]

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self.first + len(self.leaves) // 32 - 1

    @property
    def hash(self) -> str:
        """64 hexadecimal digits, of the last record."""
        return self.leaves[-32:].hex()


def join(runs: Sequence[Run], head: Head) -> Run | None:
    """Put runs together to a whole journal.

    Args:
        runs: In order.
        head: The end of the journal as it was seen last; records behind it are fine.

    Returns:
        The journal; None if it is not surely right.
    """
    before: Run | None = None
    for run in runs:
        if not (_begins(run) if before is None else _follows(before, run)):
            return None
        before = run
    if before is None:
        return None
    leaves = b"".join([run.leaves for run in runs])
    whole = Run(before.log, 1, NO_PREV, runs[0].begins, before.ends, leaves, [it for run in runs for it in run.acts])
    return whole if _reaches(whole, head) and arrows_hold(whole.acts) else None


def _begins(run: Run) -> bool:
    return (run.first, run.prev) == (1, NO_PREV)


def _follows(before: Run, run: Run) -> bool:
    back = before.ends[0] == run.begins[0] and run.begins[1] < before.ends[1]
    return (run.log, run.first, run.prev) == (before.log, before.last + 1, before.hash) and not back


def _reaches(run: Run, head: Head) -> bool:
    there = run.leaves[(head.seq - 1) * 32 : head.seq * 32].hex() if head.seq else NO_PREV
    return head.log == run.log and head.seq <= run.last and there == head.hash


def sweep(rows: Iterable[Row | tuple[int, str | None, bytes, bytes]]) -> Run | None:
    """Go through rows.

    Args:
        rows: One or more, in the order of their keys.

    Returns:
        What they are; None if there is none, or if one of them is not surely right, by itself or after the one before it.
    """
    leaves: list[bytes] = []
    found: list[Act] = []
    add = _adding(found)
    expected, log, boot, mono, before = 0, b"", b"", 0, b""
    begins, first, prev = ("", 0), 0, ""
    for seq, op, body, kept in rows:
        leaf = sha256(b"\0" + body).digest()
        start, end = _BEGIN.match(body), body.rfind(_LAST)
        rest = _END.fullmatch(body, end) if end > 0 else None
        if leaf != kept or start is None or rest is None:
            return None
        of, clock, about, known, number, step = rest.groups()
        data = _canonical(body[start.end() : end])
        actor, at = start.groups()
        now = int(clock)
        if not expected:
            log, first, prev = of, seq, known.decode()
            begins, expected = (at.decode(), now), seq
        elif of != log or known != before or (at == boot and now < mono):
            return None
        if data is None or not (seq == expected == int(number) and op == (about and about.decode())):
            return None
        name = _STATES.get(step) or step.decode()
        if not (op if step in _STATES else _NOTE.fullmatch(name)):
            return None
        if step in _STATES or name in NOTES:
            add(seq, op, name, actor, data)
        leaves.append(leaf)
        boot, mono, before, expected = at, now, leaf.hex().encode(), seq + 1
    if not leaves:
        return None
    return Run(log.decode(), first, prev, begins, (boot.decode(), mono), b"".join(leaves), found)


def _adding(found: list[Act]) -> Callable[[int, str | None, str, bytes, dict[str, Any]], None]:
    """What picks what the law needs of a record. Texts that come again are kept once: so they are compared and sent faster."""
    actors: dict[bytes, str] = {}
    ops: dict[str | None, str | None] = {}
    digests: dict[str, Mapping[str, Any]] = {}
    new: Callable[[Any, Iterable[Any]], Act] = tuple.__new__

    def add(seq: int, op: str | None, step: str, actor: bytes, data: dict[str, Any]) -> None:
        who = actors.get(actor)
        if who is None:
            who = actors[actor] = actor[1:-1].decode()
        told = judged(data)
        if len(told) == 1 and type(digest := told.get("digest")) is str:  # most say nothing else
            told = digests.setdefault(digest, told)
        found.append(new(Act, (seq, ops.setdefault(op, op), step, who, told)))

    return add


def _canonical(data: bytes) -> dict[str, Any] | None:
    """Read an object; None if it is not one in its one form (`core.canonical`)."""
    try:
        text = data.decode("ascii")
        value, end = _read(text)
        same = end == len(text) and _write(value) == text
    except (ValueError, RecursionError):
        return None
    return value if same and type(value) is dict else None
