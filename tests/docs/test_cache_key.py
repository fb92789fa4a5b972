"""The page of what is in the cache key is complete, and says what was found by hand before."""

import pytest

from docs.generate import ROOT
from go_cache_safeguard.gocache.matrix import MARK, all_names, dimensions_on
from matrixfacts import BESIDE, FACTS

PAGE = (ROOT / "docs" / "cache-key.md").read_text()
ROWS = {
    cells[0].strip("`"): tuple(cells[2:])
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def test_the_page_was_made_by_the_tool_and_has_every_dimension() -> None:
    assert PAGE.startswith(MARK)
    assert dimensions_on(PAGE) == all_names(), "run `make matrix`"


def test_every_dimension_was_found_by_hand_before_or_it_is_said_why_not() -> None:
    assert FACTS.keys() | BESIDE.keys() == set(all_names())
    assert not FACTS.keys() & BESIDE.keys()


@pytest.mark.parametrize("name", FACTS)
def test_the_page_agrees_with_what_was_found_by_hand(name: str) -> None:
    assert ROWS[name] == FACTS[name]
