"""Every change can be made to the module that it is for."""

import pytest

from go_cache_safeguard.gocache.dimensions import DIMENSIONS, Dimension, Need, named
from go_cache_safeguard.gotool.sample import PACKAGES, dependent_files, sample_files, subject_files

FILES = {**sample_files(), "go.sum": b""}
NEW = {"default.pgo", "README"}


def test_names_are_unique_and_fit_a_command_line() -> None:
    names = [dimension.name for dimension in DIMENSIONS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name and "|" not in name for name in names)


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda one: one.name)
def test_every_edit_finds_what_it_replaces(dimension: Dimension) -> None:
    for edit in (*dimension.base.edits, *dimension.change.edits):
        assert edit.file in FILES or (edit.file in NEW and dimension.own and not edit.old), edit
        assert edit.old.encode() in FILES.get(edit.file, b"")
        assert not edit.keep_time or len(edit.old) == len(edit.new)


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda one: one.name)
def test_what_needs_no_file_of_ours_edits_what_is_planted_only(dimension: Dimension) -> None:
    planted = {f"a/{name}" for name in subject_files("a")} | {f"b/{name}" for name in dependent_files("b", "m/a")}
    edited = {edit.file for edit in dimension.change.edits}
    assert Need.SAMPLE in dimension.needs or edited <= planted | {"go.mod", "README"}
    assert not dimension.test or dimension.test in PACKAGES


def test_dimensions_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert named(()) == DIMENSIONS
    chosen = named(("race", "again"))
    assert not isinstance(chosen, str)
    assert [one.name for one in chosen] == ["again", "race"]
    assert named(("race", "nosuch")) == "nosuch"
