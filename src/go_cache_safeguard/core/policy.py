"""From verdicts to a decision.

Knows:     what a site wants to happen on BLOCK, UNKNOWN and WARN, and how large a removal may be without a person.
Called by: `flows.clean`.
Never:     reads a file or the clock; the same arguments give the same decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.decision import Allow, Decision, Hold, Refuse
from go_cache_safeguard.core.size import Share, format_size
from go_cache_safeguard.core.verdict import Outcome, Verdict

HALF = Share(500_000)


class Then(StrEnum):
    """What to do about an outcome."""

    ALLOW = "allow"
    HOLD = "hold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Policy:
    """The site's rules.

    Attributes:
        on_block: For a verdict BLOCK.
        on_unknown: For a verdict UNKNOWN, and for no verdict at all.
        on_warn: For a verdict WARN.
        hold_share: A plan that removes more than this share of the cache's bytes is held.
        hold_bytes: A plan that removes more than this many bytes is held; 0 means no such limit.
    """

    on_block: Then = Then.HOLD
    on_unknown: Then = Then.HOLD
    on_warn: Then = Then.ALLOW
    hold_share: Share = HALF
    hold_bytes: int = 0


def decide(policy: Policy, verdicts: Sequence[Verdict], *, removing: int, of: int) -> Decision:
    """Judge a plan.

    Args:
        policy: The site's rules.
        verdicts: What the checks said.
        removing: Bytes that the plan would remove.
        of: Bytes in the cache before.

    Returns:
        Refuse if anything asks for it, else Hold if anything asks for it, else Allow.
    """
    rules = {Outcome.BLOCK: policy.on_block, Outcome.UNKNOWN: policy.on_unknown, Outcome.WARN: policy.on_warn}
    asked: dict[Then, list[str]] = {Then.ALLOW: [], Then.HOLD: [], Then.REFUSE: []}
    for verdict in verdicts:
        then = rules.get(verdict.outcome, Then.ALLOW)
        asked[then].append(f"{verdict.check} says {verdict.outcome}: {verdict.summary}")
    if not verdicts:
        asked[policy.on_unknown].append("no check was run, so nothing was proved")
    if of and removing > policy.hold_share.of(of):
        percent = removing * 100 // of
        limit = policy.hold_share.per_million / 10_000
        asked[Then.HOLD].append(f"the plan removes {percent}% of the cache; more than {limit:g}% is held")
    if policy.hold_bytes and removing > policy.hold_bytes:
        limit_text = format_size(policy.hold_bytes)
        asked[Then.HOLD].append(f"the plan removes {format_size(removing)}; more than {limit_text} is held")
    if asked[Then.REFUSE]:
        return Refuse(tuple(asked[Then.REFUSE]))
    if asked[Then.HOLD]:
        return Hold(tuple(asked[Then.HOLD]))
    return Allow(tuple(asked[Then.ALLOW]))
