"""Judging what was seen, without a disk."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.damage import Effect, Finding, Wrong
from go_cache_safeguard.gocache.entry import Damage, Entry
from go_cache_safeguard.gocache.fsck import GRACE_NS, Memory, Seal, is_damage, judge
from go_cache_safeguard.gocache.inventory import Action, Foreign, Inventory, Output, Shape, id_half
from go_cache_safeguard.gocache.layout import action_name, output_name

A, B, X = (bytes([number]) * 32 for number in (0xA1, 0xB2, 0xC3))
NOW = 1_900_000_000_000_000_000
OLD = NOW - 2 * GRACE_NS
ABOUT = Archive("fmt", "linux", "amd64", "go1.27.3", (), id_half(A), "c" * 20)
GOOD = Seal(content=True, content_id=True)
OUTPUT = Output(X, 10, 4096, OLD, 0o644, False, Kind.ARCHIVE, ABOUT, Shape.FILE, 1, OLD)  # noqa: FBT003 - a row


def action(key: bytes = A, entry: Entry | Damage | None = None, ctime_ns: int = OLD) -> Action:
    return Action(key, 175, OLD, entry, 1, ctime_ns, 4096)


def naming(key: bytes = A, size: int = 10) -> Action:
    return action(key, Entry(key, X, size, OLD))


def find(
    *actions: Action,
    output: Output | None = OUTPUT,
    seal: Seal | None = GOOD,
    memory: Memory | None = None,
    foreign: tuple[Foreign, ...] = (),
) -> list[Finding]:
    outputs = {} if output is None else {X: output}
    inventory = Inventory("/cache", "1:2", {item.action: item for item in actions}, outputs, foreign)
    return judge(inventory, {} if seal is None else {X: seal}, memory=memory, now_ns=NOW)


def shown(findings: list[Finding]) -> list[tuple[Wrong, Effect]]:
    return [(finding.kind, finding.effect) for finding in findings]


def test_a_sound_pair_has_no_finding() -> None:
    assert find(naming()) == []
    assert find(naming(), seal=None) == []


def test_wrong_content_is_found_and_named() -> None:
    (finding,) = find(naming(), seal=Seal(content=False))
    assert finding == Finding(
        output_name(X),
        Wrong.CONTENT,
        "fmt",
        "go1.27.3",
        "linux/amd64",
        Effect.SILENTLY_WRONG,
        Outcome.BLOCK,
        "the content of this archive is not what its name says",
        (action_name(A), output_name(X)),
    )


@pytest.mark.parametrize(
    ("output", "seal", "memory", "effect"),
    [
        (OUTPUT, Seal(content=False, zeros=True), None, Effect.SILENTLY_WRONG),
        (
            replace(OUTPUT, about=None, kind=Kind.OTHER),
            Seal(content=False, zeros=True),
            None,
            Effect.BUILD_FAILS_FOREVER,
        ),
        (replace(OUTPUT, about=None), Seal(content=False), None, Effect.BUILD_FAILS_FOREVER),
        (replace(OUTPUT, about=None, kind=Kind.OTHER), Seal(content=False), None, Effect.SILENTLY_WRONG),
        (replace(OUTPUT, about=None, kind=Kind.OTHER), Seal(content=False), ABOUT, Effect.BUILD_FAILS_FOREVER),
        (replace(OUTPUT, kind=Kind.TEST_LOG, about=None), Seal(content=False), None, Effect.HEALS_ITSELF),
    ],
)
def test_what_wrong_content_does_depends_on_what_it_was(
    output: Output, seal: Seal, memory: Archive | None, effect: Effect
) -> None:
    remembered = Memory({X: (Kind.ARCHIVE, memory)}) if memory else None
    assert shown(find(naming(), output=output, seal=seal, memory=remembered)) == [(Wrong.CONTENT, effect)]


def test_an_entry_of_another_step_is_found_and_only_it_is_taken_away() -> None:
    (finding,) = find(naming(A), naming(B))
    assert (finding.name, finding.kind, finding.effect) == (action_name(B), Wrong.REPOINTED, Effect.SILENTLY_WRONG)
    assert finding.evict == (action_name(B),)


def test_a_wrong_content_id_is_found() -> None:
    assert shown(find(naming(), seal=Seal(content=True, content_id=False))) == [
        (Wrong.CONTENT_ID, Effect.SILENTLY_WRONG)
    ]


def test_a_wrong_size_takes_the_output_away_only_if_no_entry_fits() -> None:
    (finding,) = find(naming(size=11))
    assert (finding.kind, finding.evict) == (Wrong.SIZE, (action_name(A), output_name(X)))
    findings = find(naming(A), naming(B, size=11))
    assert [finding.evict for finding in findings] == [(action_name(B),)]


@pytest.mark.parametrize("damage", list(Damage))
def test_every_damage_of_an_entry_heals_itself(damage: Damage) -> None:
    (finding,) = find(action(entry=damage), output=None)
    assert (finding.kind, finding.effect, finding.evict) == (Wrong.ENTRY, Effect.HEALS_ITSELF, (action_name(A),))
    assert damage.value in finding.text


def test_what_an_entry_was_is_remembered() -> None:
    memory = Memory({X: (Kind.ARCHIVE, ABOUT)}, {A: X})
    (finding,) = find(action(entry=Damage.MALFORMED), output=None, memory=memory)
    assert finding.package == "fmt"
    (finding,) = find(naming(), output=None, memory=memory)
    assert (finding.kind, finding.package) == (Wrong.DANGLING, "fmt")


@pytest.mark.parametrize("damage", [Damage.EMPTY, Damage.SHORT])
def test_a_young_short_entry_is_being_written(damage: Damage) -> None:
    findings = find(action(entry=damage, ctime_ns=NOW - 1), output=None)
    assert shown(findings) == [(Wrong.IN_PROGRESS, Effect.HARMLESS)]
    assert not is_damage(findings[0])
    assert shown(find(action(entry=Damage.MALFORMED, ctime_ns=NOW - 1), output=None))[0][0] is Wrong.ENTRY


def test_a_young_short_output_is_being_written_and_a_long_one_is_not() -> None:
    young = replace(OUTPUT, ctime_ns=NOW - 1)
    assert shown(find(naming(size=11), output=young)) == [(Wrong.IN_PROGRESS, Effect.HARMLESS)]
    assert shown(find(naming(size=9), output=young)) == [(Wrong.SIZE, Effect.HEALS_ITSELF)]


def test_what_cannot_be_read_is_unknown() -> None:
    assert shown(find(action())) == [(Wrong.UNREADABLE, Effect.UNKNOWN), (Wrong.ORPHAN, Effect.HARMLESS)]
    (finding,) = find(naming(), seal=Seal(content=None, error="Input/output error"))
    assert (finding.kind, finding.severity) == (Wrong.UNREADABLE, Outcome.UNKNOWN)
    assert "Input/output error" in finding.text
    (finding,) = find(naming(), output=replace(OUTPUT, shape=Shape.UNREADABLE))
    assert (finding.kind, finding.severity) == (Wrong.UNREADABLE, Outcome.UNKNOWN)
    inventory = Inventory("/cache", "1:2", {}, {}, unreadable=("7f",))
    assert shown(judge(inventory, {}, now_ns=NOW)) == [(Wrong.UNREADABLE, Effect.UNKNOWN)]


def test_a_foreign_thing_in_the_place_of_an_output_is_unknown() -> None:
    (finding,) = find(naming(), output=None, foreign=(Foreign(output_name(X), "fifo", 0),))
    assert (finding.kind, finding.effect, finding.evict) == (Wrong.NOT_REGULAR, Effect.UNKNOWN, (action_name(A),))


PROGRAM = replace(OUTPUT, kind=Kind.EXECUTABLE, is_dir=True, shape=Shape.PROGRAM, mode=0o755)


def test_a_program_must_be_executable_and_alone_in_its_directory() -> None:
    assert find(naming(), output=PROGRAM) == []
    assert shown(find(naming(), output=replace(PROGRAM, mode=0o644))) == [
        (Wrong.PROGRAM_MODE, Effect.BUILD_FAILS_FOREVER)
    ]
    assert shown(find(naming(size=9), output=PROGRAM)) == [(Wrong.SIZE, Effect.HEALS_ITSELF)]
    bad = replace(PROGRAM, shape=Shape.BAD_DIRECTORY)
    assert shown(find(naming(), output=bad)) == [(Wrong.PROGRAM_SHAPE, Effect.REBUILDS_EVERY_TIME)]
    memory = Memory({X: (Kind.EXECUTABLE, None)})
    assert shown(find(naming(), output=bad, memory=memory)) == [(Wrong.PROGRAM_SHAPE, Effect.HEALS_ITSELF)]


def test_kinds_without_a_build_id_have_no_second_seal() -> None:
    assert find(naming(), naming(B), output=replace(OUTPUT, kind=Kind.INDEX, about=None)) == []


def test_orphans_are_never_judged() -> None:
    assert shown(find(seal=Seal(content=False))) == [(Wrong.ORPHAN, Effect.HARMLESS)]


def test_the_worst_comes_first() -> None:
    findings = find(action(A, Damage.LONG), naming(B), seal=Seal(content=False))
    assert [finding.effect for finding in findings] == [Effect.SILENTLY_WRONG, Effect.HEALS_ITSELF]
