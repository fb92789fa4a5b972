"""Unit tests of gotool.stale, mirroring the file they test."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.gotool.packages import Package
from go_cache_safeguard.gotool.stale import COLUMNS, REASONS, Clue, Row, State, explain, meaning_of, missing_packages

STD = Package("errors", standard=True, only_needed=True)
LIB = Package("m/lib", name="lib", module="m", imports=("errors",))
MID = Package("m/mid", name="mid", module="m", imports=("m/lib",))
MAIN = Package("m", name="main", module="m", imports=("m/mid", "errors"))
PACKAGES = (STD, LIB, MID, MAIN)
BUILT = Clue(compiled=True)


def graph(*missing: str, installed: bool = False) -> tuple[BuildAction, ...]:
    def action(mode: str, package: str, *, found: bool) -> BuildAction:
        return BuildAction(
            id=0,
            mode=mode,
            package=package,
            action_id="x" * 20,
            build_id="x/y" if found else "",
            need_build=True,
            cmd=(),
            cpu_ns=0,
            real_ns=0,
            started="",
            done="",
        )

    builds = [action("build", package.path, found=package.path not in missing) for package in PACKAGES]
    return (*builds, action("link", "m", found=installed), action("build check cache", "m/lib", found=False))


def rows(
    *missing: str, clues: Mapping[str, Clue] | None = None, packages: tuple[Package, ...] = PACKAGES
) -> dict[str, Row]:
    return {row.package: row for row in explain(packages, graph(*missing), clues or dict.fromkeys(missing, BUILT))}


def test_what_is_found_comes_from_the_cache_and_a_program_is_linked() -> None:
    found = rows()
    assert [row.state for row in found.values()] == [State.CACHED, State.CACHED, State.CACHED, State.LINK]
    assert {row.why for row in found.values()} == {""}
    assert not any(row.rebuilt for row in found.values())


def test_an_installed_program_that_is_up_to_date_is_said_to_be() -> None:
    assert explain(PACKAGES, graph(installed=True), {})[-1].state is State.INSTALLED


def test_a_first_cause_is_told_from_its_cascade() -> None:
    found = rows("m/lib", "m/mid", "m")
    assert [(row.state, row.cause) for row in found.values()] == [
        (State.CACHED, ""),
        (State.COMPILE, "m/lib"),
        (State.CASCADE, "m/lib"),
        (State.CASCADE, "m/lib"),
    ]
    assert found["m/mid"].why == "needs m/lib"
    assert found["m"].why == "needs m/lib (through m/mid)"


@pytest.mark.parametrize(
    ("clue", "why"),
    [
        (Clue(), "the cache holds nothing of it: never built here, trimmed or cleaned"),
        (Clue(others=("go1.21.13 linux/amd64",)), "in the cache only for go1.21.13 linux/amd64"),
        (BUILT, "compiled before, but with other files, flags or environment"),
        (Clue(compiled=True, newer=("a.go",)), "a.go is newer than its last compilation"),
        (Clue(compiled=True, newer=("a", "b", "c", "d")), "a, b, c and 1 more are newer than its last compilation"),
        (
            Clue(compiled=True, directory=True),
            "files were added, removed or renamed in its directory after its last compilation",
        ),
        (Clue("GOFLAGS=-race", newer=("a",)), "because of GOFLAGS=-race: without, it would come from the cache"),
    ],
)
def test_a_first_cause_is_explained_by_the_strongest_clue(clue: Clue, why: str) -> None:
    assert rows("m/lib", clues={"m/lib": clue})["m/lib"].why == why


def test_of_a_module_version_the_version_is_named() -> None:
    versioned = replace(LIB, version="v1.2.0")
    why = rows("m/lib", clues={"m/lib": BUILT}, packages=(STD, versioned))["m/lib"].why
    assert why == "compiled before, but not v1.2.0 with these flags and environment"


def test_a_need_that_is_in_no_import_is_taken_from_what_go_says() -> None:
    implicit = replace(LIB, imports=(), stale=True, reason="stale dependency: errors")
    found = rows("errors", "m/lib", clues={"m/lib": BUILT, "errors": Clue()}, packages=(STD, implicit))
    assert (found["m/lib"].state, found["m/lib"].why) == (State.CASCADE, "needs errors")


def test_programs_are_not_told_apart_in_a_cache() -> None:
    assert rows("m", clues={"m": replace(BUILT, newer=("main.go",))})["m"].why == (
        "main.go is newer than anything built as a program here"
    )
    assert rows("m", clues={"m": BUILT})["m"].why.startswith("no program in the cache has these inputs")


def test_in_an_empty_cache_nothing_can_be_spared() -> None:
    found = rows("m/lib", "m/mid", clues={"m/lib": Clue(), "m/mid": Clue()})
    assert found["m/mid"].state is State.COMPILE
    assert found["m/mid"].cause == "m/mid"


def test_a_package_in_a_cascade_that_was_edited_itself_says_so() -> None:
    found = rows("m/lib", "m/mid", clues={"m/lib": BUILT, "m/mid": replace(BUILT, newer=("mid.go",))})
    assert (found["m/mid"].state, found["m/mid"].why) == (
        State.CASCADE,
        "needs m/lib; besides, mid.go is newer than its last compilation",
    )


def test_with_a_in_goflags_every_package_is_compiled() -> None:
    forced = tuple(replace(package, stale=True, reason="build -a flag in use") for package in PACKAGES)
    found = rows("errors", "m/lib", "m/mid", "m", packages=forced)
    assert {row.state for row in found.values()} == {State.COMPILE}
    assert {row.why for row in found.values()} == {REASONS["build -a flag in use"]}


def test_what_cannot_be_built_or_has_no_step_is_unknown() -> None:
    broken = replace(LIB, error="no such file")
    lost = Package("m/lost", stale=True)
    found = rows(packages=(broken, lost, Package("unsafe", standard=True)))
    assert (found["m/lib"].state, found["m/lib"].why) == (State.UNKNOWN, "no such file")
    assert (found["m/lost"].state, found["m/lost"].why) == (State.UNKNOWN, "go planned no step for it")
    assert found["unsafe"].state is State.CACHED


def test_go_has_six_reasons_and_each_has_a_meaning() -> None:
    assert len(REASONS) == 6
    for reason in REASONS:
        assert meaning_of(reason) == REASONS[reason]
    assert meaning_of("stale dependency: m/lib") == REASONS["stale dependency"]
    assert meaning_of("out of date") == ""


def test_a_row_has_json_and_csv_forms() -> None:
    row = rows("m/lib")["m/lib"]
    assert tuple(sorted(row.as_value())) == tuple(sorted(COLUMNS))
    cells = dict(zip(COLUMNS, row.as_cells(), strict=True))
    assert (cells["package"], cells["state"], cells["go_stale"]) == ("m/lib", "compile", "false")


def test_missing_packages_are_those_with_a_key_and_no_result() -> None:
    assert missing_packages(graph("m", "errors")) == {"m", "errors"}
