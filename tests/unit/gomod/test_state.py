"""`gomod.state`: what a module depends on, as a document."""

import json
from typing import Any

import pytest

from go_cache_safeguard.gomod.state import (
    Main,
    Module,
    State,
    parse_state,
    read_diff,
    read_edges,
    read_main,
    read_modules,
    read_sums,
    relative,
    write_state,
)
from go_cache_safeguard.gomod.sumfile import parse_sum
from go_cache_safeguard.gomod.verify import Need

STATE = State(
    mains=(Main("m", ".", "1.21", "go1.27.3"), Main("n", "./n")),
    modules=(Module("a", "v1.0.0", direct=True, go="1.21"), Module("b", "v2.0.0", replacement="../b")),
    edges=(("a@v1.0.0", "b@v2.0.0"), ("m", "a@v1.0.0")),
    sums={"go.sum": {"a v1.0.0": ("h1:x",), "a v1.0.0/go.mod": ("h1:y",)}, "n/go.sum": {}},
    tidy=("go.mod: -require a v1.0.0",),
    environment={"GOVERSION": "go1.27.3"},
    unknown={"graph": "why not"},
)


def test_a_state_is_read_again_as_it_was_written() -> None:
    assert parse_state(write_state(STATE)) == STATE
    assert parse_state(write_state(State())) == State()


def test_nobody_asked_about_tidy_and_nothing_to_tidy_are_two_things() -> None:
    for tidy in (None, ()):
        again = parse_state(write_state(State(tidy=tidy)))
        assert again is not None
        assert again.tidy == tidy


def _changed(**values: Any) -> bytes:
    return json.dumps({**json.loads(write_state(STATE)), **values}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        write_state(STATE)[:-5],
        _changed(schema="go-cache-safeguard/mod-state/2"),
        _changed(modules={"a": {"version": 1}}),
        _changed(modules={"a": {"version": "v1", "direct": "yes"}}),
        _changed(graph={"a": [1]}),
        _changed(sums={"go.sum": {"a v1": [None]}}),
        _changed(sums=[]),
        _changed(tidy=[1]),
        _changed(environment={"GOVERSION": 1}),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_state_of_this_version_is_none(data: bytes) -> None:
    assert parse_state(data) is None


def test_the_build_list_leaves_main_modules_out_and_says_where_replacements_lead() -> None:
    listed: list[dict[str, Any]] = [
        {"Path": "m", "Main": True},
        {"Path": "c", "Version": "v1.0.0", "Replace": {"Path": "d", "Version": "v2.0.0"}},
        {"Path": "b", "Version": "v1.0.0", "Replace": {"Path": "/home/me/m/sub"}},
        {"Path": "a", "Version": "v1.0.0", "GoVersion": "1.21", "Indirect": True},
    ]
    assert read_modules(listed, {"a": Need.DIRECT, "b": Need.LISTED}, "/home/me/m") == (
        Module("a", "v1.0.0", direct=True, go="1.21"),
        Module("b", "v1.0.0", replacement="./sub"),
        Module("c", "v1.0.0", replacement="d@v2.0.0"),
    )


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("/r", "."),
        ("/r/x", "./x"),
        ("/x", "../x"),
        ("/", ".."),
        ("./x", "./x"),
        ("x/../y", "./y"),
        ("../x", "../x"),
        ("..x", "./..x"),
    ],
)
def test_directories_are_relative_to_the_module(path: str, short: str) -> None:
    assert relative(path, "/r") == short


def test_the_graph_is_read_without_the_nodes_of_go_itself() -> None:
    said = b"m a@v1.0.0\nm go@1.21\na@v1.0.0 go@1.21\ngo@1.21 toolchain@go1.21\na@v1.0.0 b@v1.0.0\n"
    assert read_edges(said) == (("a@v1.0.0", "b@v1.0.0"), ("m", "a@v1.0.0"))
    assert read_edges(b"") == ()
    assert read_edges(b"only one\nthree words here\n") is None


def test_a_main_module_is_read_with_its_go_and_toolchain_lines() -> None:
    said = b'{"Module": {"Path": "m"}, "Go": "1.21", "Toolchain": "go1.27.3"}'
    assert read_main(said, "./m") == Main("m", "./m", "1.21", "go1.27.3")
    assert read_main(b'{"Module": {"Path": "m"}}', ".") == Main("m")
    for bad in (b"", b"[]", b"{}", b'{"Module": {"Path": 1}}', b'{"Module": {"Path": "m"}, "Go": 1}'):
        assert read_main(bad, ".") is None


def test_hashes_are_read_without_the_numbers_of_their_lines() -> None:
    one = parse_sum(b"a v1 h1:x\na v1/go.mod h1:y\n", "go.sum")
    other = parse_sum(b"\na v1/go.mod h1:y\na v1 h1:x\n", "go.sum")
    assert read_sums([one]) == read_sums([other]) == {"go.sum": {"a v1": ("h1:x",), "a v1/go.mod": ("h1:y",)}}


def test_a_diff_is_read_as_the_lines_that_it_changes() -> None:
    said = b"diff current/go.mod tidy/go.mod\n--- current/go.mod\n+++ tidy/go.mod\n@@ -1,2 +1,2 @@\n x\n-\ta v1\n+\n+\tb v1\n"
    assert read_diff(said) == ("go.mod: - a v1", "go.mod: + b v1")
    assert read_diff(b"") == ()
