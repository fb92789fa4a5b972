"""`gocache.checks.tally`: a count with examples."""

from go_cache_safeguard.gocache.checks.tally import Tally


def test_all_are_counted_and_the_first_three_named() -> None:
    tally = Tally()
    assert not tally
    for name in "abcde":
        tally = tally.plus(name)
    assert tally
    assert tally.line("things") == "5 things: a, b, c, ..."
    assert Tally(1, ("a",)).line("thing") == "1 thing: a"
    assert Tally(4).line("things") == "4 things"
