"""`verify.packages`: what `go list` says, and what a binary can be made of."""

import json

from go_cache_safeguard.verify.packages import Target, parse_packages, targets

MAIN = {"Path": "example.com/m", "Main": True}
LISTED: list[dict[str, object]] = [
    {"ImportPath": "fmt", "Name": "fmt", "Standard": True, "DepOnly": True},
    {
        "ImportPath": "example.com/x",
        "Name": "x",
        "DepOnly": True,
        "Module": {"Path": "example.com/x", "Version": "v1.0.0"},
    },
    {
        "ImportPath": "example.com/m/lib",
        "Name": "lib",
        "Module": MAIN,
        "GoFiles": ["a.go"],
        "TestGoFiles": ["a_test.go"],
    },
    {"ImportPath": "example.com/m/in", "Name": "in", "Module": MAIN, "DepOnly": True, "TestGoFiles": ["b_test.go"]},
    {"ImportPath": "example.com/m", "Name": "main", "Module": MAIN, "Dir": "/m", "CgoFiles": ["c.go"]},
]


def printed(values: list[dict[str, object]]) -> bytes:
    return b"\n".join(json.dumps(value, indent=1).encode() for value in values) + b"\n"


def test_packages_are_read_with_whose_they_are() -> None:
    found = parse_packages(printed(LISTED))
    assert found is not None
    assert [package.path for package in found if package.own] == [
        "example.com/m/lib",
        "example.com/m/in",
        "example.com/m",
    ]
    assert [package.path for package in found if package.named] == ["example.com/m/lib", "example.com/m"]
    assert (found[1].module, found[1].version, found[2].version) == ("example.com/x", "v1.0.0", "")
    assert found[2].sources == ("a.go", "a_test.go")
    assert found[4].sources == ("c.go",)


def test_what_is_no_list_is_not_read() -> None:
    for text in (b"{", b"[]", b'{"Name": "x"}', b'{"ImportPath": "x"} trailing', b'{"ImportPath": "x", "Module": 3}'):
        assert parse_packages(text) is None
    assert parse_packages(b"") == ()


def test_programs_are_looked_at_before_test_programs() -> None:
    found = parse_packages(printed(LISTED)) or ()
    own = frozenset({"example.com/m/lib", "example.com/m/in"})
    assert targets(found) == (Target("example.com/m", test=False, units=own | {"main"}),)
    assert targets(found[:4]) == (Target("example.com/m/lib", test=True, units=own | {"example.com/m/lib_test"}),)


def test_of_a_library_without_tests_no_binary_can_be_made() -> None:
    found = parse_packages(printed(LISTED)) or ()
    assert targets(found[:2]) == ()
