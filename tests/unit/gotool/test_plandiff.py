"""Unit tests of gotool.plandiff, mirroring the file they test."""

from dataclasses import replace

import pytest

from go_cache_safeguard.gotool.buildplan import Plan, Unit
from go_cache_safeguard.gotool.instructions import Step
from go_cache_safeguard.gotool.plandiff import Cause, Comparison, Difference, Kind, compare


def unit(name: str, *imports: str, standard: bool = False) -> Unit:
    flags = (f"-p {name}", "-lang=go1.21", "-goversion go1.27.3")
    return Unit(
        standard=standard,
        module="" if standard else "m",
        version="",
        go="" if standard else "1.21",
        imports=imports,
        sources={f"{name}.go": "aa"},
        steps=(Step("compile", flags, (f"{name}.go",)),),
        config=tuple(f"packagefile {each}" for each in imports),
    )


UNITS = {"m": unit("m", "lib"), "lib": unit("lib", "std"), "std": unit("std", standard=True)}
PLAN = Plan("go1.27.3", {"GOFLAGS": "", "GOAMD64": "v1"}, ("./...",), UNITS)


def with_unit(name: str, changed: Unit, plan: Plan = PLAN) -> Plan:
    return replace(plan, units={**plan.units, name: changed})


def only(found: Comparison) -> Difference:
    (difference,) = found.differences
    return difference


def test_the_same_plan_is_equal() -> None:
    found = compare(PLAN, PLAN)
    assert (found.differences, found.environment, found.toolchain, found.packages) == ((), (), None, 3)


def test_an_edited_file_is_a_change_of_its_package() -> None:
    difference = only(compare(PLAN, with_unit("lib", replace(UNITS["lib"], sources={"lib.go": "bb"}))))
    assert (difference.package, difference.kind, difference.gone, difference.new) == (
        "lib",
        Kind.SOURCE,
        ("lib.go",),
        ("lib.go",),
    )
    assert (difference.causes, difference.because) == ((Cause.PACKAGE,), "its files were changed")


def test_a_new_file_is_a_source_and_an_input() -> None:
    step = replace(UNITS["lib"].steps[0], inputs=("lib.go", "new.go"))
    after = replace(UNITS["lib"], sources={"lib.go": "aa", "new.go": "cc"}, steps=(step,))
    found = compare(PLAN, with_unit("lib", after)).differences
    assert [(each.kind, each.where, each.new) for each in found] == [
        (Kind.SOURCE, "", ("new.go",)),
        (Kind.INPUT, "compile", ("new.go",)),
    ]
    assert {each.causes for each in found} == {(Cause.PACKAGE,)}


def test_a_flag_with_another_environment_is_the_environment() -> None:
    step = replace(UNITS["m"].steps[0], flags=(*UNITS["m"].steps[0].flags, "-N"))
    after = replace(with_unit("m", replace(UNITS["m"], steps=(step,))), environment={"GOFLAGS": "-N", "GOAMD64": "v1"})
    found = compare(PLAN, after)
    assert [(change.name, change.before, change.after) for change in found.environment] == [("GOFLAGS", "", "-N")]
    difference = only(found)
    assert (difference.kind, difference.where, difference.new) == (Kind.FLAG, "compile", ("-N",))
    assert (difference.causes, difference.because) == ((Cause.ENVIRONMENT,), "GOFLAGS is '-N' instead of ''")


def test_a_setting_that_one_side_does_not_know_is_not_compared() -> None:
    assert compare(PLAN, replace(PLAN, environment={"GOFLAGS": "", "GOFIPS140": "off"})).environment == ()


def test_another_toolchain_explains_its_own_flags_and_files() -> None:
    std = unit("std", standard=True)
    step = replace(std.steps[0], flags=("-p std", "-lang=go1.22", "-goversion go1.22.0"))
    after = with_unit("std", replace(std, steps=(step,), sources={"std.go": "bb"}))
    found = compare(PLAN, replace(after, toolchain="go1.22.0"))
    assert {each.causes for each in found.differences} == {(Cause.TOOLCHAIN,)}
    assert {each.because for each in found.differences} == {"go1.22.0 instead of go1.27.3"}


