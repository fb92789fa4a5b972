"""What changed from one cache key to another.

Knows:     how two keys are compared, which change brings others with it, and how a change is told.
Called by: `gocache.why` and `gocache.keyproof`.
Never:     looks at more than the two keys.
Source:    which inputs go together: measured with go1.21.13, go1.24.11 and go1.27.3, dimension by dimension.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.gocache.keyrecord import Input, Part, inputs_of

_ORDER = {part: at for at, part in enumerate(Part)}
_CHOSEN = frozenset({Part.TOOLCHAIN, Part.TARGET, Part.EXPERIMENT, Part.FLAG})
"""What decides which files of a package are used."""


@dataclass(frozen=True, slots=True)
class Change:
    """One input of a key that is not what it was.

    Attributes:
        part: What kind.
        name: Which one; empty if there is only one of its kind.
        old: What it was; None if it was not there.
        new: What it is; None if it is not there.
    """

    part: Part
    name: str
    old: str | None
    new: str | None

    @property
    def is_edit(self) -> bool:
        """It was there before and is there now."""
        return self.old is not None and self.new is not None

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {"input": str(self.part), "name": self.name, "old": self.old, "new": self.new, "text": describe(self)}


def differences(old: Iterable[str], new: Iterable[str]) -> tuple[Change, ...]:
    """What changed from one key to another, in the order in which one explains the next.

    Args:
        old: The lines of one, the first is the salt.
        new: Of the other.
    """
    before, after = (_by_name(inputs_of(tuple(lines))) for lines in (old, new))
    changes = [
        Change(*key, before.get(key), after.get(key))
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]
    return tuple(sorted(changes, key=lambda change: (_ORDER[change.part], change.name)))


def _by_name(inputs: Iterable[Input]) -> dict[tuple[Part, str], str]:
    return {(one.part, one.name): one.value for one in inputs}


def own_changes(changes: Sequence[Change], *, standard: bool = False) -> tuple[Change, ...]:
    """Changes that no other one of the same key brings with it, without imports.

    Args:
        changes: What `differences` gives.
        standard: The package is part of the toolchain, so its files change with that, and what they ask of a C compiler.
    """
    asked = [change for change in changes if change.part is not Part.IMPORT and not _is_tool_used(change)]
    with_it = standard and any(change.part is Part.TOOLCHAIN for change in asked)
    return tuple(
        change
        for change in asked
        if not any(_brings(other, change) for other in asked) and not (with_it and _is_written_in_files(change))
    )


def _is_written_in_files(change: Change) -> bool:
    """Files, and flags for C that stand in them."""
    return change.part is Part.FILE or (change.part is Part.ENVIRONMENT and change.name.startswith("CGO_"))


def _is_tool_used(change: Change) -> bool:
    """Whether a tool is used at all, such as the assembler, follows from the files."""
    return change.part is Part.TOOLCHAIN and bool(change.name) and not change.is_edit


def _brings(first: Change, other: Change) -> bool:
    """Whether the first change explains the other."""
    if first is other:
        return False
    if first.part is other.part:
        return _same_kind(first, other)
    if other.part is Part.FILE and not other.is_edit and (first.part in _CHOSEN or first.name == "CGO_ENABLED"):
        return True
    if first.part is Part.TOOLCHAIN and other.part is Part.FLAG:
        return other.name in _BY_RELEASE
    if first.part is Part.FLAG and first.name == "-trimpath":
        kept_back = other.part in {Part.ENVIRONMENT, Part.PROFILE} and not other.is_edit
        return kept_back or other.part in {Part.DIRECTORY, Part.MODULE}
    if first.name == "CGO_ENABLED":
        return other.part is Part.C_COMPILER
    if other.name == "CGO_ENABLED" and first.part is Part.FILE:
        return first.is_edit and not other.is_edit
    lost = other.part is Part.ENVIRONMENT and (not other.is_edit or other.name == "CGO_ENABLED")
    if lost and first.part in {Part.TOOLCHAIN, Part.TARGET}:
        return True
    return other.part in _FOLLOWS.get(first.part, ()) and (
        first.part is not Part.DIRECTORY or _version_of(first) is not None
    )


_BY_RELEASE = frozenset({"-buildmode", "-compiler", "-vet"})
"""Flags that a release of go writes down or not, or chooses itself."""
_FOLLOWS: Mapping[Part, tuple[Part, ...]] = {
    Part.TOOLCHAIN: (Part.SETTING, Part.C_COMPILER, Part.VCS),
    Part.TARGET: (Part.C_COMPILER,),
    Part.DIRECTORY: (Part.FILE, Part.GO_LINE),
    Part.MODULE: (Part.FILE, Part.GO_LINE),
    Part.GO_LINE: (Part.SETTING,),
}
"""Parts that another one settles; a directory only if it is that of another version of a module."""
_BROUGHT: Mapping[tuple[Part, str], tuple[str, ...]] = {
    (Part.FLAG, "-shared"): ("-buildmode",),
    (Part.FLAG, "-cover"): ("-covermode", "-coverpkg"),
    (Part.ENVIRONMENT, "CGO_ENABLED"): ("CC", "CXX", "FC"),
    (Part.PROFILE, ""): ("-pgo",),
}
"""What follows from another input of the same part."""


def _same_kind(first: Change, other: Change) -> bool:
    if other.name in _BROUGHT.get((first.part, first.name), ()):
        return True
    match first.part:
        case Part.TOOLCHAIN:
            return not first.name and bool(other.name)
        case Part.FLAG:
            return first.name == "-trimpath" and not other.is_edit
        case Part.ENVIRONMENT:
            return first.name == "CGO_ENABLED" and other.name.startswith("CGO_") and not other.is_edit
        case Part.VCS:
            return first.name == "vcs.revision" or (first.name == "vcs.modified" and not other.name.startswith("vcs"))
        case _:
            return False


def _version_of(change: Change) -> tuple[str, str] | None:
    """A directory in the module cache says which version it holds: the old one and the new one."""
    if change.old is None or change.new is None:
        return None
    old, new = change.old.split("@"), change.new.split("@")
    if len(old) != 2 or len(new) != 2 or old[0] != new[0]:
        return None
    return old[1].partition("/")[0], new[1].partition("/")[0]


def describe(change: Change, package: str = "") -> str:
    """A change in words.

    Args:
        change: The change.
        package: Whose; it is named where that matters.
    """
    name = f"{change.part} {change.name}".strip()
    match change.part:
        case Part.FILE:
            return f"file {change.name}{f' of {package}' if package else ''} {_verb(change)}"
        case Part.DIRECTORY if versions := _version_of(change):
            module = (change.new or "").partition("@")[0].rpartition("/pkg/mod/")[2]
            return f"module {module}: {versions[0]} before, {versions[1]} now"
        case Part.DIRECTORY:
            old, new = _moved(change)
            return f"directory: {old} before, {new} now"
        case Part.OPENED | Part.LOOKED:
            return f"{name}: {'another size, time or mode' if change.is_edit else _verb(change)}"
        case Part.VARIABLE:
            return f"{name}: {'another value' if change.is_edit else _verb(change)}"
        case Part.PROFILE | Part.C_COMPILER | Part.BINARY:
            return f"{name} {_verb(change)}"
        case Part.ENVIRONMENT if change.name == "CGO_ENABLED":
            return f"{name}: {change.old or '0'} before, {change.new or '0'} now"  # a package that needs C has it only when it is 1
        case Part.IMPORT:
            return f"what it imports came out different: {change.name}"
        case _:
            return f"{name}: {_value(change.old)} before, {_value(change.new)} now"


def sign_of(change: Change, package: str) -> str:
    """The same for the same change in every package."""
    if change.name == "CGO_ENABLED":
        return f"CGO_ENABLED {change.new or '0'}"
    if change.part is Part.PROFILE:
        return f"profile {_verb(change)}"
    return describe(change, package)


def _moved(change: Change) -> tuple[str, str]:
    """Where two directories begin to differ, seen from their ends: the same for every package of a module that was moved."""
    old, new = (change.old or "").split("/"), (change.new or "").split("/")
    while len(old) > 2 and len(new) > 2 and old[-1] == new[-1]:
        del old[-1], new[-1]
    return "/".join(old), "/".join(new)


def _verb(change: Change) -> str:
    if change.is_edit:
        return "edited" if change.part is Part.FILE else "changed"
    return "added" if change.old is None else "removed"


def _value(value: str | None) -> str:
    if value is None:
        return "not there"
    return value or "empty"
