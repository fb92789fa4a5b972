"""Unit tests of gotool.packages, mirroring the file they test."""

import json

from go_cache_safeguard.gotool.packages import Package, list_args, parse_packages

WORD = {
    "ImportPath": "example.org/m/word",
    "Name": "word",
    "Dir": "/src/m/word",
    "DepOnly": True,
    "Module": {"Path": "example.org/m", "Main": True, "Dir": "/src/m", "GoVersion": "1.21"},
    "GoFiles": ["word.go", "also.go"],
    "EmbedFiles": ["data/x.txt"],
    "IgnoredGoFiles": ["word_windows.go", "word_windows_test.go"],
    "Imports": ["errors"],
    "Stale": True,
    "StaleReason": "build ID mismatch",
}


def test_a_stream_of_objects_becomes_packages() -> None:
    data = "\n".join(json.dumps(value, indent="\t") for value in ({"ImportPath": "errors", "Standard": True}, WORD))
    errors, word = parse_packages(data.encode()) or ()
    assert errors == Package("errors", standard=True)
    assert word == Package(
        "example.org/m/word",
        name="word",
        directory="/src/m/word",
        only_needed=True,
        module="example.org/m",
        module_directory="/src/m",
        go="1.21",
        files=("also.go", "data/x.txt", "word.go"),
        left_out=("word_windows.go",),
        imports=("errors",),
        stale=True,
        reason="build ID mismatch",
        has_go=True,
    )


def test_a_replaced_module_has_version_and_directory_of_what_replaces_it() -> None:
    module = {"Path": "a.b/c", "Version": "v1.0.0", "Replace": {"Path": "../c", "Dir": "/src/c", "GoVersion": "1.22"}}
    (found,) = parse_packages(json.dumps({"ImportPath": "a.b/c", "Module": module}).encode()) or ()
    assert (found.module, found.version, found.module_directory, found.go) == ("a.b/c", "", "/src/c", "1.22")


def test_the_first_error_is_told_in_one_line() -> None:
    own = {"ImportPath": "a", "Error": {"Err": "found packages a\n\tand b"}, "DepsErrors": [{"Err": "other"}]}
    below = {"ImportPath": "b", "DepsErrors": [{"Err": "no such package"}]}
    packages = parse_packages((json.dumps(own) + json.dumps(below)).encode())
    assert packages is not None
    assert [package.error for package in packages] == ["found packages a and b", "no such package"]


def test_what_is_no_listing_is_none() -> None:
    for data in (b"{", b"[1]", b'"x"', b"{}", b'{"ImportPath": "a", "Module": 1}', b"\xff"):
        assert parse_packages(data) is None
    assert parse_packages(b"") == ()


def test_tests_are_listed_only_if_they_are_asked_for() -> None:
    assert "-test" not in list_args(["./..."])
    assert list_args(["./..."], tests=True)[:4] == ("list", "-e", "-deps", "-test")


def test_only_go_files_and_those_with_cgo_make_a_package_one_to_compile() -> None:
    values: tuple[dict[str, list[str]], ...] = ({"GoFiles": ["a.go"]}, {"CgoFiles": ["a.go"]}, {"CFiles": ["a.c"]}, {})
    packages = parse_packages("".join(json.dumps({"ImportPath": "a", **value}) for value in values).encode())
    assert packages is not None
    assert [package.has_go for package in packages] == [True, True, False, False]


def test_staleness_is_asked_for_only_with_a_graph() -> None:
    plain, stale = list_args(["./..."]), list_args(["./..."], graph="/x/g")
    assert "StaleReason" not in " ".join(plain)
    assert "StaleReason" in " ".join(stale)
    assert "-debug-actiongraph=/x/g" in stale
    assert plain[-2:] == ("--", "./...")
