"""What changed between two keys: each change is told once, by what explains the rest."""

import pytest

from go_cache_safeguard.gocache.keychange import Change, describe, differences, own_changes, sign_of
from go_cache_safeguard.gocache.keyrecord import Part

_BASE = (
    "go1.21.13",
    "dir /m/a\n",
    "go 1.20\n",
    "goos linux goarch amd64\n",
    "compile compile version go1.21.13 [] []\n",
    "GOAMD64=v1\n",
    "file a.go AAAAAAAAAAAAAAAAAAAA\n",
    "import b BBBBBBBBBBBBBBBBBBBB\n",
)


def changed(*swaps: tuple[str, str], base: tuple[str, ...] = _BASE) -> list[str]:
    """What is told when lines are other ones; an old text that is empty is an addition."""
    lines = list(base)
    for old, new in swaps:
        if old:
            at = lines.index(old)
            lines[at : at + 1] = [new] if new else []
        else:
            lines.append(new)
    return [describe(change, "a") for change in own_changes(differences(base, lines))]


@pytest.mark.parametrize(
    ("swaps", "expected"),
    [
        ([("file a.go AAAAAAAAAAAAAAAAAAAA\n", "file a.go C\n")], ["file a.go of a edited"]),
        ([("", "file b.go C\n")], ["file b.go of a added"]),
        ([("file a.go AAAAAAAAAAAAAAAAAAAA\n", "")], ["file a.go of a removed"]),
        ([("import b BBBBBBBBBBBBBBBBBBBB\n", "import b C\n")], []),
        ([("go 1.20\n", "go 1.21\n")], ["go line: 1.20 before, 1.21 now"]),
        ([("GOAMD64=v1\n", "GOAMD64=v3\n")], ["environment GOAMD64: v1 before, v3 now"]),
        (
            [("goos linux goarch amd64\n", "goos linux goarch arm64\n"), ("GOAMD64=v1\n", "GOARM64=v8.0\n")],
            ["target GOARCH: amd64 before, arm64 now"],
        ),
        (
            [
                ("go1.21.13", "go1.27.3"),
                ("compile compile version go1.21.13 [] []\n", "compile compile version go1.27.3 [] []\n"),
            ],
            ["compiler version: go1.21.13 before, go1.27.3 now"],
        ),
        (
            [
                (
                    "compile compile version go1.21.13 [] []\n",
                    'compile compile version go1.21.13 ["-race"] []\n',
                ),
                ("", "file race.go C\n"),
            ],
            ["flag -race: not there before, true now"],
        ),
        (
            [("dir /m/a\n", "module m@\n"), ("", "trimpath\n")],
            ["flag -trimpath: not there before, true now"],
        ),
        ([("", 'cgo "x"\n'), ("", 'CC=["gcc"] [] [] []\n')], ["environment CGO_ENABLED: 0 before, 1 now"]),
        ([("dir /m/a\n", "dir /n/a\n")], ["directory: /m before, /n now"]),
        ([("", "pgofile X\n")], ["profile added"]),
        ([("", "unheard of\n")], ["other input unheard of: not there before, empty now"]),
    ],
)
def test_a_change_is_told_by_what_explains_it(swaps: list[tuple[str, str]], expected: list[str]) -> None:
    assert changed(*swaps) == expected


def test_two_changes_that_have_nothing_to_do_with_each_other_are_both_told() -> None:
    swaps = [("GOAMD64=v1\n", "GOAMD64=v2\n"), ("file a.go AAAAAAAAAAAAAAAAAAAA\n", "file a.go C\n")]
    assert changed(*swaps) == ["environment GOAMD64: v1 before, v2 now", "file a.go of a edited"]


def test_another_version_of_a_module_is_told_as_that() -> None:
    base = ("go1.21.13", "dir /home/x/go/pkg/mod/example.com/e@v1.0.0/sub\n", "file a.go A\n")
    new = ("dir /home/x/go/pkg/mod/example.com/e@v1.0.0/sub\n", "dir /home/x/go/pkg/mod/example.com/e@v1.1.0/sub\n")
    assert changed(new, ("file a.go A\n", "file a.go B\n"), base=base) == [
        "module example.com/e: v1.0.0 before, v1.1.0 now"
    ]


def test_the_files_of_the_standard_library_change_with_the_toolchain() -> None:
    changes = differences(("go1.21.13", "file a.go A\n"), ("go1.27.3", "file a.go B\n"))
    assert [change.part for change in own_changes(changes, standard=True)] == [Part.TOOLCHAIN]
    assert [change.part for change in own_changes(changes)] == [Part.TOOLCHAIN, Part.FILE]


def test_the_same_cause_in_two_packages_has_the_same_sign() -> None:
    here = Change(Part.DIRECTORY, "", "/old/m/a", "/new/m/a")
    there = Change(Part.DIRECTORY, "", "/old/m/b/c", "/new/m/b/c")
    assert sign_of(here, "a") == sign_of(there, "b/c")
    off = (Change(Part.ENVIRONMENT, "CGO_ENABLED", "1", "0"), Change(Part.ENVIRONMENT, "CGO_ENABLED", "1", None))
    assert sign_of(off[0], "a") == sign_of(off[1], "b")
    files = Change(Part.FILE, "x.go", "A", "B")
    assert sign_of(files, "a") != sign_of(files, "b")


def test_a_variable_that_a_test_reads_is_told_without_its_value() -> None:
    change = Change(Part.VARIABLE, "TOKEN", "00", "ff")
    assert describe(change) == "environment variable that the test reads TOKEN: another value"
    assert change.as_value()["text"] == describe(change)