def test_changed_files_of_the_same_toolchain_are_the_toolchain_too() -> None:
    difference = only(compare(PLAN, with_unit("std", replace(UNITS["std"], sources={"std.go": "bb"}))))
    assert (difference.causes, difference.because) == (
        (Cause.TOOLCHAIN,),
        "files of the toolchain were changed, though its version is the same",
    )


def test_the_go_line_explains_the_language() -> None:
    step = replace(UNITS["m"].steps[0], flags=("-p m", "-lang=go1.22", "-goversion go1.27.3"))
    difference = only(compare(PLAN, with_unit("m", replace(UNITS["m"], go="1.22", steps=(step,)))))
    assert (difference.gone, difference.new) == (("-lang=go1.21",), ("-lang=go1.22",))
    assert (difference.causes, difference.because) == (
        (Cause.PACKAGE,),
        "the go line of its module says 1.22 instead of 1.21",
    )


def test_another_version_of_a_module_is_named() -> None:
    before = with_unit("lib", replace(UNITS["lib"], module="d", version="v1.0.0"))
    after = with_unit("lib", replace(UNITS["lib"], module="d", version="v1.1.0", sources={"lib.go": "bb"}))
    found = compare(before, after).differences
    assert [each.kind for each in found] == [Kind.MODULE, Kind.SOURCE]
    assert found[0].because == "its module is d v1.1.0 instead of d v1.0.0"
    assert {each.causes for each in found} == {(Cause.PACKAGE,)}


def test_a_stored_version_that_changed_points_at_the_module_cache() -> None:
    before = with_unit("lib", replace(UNITS["lib"], module="d", version="v1.0.0"))
    after = with_unit("lib", replace(before.units["lib"], sources={"lib.go": "bb"}))
    assert "mod verify" in only(compare(before, after)).because


def test_a_changed_dependency_explains_the_import_configuration_above_it() -> None:
    lib = replace(UNITS["lib"], sources={"lib.go": "bb"}, imports=("std", "more"))
    main = replace(UNITS["m"], config=("packagefile lib", "packagefile more"))
    after = with_unit("more", unit("more", standard=True), with_unit("m", main, with_unit("lib", lib)))
    found = {(each.package, each.kind): each for each in compare(PLAN, after).differences}
    assert found["m", Kind.CONFIG].because == "lib, which it needs, was changed"
    assert found["more", Kind.ADDED].because == "the imports of lib were changed"
    assert {each.causes for each in found.values()} == {(Cause.PACKAGE,)}


def test_what_nothing_recorded_explains_is_unknown() -> None:
    lone = {name: replace(each, imports=()) for name, each in UNITS.items()}
    step = replace(UNITS["m"].steps[0], flags=("-p m",))
    before = replace(PLAN, units=lone)
    difference = only(compare(before, with_unit("m", replace(lone["m"], steps=(step,)), before)))
    assert difference.causes == (Cause.UNKNOWN,)
    without = replace(before, units={name: each for name, each in lone.items() if name != "lib"})
    gone = only(compare(before, without))
    assert (gone.kind, gone.causes) == (Kind.GONE, (Cause.UNKNOWN,))


def test_tools_and_order_are_told_apart() -> None:
    asm = Step("asm", (), ("a.s",))
    before = with_unit("lib", replace(UNITS["lib"], steps=(Step("compile", (), ("a.go", "b.go")),)))
    more = with_unit("lib", replace(UNITS["lib"], steps=(Step("compile", (), ("b.go", "a.go")), asm)))
    found = {each.kind: each for each in compare(before, more).differences}
    assert (found[Kind.TOOL].gone, found[Kind.TOOL].new) == ((), ("asm",))
    assert (found[Kind.ORDER].gone, found[Kind.ORDER].new) == (("a.go", "b.go"), ("b.go", "a.go"))


@pytest.mark.parametrize("version", ["go1.27.3", "go1.21.13"])
def test_a_comparison_has_a_json_form(version: str) -> None:
    value = compare(PLAN, replace(with_unit("x", unit("x")), toolchain=version)).as_value()
    assert value["packages"] == 4
    assert isinstance(value["differences"], list)
    assert value["differences"][0]["kind"] == "package added"
