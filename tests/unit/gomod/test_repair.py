"""What each finding makes go, and how it comes back."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.repair import damaged, judge, ways_back
from go_cache_safeguard.gomod.verify import Damage, Finding

M = Version("example.com/Mod", "v1.0.0")
TREE, ZIP, HASH, MOD = M.tree, M.download(".zip"), M.download(".ziphash"), M.download(".mod")
PINNED = frozenset({M})


def finding(file: str, damage: Damage = Damage.EDITED, outcome: Outcome = Outcome.BLOCK) -> Finding:
    return Finding(M.path, M.version, file, damage, outcome, "text")


@pytest.mark.parametrize(
    ("file", "gone"),
    [
        (f"{TREE}/a.go", TREE),
        (TREE, TREE),
        (ZIP, ZIP),
        (f"{ZIP}!../../evil", ZIP),
        (HASH, HASH),
        (MOD, MOD),
        ("go.sum", None),
        ("/m/go.sum", None),
        (f"{TREE}x/a.go", None),
        (M.download(".info"), None),
    ],
)
def test_what_a_finding_is_about_goes_and_nothing_else(file: str, gone: str | None) -> None:
    assert list(damaged([finding(file)])) == ([] if gone is None else [gone])


def test_each_name_goes_once_for_all_its_reasons() -> None:
    found = [
        finding(f"{TREE}/a"),
        finding(f"{TREE}/b"),
        finding(f"{TREE}/c", Damage.EXTRA),
        finding(ZIP, Damage.ZIP_CHANGED),
    ]
    assert damaged(found) == {ZIP: "damaged: zip-changed", TREE: "damaged: edited-file, extra-file"}


@pytest.mark.parametrize("outcome", [Outcome.WARN, Outcome.UNKNOWN])
def test_what_is_not_surely_bad_stays(outcome: Outcome) -> None:
    assert damaged([finding(TREE, outcome=outcome)]) == {}
    assert damaged([Finding("not a module", "", TREE, Damage.EDITED, Outcome.BLOCK, "")]) == {}


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        ([TREE], "extracts it again from the zip"),
        ([ZIP], "fetches the zip again: go.sum says"),
        ([HASH, TREE, ZIP], "fetches the zip again and extracts it: go.sum says"),
        ([HASH], "makes the hash file again"),
        ([MOD], "fetches its go.mod file again"),
    ],
)
def test_each_way_back_is_a_command_and_says_what_proves_it(gone: list[str], what: str) -> None:
    (way,) = ways_back({M: gone}, pinned=PINNED)
    assert way.startswith(f"go mod download {M}  # {what}")


def test_what_nothing_can_prove_when_it_comes_back_is_said_before_it_goes() -> None:
    assert judge({M: [ZIP]}, pinned=PINNED).outcome is Outcome.PASS
    assert judge({M: [TREE]}, pinned=frozenset()).outcome is Outcome.PASS, "its zip is here"
    other = Version("example.com/other", "v1.0.0")
    verdict = judge({M: [ZIP], other: [other.download(".zip")]}, pinned=frozenset())
    assert verdict.outcome is Outcome.WARN
    assert "and 1 others" in verdict.summary
    assert "only the checksum database can tell" in verdict.evidence[0]
