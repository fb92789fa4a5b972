"""A lost head file of the journal, written again after a person has looked.

Knows:     when only the head is lost, what can vouch for the end of the journal instead, and what is written down about it.
Called by: the command line's `audit repair`.
Never:     repairs a record or a chain: what was changed stays as it is, and stays visible. Never guesses over what a checkpoint or a
           witness knows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.audit import Audit, audit_rest
from go_cache_safeguard.journal.chain import BreakKind, Head

if TYPE_CHECKING:
    from go_cache_safeguard.journal.records import Records


class NotRepairable(Failure):
    """There is nothing to repair, or more than a head is wrong."""

    id = "not-repairable"
    exit_code = ExitCode.JOURNAL_TAMPERED
    meaning = "the journal's head file is not lost, or more than it is wrong: nothing here is repaired by guessing"


@dataclass(frozen=True, slots=True)
class Repair:
    """What would be done.

    Attributes:
        head: What would be written.
        at: When the last record was written, as it says.
        step: What it is.
        actor: Who wrote it.
        audit: What the rest of the journal, its checkpoints and its witnesses say.
    """

    head: Head
    at: str
    step: str
    actor: str
    audit: Audit


def plan_repair(config: Config, journal: "Records") -> Repair:
    """Look whether the head can be written again.

    Raises:
        NotRepairable: And why.
    """
    head = journal.lost_head()
    if head is None:
        raise _no("the head file is there and can be read, or there is no record")
    found = audit_rest(config, journal)
    others = [it for it in found.breaks if it.kind is not BreakKind.HEAD]
    if others:
        raise _no(f"more than the head is wrong: {others[0].text}")
    last = next(iter(journal.records(head.seq - 1)), None)
    if last is None:
        raise _no(f"record {head.seq} cannot be read")
    return Repair(head, last.at, last.step, last.actor, found)


def repair(journal: "Records", plan: Repair) -> None:
    """Write the head, and a record about it.

    Raises:
        JournalTampered: The journal changed since the plan was made.
    """
    journal.restore_head(plan.head)
    signed = plan.audit.signed
    journal.note("head-repaired", {"seq": plan.head.seq, "hash": plan.head.hash, "signed": signed})


def _no(why: str) -> NotRepairable:
    return NotRepairable(why, not_done="nothing was repaired", hint="see `go-cache-safeguard audit verify`")
