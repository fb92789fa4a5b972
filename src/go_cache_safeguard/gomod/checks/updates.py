"""Are there newer versions, and was what is in use withdrawn?

Knows:     what a retracted or deprecated module means; that a newer version alone is no fault.
Called by: `flows.drift`, with the answers that `gomod.updates` read.
Never:     says that there is nothing newer when nobody was asked. It goes online, so it is no check that stands before removals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gomod.updates import Answer, Simulated, hint_for

NAME = "mod-updates"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """What asking brought.

    Attributes:
        answers: One for each module that somebody could know about.
        simulated: What taking newer versions would change.
        not_simulated: How many newer versions were not tried.
        local: How many modules are replaced by directories, of which nobody can know.
        source: GOPROXY, without passwords.
        trouble: Why nobody was asked at all; empty if somebody was.
        strict: Whether a withdrawn version blocks: the setting drift.verdict.
    """

    answers: Sequence[Answer]
    simulated: Sequence[Simulated] = ()
    not_simulated: int = 0
    local: int = 0
    source: str = ""
    trouble: str = ""
    strict: bool = False


def judge(facts: UpdateFacts) -> Verdict:
    """A withdrawn version warns or blocks; silence is UNKNOWN; a newer version is told and nothing more."""
    mute = [answer for answer in facts.answers if not answer.asked]
    bad = [answer for answer in facts.answers if answer.asked and (answer.is_retracted or answer.deprecated)]
    newer = [answer for answer in facts.answers if answer.asked and answer.newer and answer not in bad]
    failed = [tried for tried in facts.simulated if tried.trouble]
    return Verdict(
        check=NAME,
        outcome=_outcome(unknown=bool(mute or failed or facts.trouble), bad=bool(bad), strict=facts.strict),
        summary=_summary(facts, mute=len(mute), bad=len(bad)),
        evidence=(
            *([facts.trouble] if facts.trouble else []),
            *_mute_lines(mute),
            *_some([answer.line() for answer in (*bad, *sorted(newer, key=lambda answer: not answer.direct))]),
            *_some([tried.line() for tried in facts.simulated]),
            *_notes(facts),
        ),
        remedy=tuple(
            dict.fromkeys(
                (
                    *filter(None, (hint_for(text) for text in _troubles(facts, mute, failed))),
                    *(["move away from what was retracted or deprecated: go get MODULE@VERSION"] if bad else []),
                )
            )
        ),
    )


def _outcome(*, unknown: bool, bad: bool, strict: bool) -> Outcome:
    if bad and strict:
        return Outcome.BLOCK
    if unknown:
        return Outcome.UNKNOWN
    return Outcome.WARN if bad else Outcome.PASS


def _summary(facts: UpdateFacts, *, mute: int, bad: int) -> str:
    if facts.trouble:
        return "nobody could be asked for newer versions"
    newer = sum(bool(answer.newer) for answer in facts.answers)
    asked = len(facts.answers) - mute
    parts = [f"newer versions: {newer} of {asked} modules"] if asked or not mute else []
    if bad:
        parts.append(f"retracted or deprecated: {bad}")
    if mute:
        parts.insert(0, f"no answer for {mute} of {len(facts.answers)} modules")
    return ", ".join(parts)


def _mute_lines(mute: Sequence[Answer]) -> list[str]:
    """Modules with the same trouble share a line."""
    alike: dict[str, list[str]] = {}
    for answer in mute:
        alike.setdefault(answer.trouble, []).append(answer.path)
    lines = []
    for trouble, paths in alike.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        lines.append(f"{', '.join(paths[:3])}{more}: not known: {trouble}")
    return _some(lines)


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - _SHOWN} more; --json has them all"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]


def _notes(facts: UpdateFacts) -> list[str]:
    notes = []
    if facts.not_simulated:
        notes.append(f"{facts.not_simulated} newer versions were not tried; --simulate N tries N of them")
    if facts.local:
        notes.append(f"{facts.local} modules are replaced by directories; nobody can know newer versions of them")
    if facts.source and any(answer.asked for answer in facts.answers):
        notes.append(f"asked: {facts.source}")
    return notes


def _troubles(facts: UpdateFacts, mute: Sequence[Answer], failed: Sequence[Simulated]) -> list[str]:
    return [facts.trouble, *(answer.trouble for answer in mute), *(tried.trouble for tried in failed)]
