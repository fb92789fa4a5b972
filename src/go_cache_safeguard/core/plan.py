"""Exactly what would be removed, and why.

Knows:     the canonical form of a plan, its digest, its totals, and how a damaged plan file is recognised.
Called by: the planners of each feature make one, `flows.clean` executes one, people read one.
Never:     touches the target. A plan is data; executing it is the door's work.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.core.errors import PlanVoid

FORMAT = 1
"""Raised when the meaning of a field changes. A reader refuses a format that it does not know."""


class Item(NamedTuple):
    """One thing that would go.

    Attributes:
        name: Path below the target's root, `/` between parts; of a server: database, `/` and key.
        size: Bytes, apparent.
        stamp: Modification time in nanoseconds since 1970-01-01 UTC when the plan was made: what changed since is skipped. Of a
            server's key: when it ends, in milliseconds, -1 for never, or -2 if it is not there and is to stay so until then.
        reason: Why it goes: the name of the selector.
        digest: SHA-256 of its content when the plan was made, where the plan is about content; else empty.
    """

    name: str
    size: int
    stamp: int
    reason: str
    digest: str = ""


@dataclass(frozen=True)
class Plan:
    """A removal that was decided on and not done.

    Attributes:
        kind: What the target is, for example `go-build-cache`.
        target: Absolute path of the target's root.
        identity: Device and inode of that root, `dev:ino`: a plan for a directory that was replaced is void.
        selectors: What the person asked for, as typed.
        requester: Who asked, as `core.operation` names people.
        made_at: RFC 3339, UTC.
        whole: Bytes in the target when the plan was made.
        items: Sorted by name, each once.
        call: Digest of the one call of a client that the plan is about; empty if it is about none.
    """

    kind: str
    target: str
    identity: str
    selectors: tuple[str, ...]
    requester: str
    made_at: str
    whole: int
    items: tuple[Item, ...]
    call: str = ""

    @cached_property
    def total(self) -> int:
        """Bytes that would go."""
        return sum(item.size for item in self.items)

    @cached_property
    def data(self) -> bytes:
        """The canonical form: what a plan file holds, and what the digest is taken of."""
        reasons = sorted({item.reason for item in self.items})
        number = {reason: at for at, reason in enumerate(reasons)}
        value: dict[str, Value] = {
            "format": FORMAT,
            "kind": self.kind,
            "target": self.target,
            "identity": self.identity,
            "selectors": list(self.selectors),
            "requester": self.requester,
            "made_at": self.made_at,
            "whole": self.whole,
            "total": self.total,
            "reasons": list(reasons),
            "items": [
                [item.name, item.size, item.stamp, number[item.reason], *([item.digest] if item.digest else [])]
                for item in self.items
            ],
        }
        if self.call:
            value["call"] = self.call
        return canonical(value, known=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form: 64 hexadecimal digits. An approval covers exactly this."""
        return digest(self.data)


def parse_plan(data: bytes) -> Plan:
    """Read a plan file.

    Raises:
        PlanVoid: The bytes are not the canonical form of a plan that we know.
    """
    try:
        value: Any = json.loads(data)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise PlanVoid(
                "this is not a plan file of a format that we know",
                not_done="nothing was removed",
                hint="make a new plan with `go-cache-safeguard plan -o plan.json`",
            )
        reasons = value["reasons"]
        items = tuple([_item(fields, reasons) for fields in value["items"]])
        plan = Plan(
            kind=_text(value, "kind"),
            target=_text(value, "target"),
            identity=_text(value, "identity"),
            selectors=tuple(value["selectors"]),
            requester=_text(value, "requester"),
            made_at=_text(value, "made_at"),
            whole=_number(value, "whole"),
            items=items,
            call=_text(value, "call") if "call" in value else "",
        )
        same = plan.data == data.rstrip(b"\n")
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise PlanVoid(
            f"the plan file is damaged: {error}", not_done="nothing was removed", hint="make a new plan"
        ) from error
    names = [item.name for item in items]
    if not same or names != sorted(set(names)):
        raise PlanVoid(
            "the plan file is not in the form that we write: it was edited or damaged",
            not_done="nothing was removed",
            hint="make a new plan; a plan cannot be edited, only made again",
        )
    return plan


def _item(fields: Any, reasons: list[str]) -> Item:
    name, size, stamp, at, *digests = fields
    if type(name) is not str or type(size) is not int or type(stamp) is not int:
        raise TypeError("an item is not a name, a size and a time")
    if len(digests) > 1 or not all(type(one) is str for one in digests):
        raise TypeError("an item has more than a digest")
    return Item(name, size, stamp, reasons[at], *digests)


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str):
        raise TypeError(f"{key} is not text")
    return text


def _number(value: Mapping[str, Any], key: str) -> int:
    number = value[key]
    if type(number) is not int:
        raise TypeError(f"{key} is not a whole number")
    return number
