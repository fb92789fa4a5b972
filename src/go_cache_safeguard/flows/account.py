"""Receipts that leave the house: written from the journal, and checked against it.

Knows:     where a receipt file may be written, and what a check of one compares.
Called by: the command line's `clean --receipt`, `ops receipt` and `audit verify --receipt`.
Never:     overwrites a file; believes a receipt: it is made again from the journal's own records.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.journal.account import FORMAT, Difference, account, account_bytes, differences

if TYPE_CHECKING:
    from go_cache_safeguard.journal.records import Records

_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """A receipt beside the journal.

    Attributes:
        op: The operation that it tells of.
        state: Where the operation stood when the receipt was written.
        now: Where it stands now.
        differences: Where the journal says something else; empty if nowhere.
    """

    op: str
    state: str
    now: State
    differences: tuple[Difference, ...]

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        found: list[Value] = [
            {"where": one.where, "told": one.told, "journal": one.journal} for one in self.differences
        ]
        return {"op": self.op, "state": self.state, "now": str(self.now), "differences": found}


def account_of(journal: "Records", op: str) -> bytes:
    """The receipt of an operation as it stands now.

    Raises:
        NoSuchOperation: There is none of this name.
    """
    journal.operation(op)
    return account_bytes(list(journal.records(op=op)))


def write_account(journal: "Records", op: str, path: Path) -> None:
    """Write the receipt of an operation as it stands now.

    Raises:
        NoSuchOperation: There is none of this name.
        UsageFailure: The file exists or cannot be made.
    """
    data = account_of(journal, op)
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise UsageFailure(
            f"{path} cannot be written: {error.strerror}",
            not_done=f"no receipt was written; {op} is as it was",
            hint=f"`go-cache-safeguard ops receipt {op} -o FILE` writes it at any time",
        ) from error


def refuse_taken(path: Path) -> None:
    """Say early that a receipt could not be written here.

    Raises:
        UsageFailure: The file exists, or its folder does not.
    """
    if path.exists() or not path.parent.is_dir():
        why = "exists already" if path.exists() else f"cannot be made: there is no folder {path.parent}"
        raise UsageFailure(f"{path} {why}", not_done="nothing was done", hint="give --receipt a new file")


def check_account(journal: "Records", path: Path) -> Checked:
    """Compare a receipt with what the journal says up to the same record.

    Raises:
        UsageFailure: The file cannot be read or is no receipt.
        NoSuchOperation: The journal does not know its operation.
    """
    told = _read(path)
    op, last = str(told["op"]), told["journal"]["seq"]
    now = journal.operation(op)
    records = [record for record in journal.records(op=op) if record.seq <= last]
    found = differences(told, account(records)) if records else [Difference("journal.seq", str(last), "no such record")]
    return Checked(op, str(told.get("state")), now.state, tuple(found))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT)
        told: Any = json.loads(data)
        if told["format"] == FORMAT and is_operation_id(told["op"]) and type(told["journal"]["seq"]) is int:
            return dict(told)
    except OSError as error:
        raise UsageFailure(f"{path} cannot be read: {error.strerror}", not_done="nothing was compared") from error
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise UsageFailure(
        f"{path} is not a receipt of a format that we know",
        not_done="nothing was compared",
        hint="receipts are written by `clean --receipt FILE` and `ops receipt OP -o FILE`",
    )
