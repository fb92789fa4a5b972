"""What goes of what may go."""

from gcinventories import NOW_NS, an_action, an_id, an_inventory, an_output
from go_cache_safeguard.gocache.budget import DAMAGED, EVICTED, ORPHAN, UNREACHABLE, Budget, Choice, choose
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Damage
from go_cache_safeguard.gocache.inventory import Inventory, Output
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.reach import Marks

A, B, C = an_id(1), an_id(2), an_id(3)
CACHE = an_inventory(
    [an_action(A, 11), an_action(B, 12), an_action(C, 13)],
    [an_output(11, size=1000), an_output(12, size=5000), an_output(13, size=3000)],
)
PRICES = {11: 1.0, 12: 50.0, 13: 1.0}


def price(output: Output) -> float:
    return PRICES.get(int.from_bytes(output.output), 0.0)


def chosen(cache: Inventory = CACHE, marks: Marks | None = None, budget: Budget | None = None) -> Choice:
    return choose(cache, marks or Marks(), budget or Budget(), price=price, grace_s=3600, now_ns=NOW_NS)


def pair(action: bytes, output: int) -> set[str]:
    return {action_name(action), output_name(an_id(output))}


def names(choice: Choice) -> set[str]:
    return {item.name for item in choice.items}


def test_without_a_budget_everything_goes_that_nobody_needs() -> None:
    choice = chosen(marks=Marks(needed={A: "root"}, safe={B: "pinned"}))
    assert names(choice) == pair(C, 13)
    assert (choice.gone, choice.short, choice.seconds) == (3175, 0, 1.0)
    assert {item.reason for item in choice.items} == {UNREACHABLE}


def test_a_budget_takes_the_best_bargain_first_and_no_more_than_it_needs() -> None:
    size = CACHE.size
    assert names(chosen(budget=Budget(keep_bytes=size - 1))) == pair(C, 13)
    assert names(chosen(budget=Budget(free_bytes=3176))) == pair(C, 13) | pair(A, 11)
    assert names(chosen(budget=Budget(keep_bytes=size))) == set()


def test_what_roots_need_goes_only_when_that_was_asked_for_and_last() -> None:
    marks = Marks(needed={A: "root", C: "root"})
    asked = Budget(free_bytes=6000)
    first = chosen(marks=marks, budget=asked)
    assert names(first) == pair(B, 12)
    assert first.short == 6000 - 5175
    more = chosen(marks=marks, budget=Budget(free_bytes=6000, evict_live=True))
    assert names(more) == pair(B, 12) | pair(C, 13)
    assert (more.short, more.evicted) == (0, 3175)
    assert {item.reason for item in more.items} == {UNREACHABLE, EVICTED}


def test_what_is_safe_never_goes() -> None:
    marks = Marks(needed={A: "root"}, safe={A: "pinned", B: "pinned", C: "pinned"})
    choice = chosen(marks=marks, budget=Budget(keep_bytes=0, evict_live=True))
    assert (choice.items, choice.short) == ((), CACHE.size)


def test_a_reserve_is_left_whatever_else_is_asked_for() -> None:
    choice = chosen(budget=Budget(keep_bytes=0, reserve=6000))
    assert CACHE.size - choice.gone >= 6000
    assert names(choice) == pair(C, 13), "with the next one less would be left"


def test_an_output_stays_while_an_entry_that_stays_names_it() -> None:
    cache = an_inventory([an_action(A, 11), an_action(B, 11)], [an_output(11, kind=Kind.EMPTY, size=0)])
    assert names(chosen(cache, Marks(needed={A: "root"}))) == {action_name(B)}
    assert names(chosen(cache)) == {action_name(A), *pair(B, 11)}


def test_orphans_go_when_they_are_old_enough_and_damaged_entries_at_once() -> None:
    cache = an_inventory([an_action(A, 11, damage=next(iter(Damage)))], [an_output(12, days=0.01), an_output(13)])
    choice = chosen(cache)
    assert {item.name: item.reason for item in choice.items} == {
        action_name(A): DAMAGED,
        output_name(an_id(13)): ORPHAN,
    }
