"""Who refers to whom, and sums."""

from dataclasses import replace

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Damage, Entry
from go_cache_safeguard.gocache.inventory import (
    UNKNOWN,
    Action,
    Foreign,
    Inventory,
    Output,
    Shape,
    id_half,
    kind_of,
    race_of,
    target_of,
    toolchain_of,
)

A, B, C, X, Y, Z = (bytes([number]) * 32 for number in range(6))
ABOUT = Archive("fmt", "linux", "amd64", "go1.27.3", ("-race",), id_half(A), "c" * 20)


def action(key: bytes, output: bytes | None) -> Action:
    entry = Damage.EMPTY if output is None else Entry(key, output, 10, 0)
    return Action(key, 175, 0, entry, 1, 0, 4096)


def make(key: bytes, about: Archive | None = None) -> Output:
    kind = Kind.OTHER if about is None else Kind.ARCHIVE
    return Output(key, 10, 4096, 0, 0o644, False, kind, about, Shape.FILE, 1, 0)  # noqa: FBT003 - a row


INVENTORY = Inventory(
    "/cache",
    "1:2",
    {A: action(A, X), B: action(B, X), C: action(C, Z)},
    {X: make(X, ABOUT), Y: make(Y)},
    (Foreign("7f/odd", "fifo", 0),),
)


def test_references_orphans_and_dangling_entries_are_told_apart() -> None:
    assert INVENTORY.references == {X: [A, B], Z: [C]}
    assert [output.output for output in INVENTORY.orphans()] == [Y]
    assert [entry.action for entry in INVENTORY.dangling()] == [C]
    assert INVENTORY.in_the_way == {"7f/odd": "fifo"}


def test_a_damaged_entry_names_nothing() -> None:
    broken = replace(INVENTORY, actions={A: action(A, None)})
    assert broken.references == {}
    assert {output.output for output in broken.orphans()} == {X, Y}
    assert list(broken.dangling()) == []


def test_the_owner_is_the_step_whose_id_is_inside() -> None:
    owner = INVENTORY.owner_of(INVENTORY.outputs[X])
    assert owner is not None
    assert owner.action == A
    assert INVENTORY.owner_of(INVENTORY.outputs[Y]) is None
    assert replace(INVENTORY, actions={B: action(B, X)}).owner_of(INVENTORY.outputs[X]) is None


def test_sums() -> None:
    assert (INVENTORY.files, INVENTORY.size, INVENTORY.disk) == (5, 3 * 175 + 20, 5 * 4096)
    assert INVENTORY.bytes_by(kind_of) == {"archive": 10, "other": 10}
    assert INVENTORY.bytes_by(toolchain_of) == {"go1.27.3": 10, UNKNOWN: 10}
    assert INVENTORY.bytes_by(target_of) == {"linux/amd64": 10, UNKNOWN: 10}
    assert INVENTORY.bytes_by(race_of) == {"race": 10, UNKNOWN: 10}
    plain = make(X, replace(ABOUT, flags=()))
    assert race_of(plain) == "plain"
    program = make(X, replace(ABOUT, goos="", version=""))
    assert (race_of(program), target_of(program), toolchain_of(program)) == (UNKNOWN, UNKNOWN, UNKNOWN)


def test_only_files_and_programs_are_sound_shapes() -> None:
    assert make(X).sound_shape
    assert replace(make(X), shape=Shape.PROGRAM).sound_shape
    assert not replace(make(X), shape=Shape.BAD_DIRECTORY).sound_shape


def test_half_a_build_id_is_twenty_characters_of_base64() -> None:
    assert id_half(bytes(range(32))) == "AAECAwQFBgcICQoLDA0O"
