"""Is a module version in the cache what go.sum says, and what was downloaded?

Knows:     which of zip, tree, `.ziphash`, `.mod` and go.sum to believe when they differ, and what each damage means.
Called by: `gomod.read` fills a `Copy`; `flows.versions` asks for findings, of which `gomod.checks.integrity` makes the verdict.
Never:     reads or hashes a file.
Source:    cmd/go/internal/modcmd/verify.go `verifyMod` compares zip and tree with `.ziphash` only; cmd/go/internal/modfetch/fetch.go
           `checkMod`, `haveModSumLocked`; cmd/go/internal/toolchain/select.go (`_go.mod`); read in go1.21.13 and go1.26.8, tried
           with go1.21.13 and go1.27.3.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import NamedTuple

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gomod.dirhash import hash1
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.sumfile import Pin

TOOLCHAIN = "golang.org/toolchain"
_SHOWN = 20
_MOD_SUFFIX = "/go.mod"


class Damage(StrEnum):
    """What is wrong. The value is stable: scripts may rely on it."""

    EDITED = "edited-file"
    EXTRA = "extra-file"
    MISSING = "missing-file"
    ODD = "not-a-regular-file"
    TREE_CHANGED = "tree-changed"
    TREE_PARTIAL = "tree-partial"
    ZIP_DAMAGED = "zip-damaged"
    ZIP_CHANGED = "zip-changed"
    ZIP_MISSING = "zip-missing"
    HASH_MISSING = "hash-file-missing"
    HASH_WRONG = "hash-file-wrong"
    SUM_LINE_MISSING = "go-sum-line-missing"
    SUM_MISMATCH = "go-sum-mismatch"
    SUM_MALFORMED = "go-sum-malformed"
    NOT_COVERABLE = "not-coverable"
    VENDOR_INCONSISTENT = "vendor-inconsistent"
    UNPROVED = "unproved"
    UNREADABLE = "unreadable"
    NO_BUILD_LIST = "no-build-list"


class Need(Enum):
    """Why we look at a module version, which says which lines go.sum must have."""

    DIRECT = "go.mod requires it, without `// indirect`"
    LISTED = "go.mod requires it with `// indirect`"
    GRAPH = "it is in the build list"
    CACHE = "it is in the cache"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or cannot be known.

    Attributes:
        module: Module path.
        version: Its version; empty for a directory.
        file: Relative to GOMODCACHE, or a go.sum file; printable.
        damage: The kind.
        outcome: How bad it is.
        text: One sentence for a person.
    """

    module: str
    version: str
    file: str
    damage: Damage
    outcome: Outcome
    text: str

    def line(self) -> str:
        """For example `edited-file example.com/m@v1.0.0 m.go: it is not what the zip holds`."""
        name = f"{self.module}@{self.version}" if self.version else self.module
        return f"{self.damage} {name}{' ' if self.file else ''}{self.file}: {self.text}"

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "module": self.module,
            "version": self.version,
            "file": self.file,
            "damage": str(self.damage),
            "outcome": str(self.outcome),
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Odd:
    """Something in a zip or tree that should not be there.

    Attributes:
        name: Below the module; printable.
        why: As the end of a sentence that begins with the name.
    """

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a zip or a tree holds.

    Attributes:
        files: Name below the module to the 32 bytes of its SHA-256.
        odd: What has no place in a module; if there is any, the hash means nothing.
        size: Bytes of all files.
        h1: Their hash; None if it was not computed yet, or means nothing. Content that is only remembered has nothing else.
        sha: Of a zip, the SHA-256 of the file itself, if it was computed.
    """

    files: Mapping[bytes, bytes]
    odd: tuple[Odd, ...] = ()
    size: int = 0
    h1: str | None = field(default=None, compare=False)
    sha: bytes = field(default=b"", compare=False)

    @property
    def remembered(self) -> bool:
        """Whether its files were not read now, so that none of them could be named."""
        return self.h1 is not None and not self.files


@dataclass(frozen=True, slots=True)
class Absent:
    """It is not there."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """It is there and could not be read. `why` ends a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It was read and is not what such a file is. `why` ends a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A module version as it lies in the cache.

    Attributes:
        version: Which one.
        zip: The zip.
        tree: The extracted tree.
        hash: What `.ziphash` says.
        mod: `h1:` hash of the `.mod` file.
        partial: Go did not finish extracting the tree, and will begin again.
    """

    version: Version
    zip: Content | Absent | Unreadable | Broken = field(default_factory=Absent)
    tree: Content | Absent | Unreadable = field(default_factory=Absent)
    hash: str | Absent | Unreadable | Broken = field(default_factory=Absent)
    mod: str | Absent | Unreadable = field(default_factory=Absent)
    partial: bool = False

    @property
    def stored(self) -> bool:
        """Whether there is more than the `.mod` file."""
        return not (isinstance(self.zip, Absent) and isinstance(self.tree, Absent))

    @property
    def remembered(self) -> bool:
        """Whether files that are wrong could not be named, because they were not read now."""
        return any(isinstance(one, Content) and one.remembered for one in (self.zip, self.tree))


class Sums(NamedTuple):
    """All hashes of a module version that is sound in itself. Such a version need not be read again to be judged again.

    Attributes:
        zip: `h1:` hash of what the zip holds; None if there is no zip.
        tree: Likewise of the tree; if there are both, they are the same.
        hash: What `.ziphash` says; None if it is not there.
        mod: `h1:` hash of the `.mod` file; None if it is not there.
        sha: SHA-256 of the zip itself; empty if it is not known.
    """

    zip: str | None
    tree: str | None
    hash: str | None
    mod: str | None
    sha: bytes


def settle(copy: Copy) -> Copy:
    """Compute the hashes of zip and tree, that of both only once if they hold the same."""
    prefix = f"{copy.version}/".encode()
    archive = _with_h1(copy.zip, prefix) if isinstance(copy.zip, Content) else copy.zip
    tree = copy.tree
    if isinstance(tree, Content) and not tree.remembered:
        tree = _without_copies(tree, copy.version)
        same = isinstance(archive, Content) and not archive.remembered and tree == archive
        tree = replace(tree, h1=archive.h1) if same and isinstance(archive, Content) else _with_h1(tree, prefix)
    return replace(copy, zip=archive, tree=tree)


def _with_h1(content: Content, prefix: bytes) -> Content:
    if content.h1 is not None or content.odd:
        return content
    return replace(content, h1=hash1((prefix + name, digest) for name, digest in content.files.items()))


def sums_of(copy: Copy) -> Sums | None:
    """What is worth remembering of a module version that was read; None if anything about it is not sound in itself."""
    if copy.partial:
        return None
    sums = Sums(_plain(copy.zip), _plain(copy.tree), _plain(copy.hash), _plain(copy.mod), _sha(copy.zip))
    if "" in sums[:4] or (sums.zip and sums.tree and sums.zip != sums.tree):
        return None
    return sums


def recall(version: Version, sums: Sums) -> Copy:
    """A module version as it was, without its files."""

    def content(h1: str | None) -> Content | Absent:
        return Absent() if h1 is None else Content({}, h1=h1)

    def text(said: str | None) -> str | Absent:
        return Absent() if said is None else said

    return Copy(version, zip=content(sums.zip), tree=content(sums.tree), hash=text(sums.hash), mod=text(sums.mod))


def _plain(part: Content | Absent | Unreadable | Broken | str) -> str | None:
    """A hash, None for what is not there, and an empty text for what is neither."""
    match part:
        case Absent():
            return None
        case str():
            return part
        case Content(h1=str(h1), odd=()):
            return h1
    return ""


def _sha(part: Content | Absent | Unreadable | Broken) -> bytes:
    return part.sha if isinstance(part, Content) else b""


def judge_copy(copy: Copy, pins: Mapping[tuple[str, str], tuple[Pin, ...]], need: Need) -> tuple[Finding, ...]:
    """Compare everything that is known of a module version.

    Args:
        copy: What lies in the cache.
        pins: What the go.sum files demand, see `sumfile.merge`.
        need: Why it is looked at.

    Returns:
        What is wrong; nothing if it is sound or not there.
    """
    path, version = copy.version.path, copy.version.version
    case = _Case(copy, pins.get((path, version), ()), pins.get((path, version + _MOD_SUFFIX), ()), need)
    return tuple(
        finding
        for part in (case.lines(), case.go_mod(), case.ziphash(), case.zip(), case.tree(), case.proof())
        for finding in part
    )


def is_pinned(version: Version, pins: Mapping[tuple[str, str], tuple[Pin, ...]]) -> bool:
    """Whether a go.sum file demands a hash of the content."""
    return (version.path, version.version) in pins


class _Case:
    """One module version with everything that bears on it."""

    def __init__(self, copy: Copy, pins: tuple[Pin, ...], mod_pins: tuple[Pin, ...], need: Need) -> None:
        self._copy, self._pins, self._mod_pins, self._need = settle(copy), pins, mod_pins, need
        self._tree_content = self._copy.tree if isinstance(self._copy.tree, Content) else None
        self._zip_content = self._copy.zip if isinstance(self._copy.zip, Content) else None
        self._tree_h1 = self._tree_content.h1 if self._tree_content else None
        self._zip_h1 = self._zip_content.h1 if self._zip_content else None
        self._wanted = tuple(pin.h1 for pin in pins) or ((copy.hash,) if isinstance(copy.hash, str) else ())

    def lines(self) -> Iterator[Finding]:
        """Lines that go.sum should have."""
        outcome = {Need.DIRECT: Outcome.BLOCK, Need.LISTED: Outcome.WARN}.get(self._need)
        if outcome is None:
            return
        if not self._pins and (self._copy.stored or self._need is Need.DIRECT):
            text = "no line demands a hash of its content; go builds it only after somebody adds one"
            yield self._finding(Damage.SUM_LINE_MISSING, outcome, "go.sum", text)
        if not self._mod_pins:
            text = "no line demands a hash of its go.mod file"
            yield self._finding(Damage.SUM_LINE_MISSING, outcome, "go.sum", text)

    def go_mod(self) -> Iterator[Finding]:
        """The `.mod` file against go.sum."""
        file = self._copy.version.download(".mod")
        match self._copy.mod:
            case Unreadable(why):
                yield self._finding(Damage.UNREADABLE, Outcome.UNKNOWN, file, why)
            case str(h1):
                yield from self._against(self._mod_pins, h1, file, "the go.mod file")

    def ziphash(self) -> Iterator[Finding]:
        """The `.ziphash` file against go.sum, or, without a line there, against zip and tree."""
        file = self._copy.version.download(".ziphash")
        match self._copy.hash:
            case Absent() if self._copy.stored:
                text = "it is missing; go makes it anew from the zip"
                yield self._finding(Damage.HASH_MISSING, Outcome.WARN, file, text)
            case Unreadable(why):
                yield self._finding(Damage.UNREADABLE, Outcome.UNKNOWN, file, why)
            case Broken(why):
                yield self._finding(Damage.HASH_WRONG, Outcome.WARN, file, why)
            case str(h1) if self._pins:
                if where := self._differs(self._pins, h1):
                    text = f"it says {h1}, {where}"
                    yield self._finding(Damage.HASH_WRONG, Outcome.BLOCK, file, text)
            case str(h1) if self._zip_h1 == self._tree_h1 is not None and self._zip_h1 != h1:
                text = f"it says {h1}; zip and tree have {self._zip_h1}"
                yield self._finding(Damage.HASH_WRONG, Outcome.BLOCK, file, text)

    def zip(self) -> Iterator[Finding]:
        """The zip against go.sum and `.ziphash`."""
        file = self._copy.version.download(".zip")
        match self._copy.zip:
            case Absent() if isinstance(self._copy.tree, Content):
                text = "it is missing, so go cannot extract the module again, and edited files cannot be named"
                yield self._finding(Damage.ZIP_MISSING, Outcome.WARN, file, text)
            case Unreadable(why):
                yield self._finding(Damage.UNREADABLE, Outcome.UNKNOWN, file, why)
            case Broken(why):
                yield self._finding(Damage.ZIP_DAMAGED, Outcome.BLOCK, file, why)
            case Content(odd=odd):
                for one in odd:
                    yield self._finding(Damage.ZIP_DAMAGED, Outcome.BLOCK, f"{file}!{one.name}", one.why)
                if self._zip_h1 is not None:
                    yield from self._changed(self._zip_h1, file, "the zip", Damage.ZIP_CHANGED)

    def tree(self) -> Iterator[Finding]:
        """The tree against go.sum and `.ziphash`; edited files are named by the help of a zip that is sound."""
        file = self._copy.version.tree
        if self._copy.partial:
            text = "extracting it was interrupted; go does not use it and extracts it again"
            yield self._finding(Damage.TREE_PARTIAL, Outcome.WARN, file, text)
            return
        if isinstance(self._copy.tree, Unreadable):
            yield self._finding(Damage.UNREADABLE, Outcome.UNKNOWN, file, self._copy.tree.why)
        if self._tree_content is None:
            return
        for one in self._tree_content.odd:
            yield self._finding(Damage.ODD, Outcome.BLOCK, f"{file}/{one.name}", one.why)
        if self._zip_content is not None and self._zip_is_sound() and not self._copy.remembered:
            yield from self._edits(self._tree_content, self._zip_content)
        elif self._tree_h1 is not None:
            yield from self._changed(self._tree_h1, file, "the tree", Damage.TREE_CHANGED)

    def proof(self) -> Iterator[Finding]:
        """With neither a line in go.sum nor a `.ziphash`, nothing tells what the content should be."""
        if self._copy.stored and not self._wanted:
            text = "neither go.sum nor .ziphash says what it should hold"
            yield self._finding(Damage.UNPROVED, Outcome.UNKNOWN, self._copy.version.tree, text)

    def _zip_is_sound(self) -> bool:
        """What the zip holds is what is demanded; if nothing is demanded, it is all there is to go by."""
        return self._zip_h1 is not None and all(h1 == self._zip_h1 for h1 in self._wanted)

    def _edits(self, tree: Content, archive: Content) -> Iterator[Finding]:
        base = self._copy.version.tree
        for name in sorted(tree.files.keys() | archive.files.keys()):
            have, want = tree.files.get(name), archive.files.get(name)
            if have == want or not name or name.endswith(b"/"):  # a zip may list directories; trees have them anyway
                continue
            match have, want:
                case None, _:
                    damage, text = Damage.MISSING, "it is in the zip and not in the tree"
                case _, None:
                    damage, text = Damage.EXTRA, "it is in the tree and not in the zip"
                case _:
                    damage, text = (
                        Damage.EDITED,
                        "it is not what the zip holds; go compiles what is here, without a word",
                    )
            yield self._finding(damage, Outcome.BLOCK, f"{base}/{show(name)}", text)

    def _changed(self, h1: str, file: str, what: str, damage: Damage) -> Iterator[Finding]:
        """Content that is not what it should be. If `.ziphash` went along with it, somebody replaced them together."""
        if self._pins and self._copy.hash == h1:
            yield from self._against(self._pins, h1, file, f"{what}, like .ziphash,")
        elif where := self._differs(self._pins, h1):
            yield self._finding(damage, Outcome.BLOCK, file, f"{what} has {h1}, {where}")
        elif self._pins or self._zip_h1 == self._tree_h1:
            return  # sound; or it is `.ziphash` that is wrong, which `ziphash` says
        elif isinstance(self._copy.hash, str) and h1 != self._copy.hash:
            yield self._finding(damage, Outcome.BLOCK, file, f"{what} has {h1}; .ziphash says {self._copy.hash}")

    def _against(self, pins: Sequence[Pin], h1: str, file: str, what: str) -> Iterator[Finding]:
        if where := self._differs(pins, h1):
            yield self._finding(Damage.SUM_MISMATCH, Outcome.BLOCK, file, f"{what} has {h1}, {where}")

    def _differs(self, pins: Sequence[Pin], h1: str) -> str:
        wrong = [f"{pin.where} says {pin.h1}" for pin in pins if pin.h1 != h1]
        return "; ".join(dict.fromkeys(wrong))

    def _finding(self, damage: Damage, outcome: Outcome, file: str, text: str) -> Finding:
        return Finding(self._copy.version.path, self._copy.version.version, file, damage, outcome, text)


def _without_copies(tree: Content, version: Version) -> Content:
    """The tree of a toolchain as it was extracted: go copies each `_go.mod` in it to `go.mod` afterwards."""
    if version.path != TOOLCHAIN:
        return tree
    files = {name: digest for name, digest in tree.files.items() if not _is_copy(name, digest, tree.files)}
    return Content(files, tree.odd, tree.size)


def _is_copy(name: bytes, digest: bytes, files: Mapping[bytes, bytes]) -> bool:
    folder, slash, last = name.rpartition(b"/")
    return last == b"go.mod" and files.get(folder + slash + b"_go.mod") == digest


def show(name: bytes) -> str:
    """A file's name as it can be shown."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


