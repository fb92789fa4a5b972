"""`gomod.touched`: who uses a module, and through what."""

from typing import Any

from go_cache_safeguard.gomod.touched import Touch, read_packages, touched

MAIN, DEP = {"Path": "m", "Main": True}, {"Path": "dep"}
LISTED: list[dict[str, Any]] = [
    {"ImportPath": "fmt", "Standard": True},
    {"ImportPath": "deep", "Module": {"Path": "deep"}},
    {"ImportPath": "dep/a", "Module": DEP, "Imports": ["deep", "fmt"], "TestImports": ["other"]},
    {"ImportPath": "m/lib", "Module": MAIN, "Imports": ["dep/a"]},
    {"ImportPath": "m", "Module": MAIN, "Imports": ["m/lib"]},
    {"ImportPath": "m/tested", "Module": MAIN, "TestImports": ["deep"]},
    {"ImportPath": "m/lib [m/lib.test]", "Module": MAIN, "Imports": ["dep/a", "other [m/lib.test]"]},
    {"ImportPath": "m/lib.test", "Module": MAIN, "Imports": ["dep/a"]},
    {"ImportPath": "m/alone", "Module": MAIN},
    {"ImportPath": "other", "Module": {"Path": "other"}},
]


def test_packages_of_ones_own_are_named_nearest_first_with_the_shortest_way() -> None:
    assert touched(read_packages(LISTED), {"deep"}) == {
        "deep": [
            Touch("m/tested", ("deep",)),
            Touch("m/lib", ("dep/a", "deep")),
            Touch("m", ("m/lib", "dep/a", "deep")),
        ]
    }
    assert [touch.line() for touch in touched(read_packages(LISTED), {"dep"})["dep"]] == ["m/lib", "m through m/lib"]


def test_what_tests_of_others_import_is_not_built_and_does_not_count() -> None:
    found = touched(read_packages(LISTED), {"other"})["other"]
    assert [touch.package for touch in found] == ["m/lib", "m"], "m/lib imports it in its own test, dep/a only in its"


def test_a_module_that_nobody_uses_touches_nobody() -> None:
    assert touched(read_packages(LISTED), {"gone"}) == {"gone": []}


def test_packages_that_go_could_not_load_are_told_and_printable() -> None:
    broken: dict[str, Any] = {
        "ImportPath": "m/x",
        "Module": MAIN,
        "Imports": ["gone"],
        "Error": {"Err": "no required\n\tmodule \x1b[1m"},
    }
    packages = read_packages([*LISTED, broken])
    assert packages.problems == ("m/x: no required \\tmodule \\x1b[1m",)
    assert touched(packages, {"deep"})["deep"]


def test_imports_in_a_circle_end() -> None:
    listed: list[dict[str, Any]] = [
        {"ImportPath": "m/a", "Module": MAIN, "Imports": ["m/b"]},
        {"ImportPath": "m/b", "Module": MAIN, "Imports": ["m/a", "dep"]},
        {"ImportPath": "dep", "Module": DEP},
    ]
    assert [touch.package for touch in touched(read_packages(listed), {"dep"})["dep"]] == ["m/b", "m/a"]
