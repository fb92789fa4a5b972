"""A gate that also heeds events: whoever is the likely cause of one does not go on.

Knows:     that an event is a reason to pause and never one to roll back: what it rests on is a likelihood, and the signals rule about harm.
Called by: `flows.golden.ask_gate`.
Never:     makes a ruling better, or counts a suspicion as a strike.
"""

from collections.abc import Mapping
from dataclasses import replace

from go_cache_safeguard.signals.gate import Ruling, Verdict


def heeding(rulings: Mapping[str, Ruling], suspected: Mapping[str, str]) -> dict[str, Ruling]:
    """Rulings with suspicions: what would have been an ADVANCE is a PAUSE.

    Args:
        rulings: By service.
        suspected: Why a service speaks against going on; one that is not watched holds everything up as well.
    """
    reasons = {name: suspected.get(name, "") for name in rulings}
    elsewhere = [f"{name}: {why}" for name, why in sorted(suspected.items()) if name not in rulings]
    found = {}
    for name, ruling in rulings.items():
        more = tuple(filter(None, (reasons[name], *elsewhere)))
        if not more:
            found[name] = ruling
        elif ruling.verdict is Verdict.ADVANCE:
            found[name] = replace(ruling, verdict=Verdict.PAUSE, reasons=more)
        else:
            found[name] = replace(ruling, reasons=(*ruling.reasons, *more))
    return found
