"""`gomod.updates`: newer versions, and whether anybody was asked."""

import pytest

from go_cache_safeguard.gomod.drift import Change, Kind
from go_cache_safeguard.gomod.state import Module
from go_cache_safeguard.gomod.updates import (
    Answer,
    Simulated,
    confirm,
    hint_for,
    read_answers,
    silent,
    to_ask,
    unanswered,
)

A = Module("a", "v1.0.0", direct=True)


def test_a_newer_version_is_read() -> None:
    said = {"Path": "a", "Version": "v1.0.0", "Versions": ["v1.0.0", "v1.1.0"], "Update": {"Version": "v1.1.0"}}
    assert read_answers([said], [A]) == (Answer("a", "v1.0.0", direct=True, newer="v1.1.0", asked=True),)


def test_versions_without_a_newer_one_are_an_answer() -> None:
    (found,) = read_answers([{"Path": "a", "Versions": ["v1.0.0"]}], [A])
    assert (found.asked, found.newer, found.line()) == (True, "", "a v1.0.0 (required directly): no newer version")


def test_what_was_withdrawn_is_read_also_without_a_reason() -> None:
    said = {"Path": "a", "Versions": ["v1.0.0"], "Retracted": ["bad\n"], "Deprecated": "use b"}
    (found,) = read_answers([said], [A])
    assert (found.is_retracted, found.retracted, found.deprecated) == (True, ("bad",), "use b")
    assert found.line() == "a v1.0.0 (required directly): retracted (bad), deprecated (use b)"
    (bare,) = read_answers([{**said, "Retracted": [""]}], [A])
    assert bare.line() == "a v1.0.0 (required directly): retracted, deprecated (use b)"


@pytest.mark.parametrize(
    "listed",
    [
        [],
        [{"Path": "a", "Version": "v1.0.0"}],
        [{"Path": "a", "Error": {"Err": "module lookup disabled by GOPROXY=off"}}],
        [{"Path": "a", "Versions": ["v1.0.0"], "Error": {"Err": "loading module retractions: refused"}}],
        [{"Path": "a", "Error": {}}],
    ],
)
def test_silence_and_errors_are_no_answer(listed: list[dict[str, object]]) -> None:
    (found,) = read_answers(listed, [A])
    assert not found.asked
    value = found.as_value()
    assert (value["newer"], value["retracted"], value["deprecated"]) == (None, None, None)


def test_passwords_in_the_words_of_go_are_covered() -> None:
    (found,) = read_answers(
        [{"Path": "a", "Error": {"Err": 'Get "https://me:secret@proxy.test/a/@v/list": refused'}}], [A]
    )
    assert found.trouble == 'Get "https://***@proxy.test/a/@v/list": refused'


def test_the_replacement_is_what_newer_versions_are_of_and_a_directory_has_none() -> None:
    replaced, local = Module("b", "v1.0.0", replacement="c@v0.1.0"), Module("d", "v1.0.0", replacement="../d")
    assert to_ask([A, replaced, local]) == (A, replaced)
    said = {
        "Path": "b",
        "Error": None,
        "Replace": {"Path": "c", "Versions": ["v0.2.0"], "Update": {"Version": "v0.2.0"}},
    }
    assert read_answers([said], [replaced]) == (Answer("c", "v0.1.0", newer="v0.2.0", asked=True),)


def test_who_was_silent_is_asked_again_and_everybody_else_keeps_the_answer() -> None:
    b, c, d = Answer("b", "v1.0.0", asked=True), Answer("c", "v1.0.0", trouble="why"), Answer("d", "v1.0.0")
    mute = Answer("a", "v0.0.0-2020")
    assert silent([mute, b, c, d]) == (mute, d)
    said = [
        {"Path": "a", "Version": "v0.0.0-2021"},
        {"Path": "b", "Version": "v9.0.0"},
        {"Path": "d", "Version": "v0.9.0"},
    ]
    first, second, third, fourth = confirm([mute, b, c, d], said)
    assert (first.asked, first.newer) == (True, "v0.0.0-2021")
    assert (second, third) == (b, c)
    assert (fourth.asked, fourth.newer) == (True, ""), "what is older is no update"


@pytest.mark.parametrize("listed", [[], [{"Path": "a", "Error": {"Err": "no matching versions"}}], [{"Path": "a"}]])
def test_who_stays_silent_was_not_asked(listed: list[dict[str, object]]) -> None:
    (found,) = confirm([Answer("a", "v1.0.0")], listed)
    assert (found.asked, bool(found.trouble)) == (False, True)


def test_nobody_to_ask_is_trouble_for_each() -> None:
    assert unanswered([A], "why") == (Answer("a", "v1.0.0", direct=True, trouble="why"),)


@pytest.mark.parametrize(
    ("trouble", "word"),
    [
        ("module lookup disabled by GOPROXY=off", "GOPROXY forbids"),
        ('Get "http://127.0.0.1:1/a/@v/list": dial tcp 127.0.0.1:1: connect: connection refused', "cannot be reached"),
        ("reading http://x/a/@v/list: 502 Bad Gateway", "cannot be reached"),
        ("reading http://x/a/@v/list: 404 Not Found", "GOPRIVATE"),
        ("reading file:///x/a/@v/list: no such file or directory", "GOPRIVATE"),
        ("verifying a@v1: checksum mismatch", "mod verify"),
        ("go.mod requires go >= 1.99 (running go 1.21.13; GOTOOLCHAIN=local)", "go.toolchain"),
        ("something else", ""),
    ],
)
def test_trouble_has_a_hint(trouble: str, word: str) -> None:
    assert word in hint_for(trouble)
    assert bool(word) == bool(hint_for(trouble))


def test_what_was_tried_is_said() -> None:
    moved = Change(Kind.RAISED, "b", "v1.0.0", "v1.1.0")
    edge = Change(Kind.EDGE_ADDED, "m", "", "b@v1.1.0")
    assert Simulated("a", "v2.0.0").line() == "taking a v2.0.0 changes nothing else"
    assert Simulated("a", "v2.0.0", trouble="why").line() == "taking a v2.0.0 could not be tried: why"
    said = Simulated("a", "v2.0.0", (moved, edge)).line()
    assert said == "taking a v2.0.0 changes: b moved up: v1.0.0 -> v1.1.0; requirements added: 1, removed: 0"
    many = (
        *(Change(Kind.ADDED, str(number), "", "v1") for number in range(6)),
        moved,
        Change(Kind.GO_LINE, "m", "1.21", "1.22"),
    )
    said = Simulated("a", "v2.0.0", many).line()
    assert "changes: other modules added: 6, moved up: 1; m: its go or toolchain line changed: 1.21 -> 1.22" in said
    assert Simulated("a", "v2.0.0", trouble="why").as_value()["changes"] is None
