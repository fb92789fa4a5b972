"""Who is to blame, from what three builds said."""

import json

import pytest

from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.verify.outcome import Archive, Built, Case, Export, diagnose, differences, parse_exports

ONE, TWO = "1" * 64, "2" * 64
GOOD = Built(0, "", {"fmt": Archive("A/C", ONE, ONE)})
OTHER = Built(0, "", {"fmt": Archive("A/D", TWO, TWO)})
BAD = Built(1, "x.go:1:1: undefined: y", {})
NO_MODULES = Built(1, "module lookup disabled by GOPROXY=off", {})
TIMED_OUT = Built(None, "`go build` did not end within 600 s")
TAMPERED = Verdict("mod-integrity", Outcome.BLOCK, "a zip is not what go.sum demands", ("example.com/m",))
SOUND = Verdict("mod-integrity", Outcome.PASS, "all is well")


@pytest.mark.parametrize(
    ("present", "clean", "mirror", "modules", "case", "outcome"),
    [
        (GOOD, GOOD, GOOD, SOUND, Case.NOTHING, Outcome.PASS),
        (GOOD, GOOD, None, None, Case.NOTHING, Outcome.PASS),
        (GOOD, GOOD, BAD, SOUND, Case.NOTHING, Outcome.PASS),
        (BAD, GOOD, GOOD, SOUND, Case.BUILD_CACHE, Outcome.BLOCK),
        (OTHER, GOOD, GOOD, SOUND, Case.BUILD_CACHE, Outcome.BLOCK),
        (BAD, BAD, BAD, SOUND, Case.SOURCE, Outcome.BLOCK),
        (BAD, BAD, None, None, Case.SOURCE, Outcome.BLOCK),
        (BAD, BAD, GOOD, SOUND, Case.MODULE_CACHE, Outcome.BLOCK),
        (GOOD, BAD, GOOD, SOUND, Case.MODULE_CACHE, Outcome.BLOCK),
        (GOOD, GOOD, GOOD, TAMPERED, Case.MODULE_CACHE, Outcome.BLOCK),
        (BAD, NO_MODULES, BAD, SOUND, Case.MODULE_CACHE, Outcome.BLOCK),
        (GOOD, BAD, BAD, SOUND, Case.ONLY_CACHED, Outcome.BLOCK),
        (TIMED_OUT, GOOD, GOOD, SOUND, Case.UNCLEAR, Outcome.UNKNOWN),
        (GOOD, TIMED_OUT, None, None, Case.UNCLEAR, Outcome.UNKNOWN),
    ],
)
def test_every_combination_has_its_case(
    *, present: Built, clean: Built, mirror: Built | None, modules: Verdict | None, case: Case, outcome: Outcome
) -> None:
    found = diagnose(present, clean, mirror, modules)
    assert (found.case, found.verdict.outcome) == (case, outcome)
    assert found.verdict.remedy
    assert bool(found.packages) is (present is OTHER)


def test_the_evidence_quotes_what_go_said_and_names_the_packages() -> None:
    evidence = "\n".join(diagnose(BAD, GOOD, None, TAMPERED).verdict.evidence)
    assert "undefined: y" in evidence
    assert "a zip is not what go.sum demands" in evidence
    assert "fmt: " in "\n".join(diagnose(OTHER, GOOD, None, None).verdict.evidence)


@pytest.mark.parametrize(
    ("ours", "how"),
    [
        (Archive("A/C", ONE, ONE), None),
        (Archive("A/C", ONE, None), None),
        (Archive("A/C", ONE, TWO), "damaged"),
        (Archive("A/D", TWO, TWO), "the same inputs"),
        (Archive("B/D", TWO, TWO), "its inputs"),
    ],
)
def test_archives_differ_in_three_ways(ours: Archive, how: str | None) -> None:
    found = differences(Built(0, "", {"fmt": ours, "only/here": ours}), GOOD)
    assert list(found) == (["fmt"] if how else [])
    assert how is None or how in found["fmt"]


def test_many_packages_become_a_number() -> None:
    here = {f"p{number:03}": Archive("A/C", ONE, TWO) for number in range(30)}
    there = {path: Archive("A/C", ONE, ONE) for path in here}
    found = diagnose(Built(0, "", here), Built(0, "", there), None, None)
    assert found.packages == tuple(here)
    assert found.verdict.evidence[-1] == "and 20 more packages"


def test_what_go_lists_is_read() -> None:
    one = json.dumps({"ImportPath": "fmt", "BuildID": "A/C", "Export": "/c/aa-d"})
    none = json.dumps({"ImportPath": "unsafe"})
    assert parse_exports(f"{one}\n{none}\n".encode()) == {"fmt": Export("A/C", "/c/aa-d")}
    assert parse_exports(b"") == {}


@pytest.mark.parametrize("data", [b"{", b"go: no", b"[]", b'{"Export":"x"}'])
def test_what_is_no_listing_is_seen(data: bytes) -> None:
    assert parse_exports(data) is None
