"""From a listing and its seals to what is wrong.

Knows:     the three seals of an archive, which entries `go` would believe, and what the cheapest cure is.
Called by: `gocache.disk.inspect`, once with what a first look saw and once with what a second look saw.
Never:     judges an output that no entry names: during a build such outputs are merely not finished.
Source:    cmd/go/internal/cache/cache.go; cmd/go/internal/work/buildid.go (`actionID`, `contentID`, `updateBuildID`).

The seals: (i) SHA-256 of an output is its name; (ii) the first half of the build ID inside an archive or a program is the
beginning of the one action that names it; (iii) the second half, of an archive, is the hash of its content without it.
The second finds what no content hash can: an entry that points at an older, in itself perfect archive.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.damage import SEVERITY, Effect, Finding, Wrong, effect_of_content
from go_cache_safeguard.gocache.entry import Damage, Entry
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output, Shape, id_half
from go_cache_safeguard.gocache.layout import action_name, output_name

Facts: TypeAlias = tuple[Kind, Archive | None]
"""What an output is and says; both follow from its content, so also from its name."""

GRACE_NS = 10_000_000_000
"""How long a short file may be a file that is being written. `go` writes an output in one go, then the entry: that takes
milliseconds, and seconds for a large program on a slow disk. A shorter file left by a crash is found ten seconds later."""

_SHORT = (Damage.EMPTY, Damage.SHORT)
_ORDER = tuple(Effect)


@dataclass(frozen=True, slots=True)
class Seal:
    """What reading one output in full showed.

    Attributes:
        content: SHA-256 of the content is the name; None if it could not be read to its end.
        content_id: The second half of the build ID is right; None if there is none or nobody looked.
        zeros: It ends in zeros, as files do that lost power.
        error: Why it could not be read.
    """

    content: bool | None
    content_id: bool | None = None
    zeros: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What an earlier, sound look knew about things that are now damaged.

    Attributes:
        outputs: Kind and self-description, by output.
        actions: The output that an entry named, by action.
    """

    outputs: Mapping[bytes, Facts] = field(default_factory=dict)
    actions: Mapping[bytes, bytes] = field(default_factory=dict)


def judge(
    inventory: Inventory,
    seals: Mapping[bytes, Seal],
    *,
    memory: Memory | None = None,
    now_ns: int,
    grace_ns: int = GRACE_NS,
) -> list[Finding]:
    """Say everything that is wrong with a cache.

    Args:
        inventory: What is there.
        seals: What reading outputs showed, by output. An output without one counts as sound in content.
        memory: What was known before, to name the package of what can no longer say it.
        now_ns: The time, in nanoseconds since 1970-01-01 UTC.
        grace_ns: How young a short file may be to count as being written.

    Returns:
        Findings, worst first, then by name.
    """
    judged = _Judge(inventory, seals, memory or Memory(), now_ns - grace_ns)
    findings = [*judged.entries(), *judged.outputs(), *judged.rest()]
    return sorted(findings, key=lambda finding: (_ORDER.index(finding.effect), finding.name))


