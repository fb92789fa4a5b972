"""Which module versions somebody needs."""

import pytest

from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.reach import (
    TOOLCHAIN,
    is_needed,
    needs_of,
    requires_something,
    toolchains_in,
    unneeded_names,
)
from go_cache_safeguard.gomod.sumfile import parse_sum

SUM = b"""example.com/A v1.0.0 h1:YQ==
example.com/A v1.0.0/go.mod h1:YQ==
example.com/b v2.0.0/go.mod h1:YQ==
"""
NEEDS = needs_of([parse_sum(SUM, "go.sum")], [b"module m\n\ngo 1.22.3\n\ntoolchain go1.24.1 // newer\n"], ["go1.27.3"])


def test_what_go_sum_names_whole_stays_whole() -> None:
    assert list(unneeded_names(Version("example.com/A", "v1.0.0"), NEEDS)) == []


def test_of_what_only_the_graph_needs_the_go_mod_file_stays() -> None:
    assert list(unneeded_names(Version("example.com/b", "v2.0.0"), NEEDS)) == [
        "example.com/b@v2.0.0",
        "cache/download/example.com/b/@v/v2.0.0.zip",
        "cache/download/example.com/b/@v/v2.0.0.ziphash",
    ]


def test_of_what_nobody_names_everything_goes() -> None:
    names = list(unneeded_names(Version("example.com/A", "v1.0.1"), NEEDS))
    assert names[0] == "example.com/!a@v1.0.1"
    assert names[-2:] == [f"cache/download/example.com/!a/@v/v1.0.1.{ending}" for ending in ("mod", "info")]


@pytest.mark.parametrize(
    ("version", "needed"),
    [
        ("v0.0.1-go1.22.3.linux-amd64", True),
        ("v0.0.1-go1.24.1.darwin-arm64", True),
        ("v0.0.1-go1.27.3.linux-amd64", True),
        ("v0.0.1-go1.24.10.linux-amd64", False),
        ("v0.0.1-go1.25.0.linux-amd64", False),
    ],
)
def test_toolchains_stay_that_a_go_mod_file_asks_for_or_that_run_here(version: str, *, needed: bool) -> None:
    assert is_needed(Version(TOOLCHAIN, version), NEEDS) is needed


def test_a_module_without_requirements_needs_no_go_sum() -> None:
    assert not requires_something(b"module m\n\ngo 1.21\n// require is a word\n")
    assert requires_something(b"module m\nrequire example.com/a v1.0.0\n")
    assert requires_something(b"module m\nrequire (\n\texample.com/a v1.0.0\n)\n")


def test_toolchains_are_read_from_lines_of_their_own_only() -> None:
    assert toolchains_in(b"module go\n\nrequire go.uber.org/x v1.2.3\n") == frozenset()
