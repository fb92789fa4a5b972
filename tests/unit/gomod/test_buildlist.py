"""Build lists as go prints them."""

import json

import pytest

from go_cache_safeguard.gomod.buildlist import (
    Local,
    Wanted,
    Work,
    make_build_list,
    parse_modules,
    parse_requires,
    parse_work,
    strongest,
)
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.verify import Need

MODULES = [
    {"Path": "example.com/m", "Main": True, "Dir": "/m"},
    {"Path": "a", "Version": "v1.0.0"},
    {"Path": "b", "Version": "v1.0.0", "Replace": {"Path": "c", "Version": "v2.0.0"}},
    {"Path": "d", "Version": "v1.0.0", "Replace": {"Path": "../\x1bd"}},
    {"Path": "e", "Version": "v1.0.0", "Error": {"Err": "not here"}},
    {"Path": "../f", "Version": "v1.0.0"},
]


def test_replacements_are_followed_and_what_cannot_be_known_is_told() -> None:
    data = "".join(json.dumps(module, indent=1) + "\n" for module in MODULES).encode()
    found = make_build_list(parse_modules(data) or (), {"a": Need.DIRECT, "b": Need.LISTED})
    assert found.wanted == (
        Wanted(Version("a", "v1.0.0"), Need.DIRECT),
        Wanted(Version("c", "v2.0.0"), Need.LISTED),
        Wanted(Version("e", "v1.0.0"), Need.GRAPH),
    )
    assert found.local == (Local("d", "../\\x1bd"),)
    assert found.notes == (
        "b@v1.0.0 is replaced by c@v2.0.0: the original is not used",
        "d@v1.0.0 is replaced by ../\\x1bd, a directory: the original is not used",
    )
    assert found.problems == ("e@v1.0.0: not here", "../f@v1.0.0 is not a module version")


@pytest.mark.parametrize(("need", "told"), [(Need.GRAPH, 0), (Need.LISTED, 1), (Need.DIRECT, 1)])
def test_a_version_of_the_graph_that_no_build_uses_need_not_be_known_offline(need: Need, told: int) -> None:
    error = {"Err": "e@v1.0.0: module lookup disabled by GOPROXY=off"}
    found = make_build_list([{"Path": "e", "Version": "v1.0.0", "Error": error}], {"e": need})
    assert found.wanted == (Wanted(Version("e", "v1.0.0"), need),)
    assert len(found.problems) == told


@pytest.mark.parametrize("data", [b"{", b"[]", b"{} x", b"[" * 100_000])
def test_other_speech_is_no_list(data: bytes) -> None:
    assert parse_modules(data) is None


def test_nothing_is_a_list_of_nothing() -> None:
    assert parse_modules(b"\n") == ()


def test_requirements_are_read() -> None:
    data = b'{"Require": [{"Path": "a", "Version": "v1"}, {"Path": "b", "Version": "v1", "Indirect": true}]}'
    assert parse_requires(data) == {"a": Need.DIRECT, "b": Need.LISTED}
    assert parse_requires(b'{"Require": null}') == {}


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"Require": [1]}', b'{"Require": [{}]}', b'{"Require": 7}'])
def test_what_is_no_go_mod_requires_nothing_that_we_would_know_of(data: bytes) -> None:
    assert parse_requires(data) is None


def test_a_workspace_means_the_same_elsewhere() -> None:
    replaced = [
        {"Old": {"Path": "a"}, "New": {"Path": "./a b"}},
        {"Old": {"Path": "b", "Version": "v1.0.0"}, "New": {"Path": "c", "Version": "v2.0.0"}},
    ]
    value = {"Go": "1.21", "Use": [{"DiskPath": "./m"}, {"DiskPath": "/other"}], "Replace": replaced}
    found = parse_work(json.dumps(value).encode(), "/w")
    assert found is not None
    assert found.uses == ("/w/m", "/other")
    assert found.text.splitlines() == [
        "go 1.21",
        'use "/w/m"',
        'use "/other"',
        'replace "a"  => "/w/a b" ',
        'replace "b" v1.0.0 => "c" v2.0.0',
    ]
    assert parse_work(b"{}", "/w") == Work((), "")


@pytest.mark.parametrize("data", [b"", b"[]", b'{"Use": [{}]}', b'{"Use": [], "Replace": [7]}'])
def test_what_is_no_workspace_is_refused(data: bytes) -> None:
    assert parse_work(data, "/w") is None


def test_in_a_workspace_the_strongest_requirement_counts() -> None:
    one, other = {"a": Need.DIRECT, "b": Need.LISTED}, {"a": Need.LISTED, "b": Need.DIRECT, "c": Need.LISTED}
    assert strongest([one, other]) == {"a": Need.DIRECT, "b": Need.DIRECT, "c": Need.LISTED}