@dataclass(frozen=True, slots=True)
class _Judge:
    inventory: Inventory
    seals: Mapping[bytes, Seal]
    memory: Memory
    young_ns: int

    def entries(self) -> Iterator[Finding]:
        """What is wrong with index entries, each for itself."""
        outputs = self.inventory.outputs
        for action in self.inventory.actions.values():
            entry = action.entry
            if not isinstance(entry, Entry):
                yield self._bad_entry(action)
            elif (output := outputs.get(entry.output)) is None:
                yield self._dangling(action, entry)
            elif output.size != entry.size and output.sound_shape:
                yield self._size(action, output, entry)

    def outputs(self) -> Iterator[Finding]:
        """What is wrong with outputs that entries name."""
        for key, actions in self.inventory.references.items():
            output = self.inventory.outputs.get(key)
            if output is None:
                continue
            if not output.sound_shape:
                yield self._shape(output, actions)
                continue
            seal = self.seals.get(key)
            if (seal is None or _is_whole(seal, output)) and self._plainly_sound(output, actions):
                continue
            good = [action for action in actions if self._size_fits(action, output)]
            if good:
                yield from self._content(output, good, seal)

    def rest(self) -> Iterator[Finding]:
        """What is in nobody's way."""
        for output in self.inventory.orphans():
            text = f"no entry names this {output.kind.value}; it can be reclaimed"
            yield _find(output_name(output.output), Wrong.ORPHAN, _facts(output), Effect.HARMLESS, text)
        for name in self.inventory.unreadable:
            text = "this directory could not be listed, so what is in it is unknown"
            yield _find(name, Wrong.UNREADABLE, None, Effect.UNKNOWN, text)

    def _plainly_sound(self, output: Output, actions: list[bytes]) -> bool:
        """Whether an output that was not hashed now needs no closer look: nearly all, so this is asked first."""
        if output.kind is Kind.EXECUTABLE:
            return False
        if output.about is None:
            return True  # an empty output may be named a hundred thousand times
        return len(actions) == 1 and id_half(actions[0]) == output.about.build_action

    def _size_fits(self, action: bytes, output: Output) -> bool:
        entry = self.inventory.actions[action].entry
        return isinstance(entry, Entry) and entry.size == output.size

    def _bad_entry(self, action: Action) -> Finding:
        name = action_name(action.action)
        before = self.memory.actions.get(action.action)
        facts = None if before is None else self._remembered(before)
        if not isinstance(action.entry, Damage):
            return _find(name, Wrong.UNREADABLE, facts, Effect.UNKNOWN, "this entry could not be read")
        if action.entry in _SHORT and action.ctime_ns > self.young_ns:
            return _find(name, Wrong.IN_PROGRESS, facts, Effect.HARMLESS, "this entry is being written")
        text = f"go does not accept this entry: {action.entry.value}"
        return _find(name, Wrong.ENTRY, facts, Effect.HEALS_ITSELF, text, evict=(name,))

    def _dangling(self, action: Action, entry: Entry) -> Finding:
        name, output = action_name(action.action), output_name(entry.output)
        facts = self._remembered(entry.output)
        if (foreign := self.inventory.in_the_way.get(output)) is not None:
            # go follows a link and may wait for ever at a pipe; we do neither, so we cannot tell.
            text = f"where the output of this entry should be, there is a {foreign}: {output}"
            return _find(name, Wrong.NOT_REGULAR, facts, Effect.UNKNOWN, text, evict=(name,))
        text = f"the output that this entry names is not there: {output}"
        return _find(name, Wrong.DANGLING, facts, Effect.HEALS_ITSELF, text, evict=(name,))

    def _size(self, action: Action, output: Output, entry: Entry) -> Finding:
        name = action_name(action.action)
        facts = self._remembered(output.output) or _facts(output)
        if output.size < entry.size and output.ctime_ns > self.young_ns:
            return _find(name, Wrong.IN_PROGRESS, facts, Effect.HARMLESS, "the output of this entry is being written")
        text = f"the entry says {entry.size} bytes, the output has {output.size}"
        rest = () if self._wanted(output) else (output_name(output.output),)
        return _find(name, Wrong.SIZE, facts, Effect.HEALS_ITSELF, text, evict=(name, *rest))

    def _wanted(self, output: Output) -> bool:
        """Whether some entry names the output with the size that it has."""
        return any(self._size_fits(action, output) for action in self.inventory.references[output.output])

    def _shape(self, output: Output, actions: list[bytes]) -> Finding:
        name = output_name(output.output)
        facts = self._remembered(output.output)
        evict = (*(action_name(action) for action in actions), name)
        if output.shape is Shape.UNREADABLE:
            return _find(name, Wrong.UNREADABLE, facts, Effect.UNKNOWN, "this output could not be read")
        text = f"where this output should be, there is a {output.shape.value}"
        if facts is not None and facts[0] is Kind.EXECUTABLE:
            return _find(name, Wrong.PROGRAM_SHAPE, facts, Effect.HEALS_ITSELF, text, evict=evict)
        return _find(name, Wrong.PROGRAM_SHAPE, facts, Effect.REBUILDS_EVERY_TIME, text, evict=evict)

    def _content(self, output: Output, actions: list[bytes], seal: Seal | None) -> Iterator[Finding]:
        name = output_name(output.output)
        everything = (*(action_name(action) for action in actions), name)
        if seal is not None and seal.content is None:
            yield _find(name, Wrong.UNREADABLE, _facts(output), Effect.UNKNOWN, f"could not be read: {seal.error}")
            return
        if seal is not None and not seal.content:
            yield self._wrong_content(output, everything, zeros=seal.zeros)
            return
        if seal is not None and seal.content_id is False:
            text = "the second half of the build ID inside is not that of the content: it was not made by go like this"
            yield _find(name, Wrong.CONTENT_ID, _facts(output), Effect.SILENTLY_WRONG, text, evict=everything)
            return
        if output.kind is Kind.EXECUTABLE and not output.mode & 0o111:
            text = "this program may not be executed, as after a restore that forgets modes"
            yield _find(name, Wrong.PROGRAM_MODE, _facts(output), Effect.BUILD_FAILS_FOREVER, text, evict=everything)
        yield from self._repointed(output, actions)

    def _wrong_content(self, output: Output, evict: tuple[str, ...], *, zeros: bool) -> Finding:
        facts = self._remembered(output.output) or _facts(output)
        # Zeros at the end alone prove nothing: with some packages the linker stops, with others it does not notice.
        told = output.about is not None if output.kind is Kind.ARCHIVE else not zeros
        effect = effect_of_content(facts[0], readable=told and output.kind is facts[0])
        hint = ": it ends in zeros" if zeros else ""
        text = f"the content of this {facts[0].value} is not what its name says{hint}"
        return _find(output_name(output.output), Wrong.CONTENT, facts, effect, text, evict=evict)

    def _repointed(self, output: Output, actions: list[bytes]) -> Iterator[Finding]:
        if output.about is None:
            return
        for action in actions:
            if id_half(action) != output.about.build_action:
                name = action_name(action)
                text = f"this entry names an output that another build step made: {output_name(output.output)}"
                yield _find(name, Wrong.REPOINTED, _facts(output), Effect.SILENTLY_WRONG, text, evict=(name,))

    def _remembered(self, output: bytes) -> Facts | None:
        return self.memory.outputs.get(output)


def _find(
    name: str, kind: Wrong, facts: Facts | None, effect: Effect, text: str, *, evict: tuple[str, ...] = ()
) -> Finding:
    about = facts[1] if facts else None
    package = about.package if about else None
    toolchain = about.version or None if about else None
    target = about.target if about and about.goos else None
    return Finding(name, kind, package, toolchain, target, effect, SEVERITY[effect], text, evict=evict)


def _facts(output: Output) -> Facts:
    return output.kind, output.about


def _is_whole(seal: Seal, output: Output) -> bool:
    return seal.content is True and (output.about is None or seal.content_id is True)


def is_damage(finding: Finding) -> bool:
    """Whether a second look is worth while: orphans and files being written are no damage."""
    return finding.severity is not Outcome.PASS
