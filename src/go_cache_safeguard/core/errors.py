"""Every way we can fail, and the exit code each has.

Knows:     the bands of exit codes and the root of our exceptions.
Called by: everything; the command line turns a `Failure` into text and an exit code in one place.
Never:     prints, exits, or wraps a finding: what is wrong with a cache is a value (`core.verdict`), not an exception.
Source:    bands after restic (docs 075_scripting), borg (helpers/errors.py) and zizmor (docs/usage.md).

A new failure is a subclass of `Failure` in the room that raises it; `docs/exit-codes.md` is generated from the subclasses.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a script may rely on. A code that is not listed is never permission."""

    DONE = 0
    BUG = 1
    USAGE = 2
    BLOCKED = 10
    HELD = 11
    REFUSED = 12
    COULD_NOT_TELL = 13
    NOTHING_REMOVED = 20
    PARTLY_REMOVED = 21
    PROOF_FAILED = 22
    RESTORE_FAILED = 23
    GO = 30
    UNLAWFUL = 31
    LOCKED = 32
    JOURNAL = 33
    JOURNAL_TAMPERED = 34
    CONFIG = 35
    TARGET = 36
    JOURNAL_SHORTER = 37
    JOURNAL_SIGNATURE = 38
    JOURNAL_FORKED = 39
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One line for the help and the docs."""
        return _MEANING[self]


_MEANING = {
    ExitCode.DONE: "done; nothing was found that forbids anything",
    ExitCode.BUG: "a fault of ours; a report file was written and its path printed",
    ExitCode.USAGE: "the command line cannot be understood",
    ExitCode.BLOCKED: "a check says BLOCK",
    ExitCode.HELD: "the operation is held until a person approves it",
    ExitCode.REFUSED: "refused, rejected, cancelled or expired",
    ExitCode.COULD_NOT_TELL: "something could not be read, so the answer is UNKNOWN",
    ExitCode.NOTHING_REMOVED: "acting failed and nothing was removed",
    ExitCode.PARTLY_REMOVED: "acting failed in the middle; the message says how to put back what was moved",
    ExitCode.PROOF_FAILED: "the proof after acting failed and everything was put back",
    ExitCode.RESTORE_FAILED: "putting back or restoring failed, or not everything came; what is left stays where it is",
    ExitCode.GO: "the go command is missing or failed",
    ExitCode.UNLAWFUL: "the journal is whole, and tells of something that was not agreed to as it has to be",
    ExitCode.LOCKED: "another safeguard works on the same cache",
    ExitCode.JOURNAL: "the journal cannot be read or written",
    ExitCode.JOURNAL_TAMPERED: "the journal was changed by something else than this program",
    ExitCode.CONFIG: "a configuration file or variable is wrong or cannot be trusted",
    ExitCode.TARGET: "the target is not a cache that we know, or cannot be entered safely",
    ExitCode.JOURNAL_SHORTER: "the journal is shorter than it was: its end was cut off, or it was put back to an older state",
    ExitCode.JOURNAL_SIGNATURE: "a checkpoint of the journal is not signed by the journal's key, or a kept one was changed",
    ExitCode.JOURNAL_FORKED: "the journal was rewritten: its records are not those that a checkpoint was signed for",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C or a signal; what had been moved was put back, or the message says what was not",
}


class Failure(Exception):  # noqa: N818 - "Failure" is the house's word; an Error would suggest a bug
    """Something we could not do.

    Attributes:
        id: Stable name for scripts and docs, lower case with dashes.
        exit_code: What the process returns when nobody handles it.
        meaning: One line for the docs.
        what: What happened, to which object.
        not_done: What was *not* done because of it.
        hint: What to do next; empty when there is nothing to advise.
    """

    id: ClassVar[str] = "failure"
    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    meaning: ClassVar[str] = "something failed"

    def __init__(self, what: str, *, not_done: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.not_done = not_done
        self.hint = hint


class UsageFailure(Failure):
    """The command line asks for something that cannot be understood."""

    id = "usage"
    exit_code = ExitCode.USAGE
    meaning = "an argument or a combination of arguments makes no sense"


class IllegalTransition(Failure):
    """An operation was asked to go where the lifecycle has no arrow."""

    id = "illegal-transition"
    exit_code = ExitCode.REFUSED
    meaning = "the operation is in a state from which this cannot be done"


class PlanVoid(Failure):
    """A plan is not, or no longer, what it was made or approved for."""

    id = "plan-void"
    exit_code = ExitCode.REFUSED
    meaning = "the plan file is damaged, was made for another cache, or was executed already"
