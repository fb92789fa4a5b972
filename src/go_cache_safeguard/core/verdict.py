"""What a check found out.

Knows:     the four outcomes, their order, and what a verdict must say.
Called by: every check, `core.policy`, the renderers.
Never:     decides anything: that is `core.policy`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.canonical import Value


class Outcome(StrEnum):
    """From best to worst. What could not be read is UNKNOWN, never PASS."""

    PASS = "PASS"  # noqa: S105 - not a password
    WARN = "WARN"
    UNKNOWN = "UNKNOWN"
    BLOCK = "BLOCK"


_ORDER = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's answer.

    Attributes:
        check: Id of the check, for example `permissions`.
        outcome: See `Outcome`.
        summary: One sentence for a person.
        evidence: Lines that show why, most telling first. Names in them are already printable.
        remedy: The exact commands or steps that would help; empty when there is nothing to do.
    """

    check: str
    outcome: Outcome
    summary: str
    evidence: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "check": self.check,
            "outcome": str(self.outcome),
            "summary": self.summary,
            "evidence": list(self.evidence),
            "remedy": list(self.remedy),
        }


def worst(verdicts: Iterable[Verdict]) -> Outcome:
    """The worst outcome; UNKNOWN for no verdict at all, because nothing was proved."""
    return max((verdict.outcome for verdict in verdicts), key=_ORDER.index, default=Outcome.UNKNOWN)
