"""Who is believed when zip, tree, `.ziphash` and go.sum differ."""

from dataclasses import replace
from hashlib import sha256

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.dirhash import hash1, hash_go_mod
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.sumfile import Pin
from go_cache_safeguard.gomod.verify import (
    Absent,
    Broken,
    Content,
    Copy,
    Damage,
    Need,
    Odd,
    Totals,
    Unreadable,
    judge_copy,
    judge_go,
    show,
)

M = Version("example.com/m", "v1.0.0")
BLOCK, WARN, UNKNOWN = Outcome.BLOCK, Outcome.WARN, Outcome.UNKNOWN


def content(**files: str) -> Content:
    return Content({name.encode(): sha256(text.encode()).digest() for name, text in files.items()}, size=1)


def h1(what: Content, version: Version = M) -> str:
    return hash1((f"{version}/".encode() + name, digest) for name, digest in what.files.items())


GOOD = content(a="1", b="2")
EVIL = content(a="666", b="2")
PINS = {
    (M.path, M.version): (Pin(h1(GOOD), "go.sum:1"),),
    (M.path, f"{M.version}/go.mod"): (Pin(hash_go_mod(b"x"), "go.sum:2"),),
}
SOUND = Copy(M, zip=GOOD, tree=GOOD, hash=h1(GOOD), mod=hash_go_mod(b"x"))


def found(copy: Copy, *, pinned: bool = True, need: Need = Need.DIRECT) -> list[tuple[Damage, Outcome]]:
    return [(one.damage, one.outcome) for one in judge_copy(copy, PINS if pinned else {}, need)]


def test_a_sound_module_gives_no_finding() -> None:
    assert found(SOUND) == []
    assert found(SOUND, pinned=False, need=Need.CACHE) == []
    assert found(replace(SOUND, tree=Absent())) == []
    assert found(Copy(M)) == []


@pytest.mark.parametrize(
    ("copy", "bound", "alone"),
    [
        (replace(SOUND, tree=EVIL), [(Damage.EDITED, BLOCK)], [(Damage.EDITED, BLOCK)]),
        (replace(SOUND, tree=content(a="1")), [(Damage.MISSING, BLOCK)], [(Damage.MISSING, BLOCK)]),
        (replace(SOUND, tree=content(a="1", b="2", c="")), [(Damage.EXTRA, BLOCK)], [(Damage.EXTRA, BLOCK)]),
        (replace(SOUND, zip=EVIL), [(Damage.ZIP_CHANGED, BLOCK)], [(Damage.ZIP_CHANGED, BLOCK)]),
        (replace(SOUND, zip=Broken("bad")), [(Damage.ZIP_DAMAGED, BLOCK)], [(Damage.ZIP_DAMAGED, BLOCK)]),
        (
            replace(SOUND, zip=Absent(), tree=EVIL),
            [(Damage.ZIP_MISSING, WARN), (Damage.TREE_CHANGED, BLOCK)],
            [(Damage.ZIP_MISSING, WARN), (Damage.TREE_CHANGED, BLOCK)],
        ),
        (replace(SOUND, hash=h1(EVIL)), [(Damage.HASH_WRONG, BLOCK)], [(Damage.HASH_WRONG, BLOCK)]),
        (
            replace(SOUND, hash=Broken("empty")),
            [(Damage.HASH_WRONG, WARN)],
            [(Damage.HASH_WRONG, WARN), (Damage.UNPROVED, UNKNOWN)],
        ),
        (
            replace(SOUND, hash=Absent()),
            [(Damage.HASH_MISSING, WARN)],
            [(Damage.HASH_MISSING, WARN), (Damage.UNPROVED, UNKNOWN)],
        ),
        (
            replace(SOUND, hash=Absent(), tree=EVIL),
            [(Damage.HASH_MISSING, WARN), (Damage.EDITED, BLOCK)],
            [(Damage.HASH_MISSING, WARN), (Damage.EDITED, BLOCK), (Damage.UNPROVED, UNKNOWN)],
        ),
        (
            replace(SOUND, zip=EVIL, tree=EVIL, hash=h1(EVIL)),
            [(Damage.HASH_WRONG, BLOCK), (Damage.SUM_MISMATCH, BLOCK), (Damage.SUM_MISMATCH, BLOCK)],
            [],
        ),
        (
            replace(SOUND, zip=EVIL, tree=EVIL),
            [(Damage.ZIP_CHANGED, BLOCK), (Damage.TREE_CHANGED, BLOCK)],
            [(Damage.HASH_WRONG, BLOCK)],
        ),
        (
            replace(SOUND, zip=Content(GOOD.files, (Odd("../x", "bad name"),))),
            [(Damage.ZIP_DAMAGED, BLOCK)],
            [(Damage.ZIP_DAMAGED, BLOCK)],
        ),
        (replace(SOUND, tree=Content(GOOD.files, (Odd("l", "a link"),))), [(Damage.ODD, BLOCK)], [(Damage.ODD, BLOCK)]),
        (replace(SOUND, partial=True, tree=EVIL), [(Damage.TREE_PARTIAL, WARN)], [(Damage.TREE_PARTIAL, WARN)]),
        (replace(SOUND, zip=Unreadable("x")), [(Damage.UNREADABLE, UNKNOWN)], [(Damage.UNREADABLE, UNKNOWN)]),
        (replace(SOUND, tree=Unreadable("x")), [(Damage.UNREADABLE, UNKNOWN)], [(Damage.UNREADABLE, UNKNOWN)]),
        (
            replace(SOUND, hash=Unreadable("x")),
            [(Damage.UNREADABLE, UNKNOWN)],
            [(Damage.UNREADABLE, UNKNOWN), (Damage.UNPROVED, UNKNOWN)],
        ),
        (replace(SOUND, mod=Unreadable("x")), [(Damage.UNREADABLE, UNKNOWN)], [(Damage.UNREADABLE, UNKNOWN)]),
        (replace(SOUND, mod=hash_go_mod(b"y")), [(Damage.SUM_MISMATCH, BLOCK)], []),
    ],
)
def test_each_damage_is_named_with_and_without_a_go_sum(
    copy: Copy, bound: list[tuple[Damage, Outcome]], alone: list[tuple[Damage, Outcome]]
) -> None:
    assert found(copy) == bound
    assert found(copy, pinned=False, need=Need.CACHE) == alone