@dataclass(frozen=True, slots=True)
class Totals:
    """What was looked at.

    Attributes:
        versions: Module versions that were asked for.
        stored: Those of which a zip or a tree is there.
        zips: Zips that were hashed.
        trees: Trees that were hashed.
        files: Files that were hashed in both.
        size: Their bytes, uncompressed.
        unpinned: Stored versions that no go.sum names; compared with `.ziphash` only.
        unchanged: Stored versions that were hashed before and have not changed since.
    """

    versions: int = 0
    stored: int = 0
    zips: int = 0
    trees: int = 0
    files: int = 0
    size: int = 0
    unpinned: int = 0
    unchanged: int = 0

    def plus(self, copy: Copy, *, pinned: bool, unchanged: bool = False) -> "Totals":
        """One more.

        Args:
            copy: What was read, or is remembered.
            pinned: Whether a go.sum names it.
            unchanged: Whether nothing of it was read now.
        """
        hashed = () if unchanged else (copy.zip, copy.tree)
        read = [one for one in hashed if isinstance(one, Content)]
        return Totals(
            versions=self.versions + 1,
            stored=self.stored + copy.stored,
            zips=self.zips + (isinstance(copy.zip, Content) and not unchanged),
            trees=self.trees + (isinstance(copy.tree, Content) and not unchanged),
            files=self.files + sum(len(one.files) for one in read),
            size=self.size + sum(one.size for one in read),
            unpinned=self.unpinned + (copy.stored and not pinned),
            unchanged=self.unchanged + (copy.stored and unchanged),
        )


_GO_SAW_DAMAGE = ("has been modified", "missing ziphash", "checksum", "zip: ", "not a valid zip")


def judge_go(exit_code: int, said: str, ours: Outcome, where: str = "") -> Verdict:
    """What the real `go mod verify` says, beside what we say.

    Args:
        exit_code: Of `go mod verify`.
        said: All that it printed.
        ours: Our own outcome. Go also looks at modules that are replaced, so what it complains of need not be used.
        where: The module's directory, if there are several.
    """
    lines = tuple(line.strip() for line in said.splitlines() if line.strip())
    check = f"go-mod-verify {where}".strip()
    if exit_code == 0:
        blind = ("it compares zip and tree with .ziphash, never with go.sum",)
        return Verdict(check, Outcome.PASS, f"go says: {lines[-1] if lines else 'nothing'}", blind)
    if not any(word in line for line in lines for word in _GO_SAW_DAMAGE):
        return Verdict(check, Outcome.UNKNOWN, "go could not verify", lines[:_SHOWN])
    if ours is Outcome.BLOCK:
        return Verdict(check, Outcome.BLOCK, "go says no, too", lines[:_SHOWN])
    return Verdict(check, Outcome.WARN, f"go says no; by what we compare it is {ours}", lines[:_SHOWN])
