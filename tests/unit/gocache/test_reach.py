"""Why an entry stays."""

from dataclasses import replace

from gcinventories import NOW_NS, an_action, an_archive, an_id, an_inventory, an_output
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.hashlog import subkey
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.reach import Doubt, Marks, Shelter, Use, mark

LIB, OTHER = an_id(1), an_id(2)
CACHE = an_inventory(
    [an_action(LIB, 11), an_action(OTHER, 12)],
    [an_output(11), an_output(12, about=an_archive("example.com/other", "go1.21.13"))],
)
NOBODY = Shelter(grace_s=3600)


def marks_of(
    cache: Inventory, *doubts: Doubt, uses: tuple[Use, ...] = (), shelter: Shelter = NOBODY, names: tuple[str, ...] = ()
) -> Marks:
    return mark(cache, uses, doubts, shelter, names_in=lambda _output: names, now_ns=NOW_NS)


def test_what_a_root_uses_stays_because_of_it() -> None:
    marks = marks_of(CACHE, uses=(Use("build", frozenset({LIB, an_id(99)})), Use("test", frozenset({LIB}))))
    assert marks.needed == {LIB: "build"}
    assert (marks.why(LIB), marks.why(OTHER)) == ("build", "")


def test_of_an_unknown_root_everything_of_its_toolchain_and_target_stays() -> None:
    doubt = Doubt("m", "broken", "go1.27.3", "linux/amd64")
    assert set(marks_of(CACHE, doubt).safe) == {LIB}
    assert set(marks_of(CACHE, replace(doubt, toolchain="", target="")).safe) == {LIB, OTHER}
    assert set(marks_of(CACHE, replace(doubt, target="linux/arm64")).safe) == set()


def test_what_tells_no_toolchain_stays_with_an_unknown_root() -> None:
    cache = an_inventory([an_action(LIB, 11)], [an_output(11, kind=Kind.INDEX)])
    assert set(marks_of(cache, Doubt("m", "broken", "go1.21.13", "linux/amd64")).safe) == {LIB}


def test_of_doubtful_packages_all_that_belongs_to_their_steps_stays() -> None:
    children = {text: subkey(LIB, text) for text in ("srcfiles", "stdout", "link-stdout", "_cgo_gotypes.go")}
    cache = an_inventory(
        [*CACHE.actions.values(), *(an_action(key, 13) for key in children.values())],
        [*CACHE.outputs.values(), an_output(13, kind=Kind.SOURCE_LIST)],
    )
    doubt = Doubt("m", "missing", "go1.27.3", "linux/amd64", frozenset({"example.com/m/lib"}))
    assert set(marks_of(cache, doubt, names=("_cgo_gotypes.go",)).safe) == {LIB, *children.values()}


def test_facts_and_results_of_unknown_packages_stay_while_any_package_is_in_doubt() -> None:
    cache = an_inventory([an_action(LIB, 11)], [an_output(11, kind=Kind.VET_FACTS)])
    assert set(marks_of(cache, Doubt("m", "missing", packages=frozenset({"a"}))).safe) == {LIB}
    assert set(marks_of(cache).safe) == set()


def test_young_and_lately_used_entries_stay() -> None:
    cache = an_inventory(
        [an_action(LIB, 11, days=0.01), an_action(OTHER, 12, days=2)], [an_output(11), an_output(12, days=2)]
    )
    assert set(marks_of(cache).safe) == {LIB}
    assert set(marks_of(cache, shelter=replace(NOBODY, used_for_s=3 * 86_400)).safe) == {LIB, OTHER}


def test_an_output_that_was_used_just_now_keeps_its_entry() -> None:
    cache = an_inventory([an_action(LIB, 11)], [an_output(11, days=0)])
    assert set(marks_of(cache).safe) == {LIB}


def test_pinned_packages_stay() -> None:
    assert set(marks_of(CACHE, shelter=replace(NOBODY, pins=("example.com/m/...",))).safe) == {LIB}


def test_test_results_stay_for_five_days() -> None:
    def cache(days: float) -> Inventory:
        return an_inventory([an_action(LIB, 11, days=days)], [an_output(11, kind=Kind.TEST_OUTPUT, days=days)])

    assert set(marks_of(cache(4.9)).safe) == {LIB}
    assert set(marks_of(cache(5.1)).safe) == set()


def test_what_cannot_be_looked_at_stays() -> None:
    large = an_inventory([an_action(LIB, 11)], [an_output(11, size=100, kind=Kind.GO_SOURCE)])
    assert set(marks_of(large, shelter=replace(NOBODY, largest=99)).safe) == {LIB}
    unread = an_inventory([replace(an_action(LIB, 11), entry=None)], [])
    assert set(marks_of(unread).safe) == {LIB}


def test_tools_of_a_toolchain_in_use_stay() -> None:
    tool = an_output(11, kind=Kind.EXECUTABLE, about=an_archive("cmd/buildid"))
    cache = an_inventory([an_action(LIB, 11)], [tool])
    assert set(marks_of(cache, shelter=replace(NOBODY, toolchains=frozenset({"go1.27.3"}))).safe) == {LIB}
    assert set(marks_of(cache, shelter=replace(NOBODY, toolchains=frozenset({"go1.21.13"}))).safe) == set()