@pytest.mark.parametrize(
    ("need", "stored", "fetched_later"),
    [(Need.DIRECT, [BLOCK, BLOCK], [BLOCK, BLOCK]), (Need.LISTED, [WARN, WARN], [WARN]), (Need.GRAPH, [], [])],
)
def test_lines_that_go_sum_lacks_count_by_how_the_module_is_needed(
    need: Need, stored: list[Outcome], fetched_later: list[Outcome]
) -> None:
    assert found(SOUND, pinned=False, need=need) == [(Damage.SUM_LINE_MISSING, outcome) for outcome in stored]
    assert found(Copy(M), pinned=False, need=need) == [(Damage.SUM_LINE_MISSING, one) for one in fetched_later]


def test_of_two_lines_that_contradict_each_other_one_is_not_met() -> None:
    pins = {**PINS, (M.path, M.version): (*PINS[M.path, M.version], Pin(h1(EVIL), "other/go.sum:9"))}
    findings = judge_copy(SOUND, pins, Need.CACHE)
    assert {one.outcome for one in findings} == {BLOCK}
    assert all(
        "other/go.sum:9 says" in one.text and "go.sum:1 says" not in one.text.replace("other/go.sum:9 says", "")
        for one in findings
    )


def test_a_toolchain_may_have_the_go_mod_files_that_go_copies_and_no_others() -> None:
    version = Version("golang.org/toolchain", "v0.0.1-go1.27.3.linux-amd64")
    archive = Content({b"src/_go.mod": b"1" * 32})
    tree = Content({b"src/_go.mod": b"1" * 32, b"src/go.mod": b"1" * 32})
    copy = Copy(version, zip=archive, tree=tree, hash=h1(archive, version))
    assert found(copy, need=Need.CACHE) == []
    changed = Content({**tree.files, b"src/go.mod": b"2" * 32})
    assert found(replace(copy, tree=changed), need=Need.CACHE) == [(Damage.EXTRA, BLOCK)]


def test_directories_that_a_zip_lists_are_no_missing_files() -> None:
    archive = Content({**GOOD.files, b"": sha256().digest(), b"sub/": sha256().digest()})
    assert found(Copy(M, zip=archive, tree=GOOD, hash=h1(archive)), pinned=False, need=Need.CACHE) == []


def test_totals_count_what_was_hashed() -> None:
    totals = (
        Totals().plus(SOUND, pinned=True).plus(replace(SOUND, zip=Absent()), pinned=False).plus(Copy(M), pinned=False)
    )
    assert totals == Totals(versions=3, stored=2, zips=1, trees=2, files=6, size=3, unpinned=1)


@pytest.mark.parametrize(
    ("code", "said", "ours", "outcome"),
    [
        (0, "all modules verified\n", BLOCK, Outcome.PASS),
        (1, "a v1: dir has been modified (/x)\n", BLOCK, BLOCK),
        (1, "a v1: dir has been modified (/x)\n", Outcome.PASS, WARN),
        (1, "a v1: missing ziphash: open x\n", WARN, WARN),
        (1, "go: module lookup disabled by GOPROXY=off\n", BLOCK, UNKNOWN),
        (2, "", Outcome.PASS, UNKNOWN),
    ],
)
def test_what_go_says_is_shown_beside_and_never_makes_ours_better(
    code: int, said: str, ours: Outcome, outcome: Outcome
) -> None:
    assert judge_go(code, said, ours).outcome is outcome
    assert judge_go(code, said, ours, "/m").check == "go-mod-verify /m"


def test_names_cannot_steer_a_terminal() -> None:
    assert show("ä\x1b[2J\n".encode() + b"\xff") == "ä\\x1b[2J\\n\\xff"
