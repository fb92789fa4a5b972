"""Where a miss begins, what it reaches, and how sure that is."""

from collections.abc import Collection, Mapping

from go_cache_safeguard.gocache.ghosts import Ghost
from go_cache_safeguard.gocache.inventory import id_half
from go_cache_safeguard.gocache.keychange import Change
from go_cache_safeguard.gocache.keyrecord import Part, Recorded, hash_of
from go_cache_safeguard.gocache.why import Basis, Cause, Facts, Group, Proof, Row, State, explain, gather


def key(name: str, *lines: str, held: bool = True) -> Recorded:
    whole = ("go1.27.3", *(f"{line}\n" for line in lines))
    return Recorded(f"build {name}", whole, hash_of(whole), held=held)


def on(*needed: Recorded) -> list[str]:
    """Import lines of packages that are not built: go puts their own key there."""
    return [f"import {one.name[6:]} {id_half(one.sum)}" for one in needed]


OLD_A, NEW_A = key("a", "file a.go A"), key("a", "file a.go B")
OLD_B, NEW_B = key("b", "file b.go A", "import a CONTENT"), key("b", "file b.go A", *on(NEW_A))
OLD_C, NEW_C = key("c", "file c.go A", "import b CONTENT"), key("c", "file c.go A", *on(NEW_B))


def rows(
    keys: Collection[Recorded],
    *,
    found: Collection[Recorded] = (),
    before: Collection[Recorded] = (),
    ghosts: Mapping[bytes, Ghost] | None = None,
    seen: Collection[str] = (),
    proofs: Mapping[str, Proof] | None = None,
) -> dict[str, Row]:
    known = {one.name: one for one in before}
    facts = Facts(
        {one.sum for one in found}, lambda one: known.get(one.name), ghosts or {}, frozenset(seen), proofs or {}
    )
    return {row.package: row for row in explain(tuple(keys), facts)}


def only(found: dict[str, Row]) -> Group:
    (group,) = gather(tuple(found.values()))
    return group


def test_an_edit_is_named_once_with_all_that_it_reaches() -> None:
    found = rows([NEW_A, NEW_B, NEW_C], before=[OLD_A, OLD_B, OLD_C])
    group = only(found)
    assert (group.first.text, group.first.basis) == ("file a.go of a edited", Basis.RECORDED)
    assert (group.direct, group.cascade, group.missed) == (("build a",), ("build b", "build c"), 3)
    assert found["b"].state is State.CASCADE
    assert found["c"].through == ("build b",)


def test_a_difference_is_proved_if_the_old_key_is_in_the_cache() -> None:
    found = rows([NEW_A, NEW_B], found=[OLD_A, OLD_B], before=[OLD_A, OLD_B])
    group = only(found)
    assert (group.first.basis, group.first.key) == (Basis.PROVED, OLD_A.sum.hex())
    assert found["b"].spared


def test_a_package_of_a_cascade_can_have_a_cause_of_its_own() -> None:
    own = key("b", "file b.go OTHER", *on(NEW_A))
    found = rows([NEW_A, own], before=[OLD_A, OLD_B])
    assert found["b"].state is State.MISSED
    assert len(found["b"].begins) == 2
    assert {group.first.text for group in gather(tuple(found.values()))} == {
        "file a.go of a edited",
        "file b.go of b edited",
    }


def test_what_is_found_but_was_another_passes_its_cause_on() -> None:
    now = key("b", "file b.go A", "import a OTHER")
    found = rows([NEW_A, now], found=[NEW_A], before=[OLD_A, OLD_B])
    assert found["a"].state is State.FOUND
    group = only(found)
    assert (group.direct, group.cascade, group.missed) == (("build a",), ("build b",), 1)


def test_the_same_key_that_is_gone_was_evicted() -> None:
    found = rows([OLD_A], before=[OLD_A])
    assert (only(found).first.cause, only(found).first.basis) == (Cause.EVICTED, Basis.RECORDED)
    by_us = rows([OLD_A], ghosts={OLD_A.sum: Ghost(OLD_A.sum, 0, "op-1")})
    assert only(by_us).first.text.startswith("evicted, same key: removed by our operation op-1")
    assert only(by_us).first.basis is Basis.PROVED


def test_a_whole_cache_that_is_gone_is_one_cause() -> None:
    b = key("b", "file b.go A", *on(OLD_A))
    ghosts = {one.sum: Ghost(one.sum, 0) for one in (OLD_A, OLD_B)}
    group = only(rows([OLD_A, b], before=[OLD_A, OLD_B], ghosts=ghosts))
    assert (group.first.cause, group.direct) == (Cause.EVICTED, ("build a", "build b"))


def test_a_recorded_key_that_was_not_in_the_cache_then_was_not_evicted() -> None:
    planned = key("a", "file a.go A", held=False)
    assert only(rows([OLD_A], before=[planned])).first.cause is Cause.NEVER


def test_what_was_never_seen_was_never_built_here() -> None:
    assert only(rows([NEW_A])).first.cause is Cause.NEVER


def test_what_was_seen_with_other_inputs_is_not_known() -> None:
    first = only(rows([NEW_A], seen=["a"])).first
    assert (first.cause, first.basis) == (Cause.UNKNOWN, Basis.UNKNOWN)


def test_a_proof_names_the_change_and_where_the_old_text_is_from() -> None:
    change = Change(Part.GO_LINE, "", "1.20", "1.21")
    proof = Proof(b"k" * 32, (change,), (), "git 12")
    first = only(rows([NEW_A], seen=["a"], proofs={"build a": proof})).first
    assert (first.text, first.basis, first.told) == ("go line: 1.20 before, 1.21 now", Basis.PROVED, "git 12")


def test_a_proof_of_other_imports_only_is_a_cascade() -> None:
    found = rows([NEW_A, NEW_B], found=[OLD_B], seen=["a", "b"], proofs={"build b": Proof(OLD_B.sum, (), ("a",))})
    assert (found["b"].state, found["b"].spared) == (State.CASCADE, True)


def test_a_proof_by_an_entry_that_is_gone_means_that_it_was_evicted() -> None:
    ghosts = {one.sum: Ghost(one.sum, 0) for one in (NEW_A, OLD_B)}
    found = rows([NEW_A, NEW_B], seen=["a", "b"], ghosts=ghosts, proofs={"build b": Proof(OLD_B.sum, (), ("a",))})
    assert found["b"].own[0].cause is Cause.EVICTED


def test_an_import_that_changed_for_no_known_reason_is_named() -> None:
    now = key("b", "file b.go A", "import a OTHER")
    assert only(rows([now], before=[OLD_B])).first.text == "what it imports came out different: a"


def test_what_is_found_and_was_the_same_is_not_told() -> None:
    assert rows([OLD_A, OLD_B], found=[OLD_A, OLD_B], before=[OLD_A, OLD_B]) == {}
