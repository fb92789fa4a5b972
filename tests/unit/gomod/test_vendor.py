"""What a vendor directory should hold, by the list of it and by the modules."""

from hashlib import sha256

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.vendor import (
    Vendored,
    compare,
    inconsistent,
    not_coverable,
    parse_list,
    share_out,
    strays_and_odd,
)
from go_cache_safeguard.gomod.verify import Content, Damage, Odd

LIST = """# example.com/a v1.0.0
## explicit; go 1.21
example.com/a
example.com/a/sub
# example.com/a/nested v0.1.0 => example.com/fork v1.2.3
## explicit
example.com/a/nested
# example.com/local v1.0.0 => ../local
example.com/local/x
# example.com/unused v1.0.0
## explicit
# example.com/wild => example.com/other v1.0.0
# what is this
"""
A = Vendored(
    "example.com/a", Version("example.com/a", "v1.0.0"), "example.com/a@v1.0.0", ("example.com/a", "example.com/a/sub")
)


def files(**contents: str) -> dict[bytes, bytes]:
    return {
        name.replace("__", "/").replace("_dot_", ".").encode(): sha256(text.encode()).digest()
        for name, text in contents.items()
    }


def test_the_list_names_modules_what_replaces_them_and_their_packages() -> None:
    assert parse_list(LIST) == (
        A,
        Vendored(
            "example.com/a/nested",
            Version("example.com/fork", "v1.2.3"),
            "example.com/a/nested@v0.1.0 => example.com/fork v1.2.3",
            ("example.com/a/nested",),
        ),
        Vendored("example.com/local", None, "example.com/local@v1.0.0 => ../local", ("example.com/local/x",)),
    )
    assert parse_list("") == parse_list("example.com/no/module\n") == ()


def test_a_file_is_of_the_module_with_the_longest_path() -> None:
    names = (
        b"modules.txt",
        b"example.com/a/x",
        b"example.com/a/nested/x",
        b"example.com/ab/x",
        b"top",
        b"example.com/a",
    )
    shared, strays = share_out(dict.fromkeys(names, b""), parse_list(LIST))
    assert shared["example.com/a"] == {b"x": b""}
    assert shared["example.com/a/nested"] == {b"x": b""}
    assert strays == [b"example.com/ab/x", b"top", b"example.com/a"]


SOURCE = Content(
    files(
        a_dot_go="a",
        a_test_dot_go="t",
        gen_dot_go="g",
        go_dot_mod="m",
        LICENSE="l",
        sub__b_dot_go="b",
        data__text="d",
        other__c_dot_go="c",
    )
)
TEXTS = {
    b"gen.go": b"// hello\n//go:build ignore\n\npackage main\n",
    b"a.go": b'package a\n\nvar x = "//go:build ignore"\n',
}
WHOLE = files(a_dot_go="a", LICENSE="l", sub__b_dot_go="b", data__text="d")


def found(vendored: dict[bytes, bytes]) -> list[tuple[str, Damage, Outcome]]:
    return [(one.file, one.damage, one.outcome) for one in compare(A, vendored, SOURCE, TEXTS.get)]


def test_what_go_copies_is_whole_without_tests_ignored_files_and_other_packages() -> None:
    assert found(WHOLE) == []


@pytest.mark.parametrize(
    ("change", "damage", "outcome"),
    [
        ({b"a.go": b"x"}, Damage.EDITED, Outcome.BLOCK),
        ({b"data/text": b"x"}, Damage.EDITED, Outcome.BLOCK),
        ({b"new.go": b"x"}, Damage.EXTRA, Outcome.BLOCK),
        ({b"a.go": None}, Damage.MISSING, Outcome.BLOCK),
        ({b"LICENSE": None}, Damage.MISSING, Outcome.BLOCK),
        ({b"sub/b.go": None}, Damage.MISSING, Outcome.UNKNOWN),
    ],
)
def test_each_change_is_named(change: dict[bytes, bytes | None], damage: Damage, outcome: Outcome) -> None:
    (name,) = change
    changed = {key: digest for key, digest in {**WHOLE, **change}.items() if digest is not None}
    assert found(changed) == [(f"vendor/example.com/a/{name.decode()}", damage, outcome)]


@pytest.mark.parametrize(
    "constraint", ["//go:build ignore", "// +build ignore", "//go:build linux && ignore", "//\t+build x,ignore"]
)
def test_a_file_that_go_may_leave_out_is_not_missed(constraint: str) -> None:
    source = Content(files(x_dot_go="x"))
    assert list(compare(A, {}, source, lambda _name: f"{constraint}\n\npackage a\n".encode())) == []


def test_what_has_no_place_is_named() -> None:
    vendor = Content({}, (Odd("l", "it is a symbolic link"),))
    assert [(one.file, one.damage) for one in strays_and_odd(vendor, [b"x\n"])] == [
        ("vendor/x\\n", Damage.EXTRA),
        ("vendor/l", Damage.ODD),
    ]


def test_what_cannot_be_compared_is_never_passed() -> None:
    assert not_coverable(A, "it is away").outcome is Outcome.UNKNOWN
    assert not_coverable(Vendored("a", None, "a@v1", ("a",)), "a directory").outcome is Outcome.WARN


def test_what_go_says_about_the_list_is_told_module_by_module() -> None:
    said = """go: inconsistent vendoring in /m:
\texample.com/a@v1.0.0: is explicitly required in go.mod, but not marked as explicit in vendor/modules.txt
\texample.com/b@v1.0.0: is marked as explicit in vendor/modules.txt, but not explicitly required in go.mod

\tTo ignore the vendor directory, use -mod=readonly or -mod=mod.
\tTo sync the vendor directory, run:
\t\tgo mod vendor
"""
    assert [(one.module, one.version, one.damage) for one in inconsistent(said)] == [
        ("example.com/a", "v1.0.0", Damage.VENDOR_INCONSISTENT),
        ("example.com/b", "v1.0.0", Damage.VENDOR_INCONSISTENT),
    ]
    (only,) = inconsistent("go: no such thing\n")
    assert only.outcome is Outcome.UNKNOWN
