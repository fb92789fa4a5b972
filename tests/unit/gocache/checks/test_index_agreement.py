"""`gocache.checks.index_agreement`: comparing two listings. A poisoned index of a real go: tests/real."""

import json
from typing import Any

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.checks.index_agreement import (
    FIELDS,
    Asked,
    IndexFacts,
    Listing,
    judge,
    list_args,
    parse_listing,
    without_index,
)

PACKAGE = {"Dir": "/m o/a", "ImportPath": "m/a", "Name": "a", "GoFiles": ["a.go"], "Imports": ["fmt"]}


def listing(*packages: dict[str, Any], exit_code: int = 0, said: str = "") -> Listing:
    return Listing(exit_code, said, {package["ImportPath"]: package for package in packages})


def facts(indexed: Listing, plain: Listing) -> IndexFacts:
    return IndexFacts((Asked("std", listing(PACKAGE), listing(PACKAGE)), Asked("/m o", indexed, plain)))


def test_equal_listings_pass() -> None:
    verdict = judge(facts(listing(PACKAGE), listing(PACKAGE)))
    assert verdict.outcome is Outcome.PASS
    assert "2 packages" in verdict.summary


def test_a_difference_blocks_and_names_package_field_and_directory() -> None:
    verdict = judge(facts(listing(PACKAGE), listing({**PACKAGE, "Imports": ["strings"]})))
    assert verdict.outcome is Outcome.BLOCK
    assert verdict.evidence == ("m/a: Imports is ['fmt'] in the index and ['strings'] in the source",)
    assert verdict.remedy[0] == "touch -- '/m o/a'/*.go"


def test_a_field_that_is_no_list_is_shown_as_it_is() -> None:
    verdict = judge(facts(listing(PACKAGE), listing({**PACKAGE, "Name": "b"})))
    assert verdict.evidence == ("m/a: Name is 'a' in the index and 'b' in the source",)


def test_a_package_that_only_one_side_knows_blocks() -> None:
    other = {**PACKAGE, "ImportPath": "m/b"}
    verdict = judge(facts(listing(PACKAGE), listing(PACKAGE, other)))
    assert verdict.evidence == ("m/b: is listed only without the index",)
    verdict = judge(facts(listing(PACKAGE, other), listing(PACKAGE)))
    assert verdict.evidence == ("m/b: is listed only with the index",)


def test_a_listing_that_fails_only_with_the_index_blocks() -> None:
    verdict = judge(facts(Listing(1, "go: corrupt index", None), listing(PACKAGE)))
    assert verdict.outcome is Outcome.BLOCK
    assert "corrupt index" in verdict.evidence[0]


@pytest.mark.parametrize(
    "pair",
    [
        (Listing(1, "no go.mod", None), Listing(1, "no go.mod", None)),
        (listing(PACKAGE), Listing(1, "oops", None)),
        (Listing(0, "", None), listing(PACKAGE)),
        (listing(), listing()),
    ],
)
def test_what_cannot_be_compared_is_unknown(pair: tuple[Listing, Listing]) -> None:
    verdict = judge(facts(*pair))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.evidence


def test_no_question_is_no_answer() -> None:
    assert judge(IndexFacts(())).outcome is Outcome.UNKNOWN


def test_objects_one_after_the_other_are_read() -> None:
    data = "\n".join(json.dumps({**PACKAGE, "ImportPath": name}, indent="\t") for name in "abc") + "\n"
    found = parse_listing(data.encode())
    assert found is not None
    assert list(found) == ["a", "b", "c"]
    assert parse_listing(b"") == {}
    assert parse_listing(b" \n") == {}


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b"1", b"\xff", b'{"ImportPath": "a"} x', b'{"ImportPath": []}'])
def test_anything_else_is_none(data: bytes) -> None:
    assert parse_listing(data) is None


def test_the_question_asks_for_the_fields_that_are_compared() -> None:
    assert list_args("std") == ("list", "-e", f"-json={','.join(FIELDS)}", "--", "std")
    assert without_index("") == {"GODEBUG": "goindex=0"}
    assert without_index("http2debug=1") == {"GODEBUG": "http2debug=1,goindex=0"}
