"""A gate that heeds events."""

from go_cache_safeguard.signals.gate import Looks, Ruling, Verdict
from go_cache_safeguard.signals.heed import heeding

_GOOD = Ruling(Verdict.ADVANCE, ("calm",), Looks(3))


def test_a_suspicion_makes_a_pause_of_an_advance_and_is_no_strike() -> None:
    found = heeding({"pay": _GOOD, "cart": _GOOD}, {"pay": "it began then"})
    assert (found["pay"].verdict, found["pay"].reasons, found["pay"].looks) == (
        Verdict.PAUSE,
        ("it began then",),
        Looks(3),
    )
    assert found["cart"] == _GOOD
    assert heeding({"pay": _GOOD}, {}) == {"pay": _GOOD}


def test_a_suspicion_about_somebody_else_holds_up_everybody_and_nothing_gets_better() -> None:
    bad = Ruling(Verdict.ROLL_BACK, ("breach",), breached=True)
    found = heeding({"pay": _GOOD, "cart": bad}, {"search": "why"})
    assert found["pay"].verdict is Verdict.PAUSE
    assert (found["cart"].verdict, found["cart"].breached) == (Verdict.ROLL_BACK, True)
    assert found["cart"].reasons == ("breach", "search: why")
