"""Find the old key of a package without any record of it: put old lines into the key of now until the key is one that exists.

Knows:     which lines can have been different, what stood there, and that a hash that exists is a proof.
Called by: `flows.why`.
Never:     reports a candidate whose key is not there, and never tries more than it is allowed to.
Source:    cmd/go/internal/work/exec.go `buildActionID`, cmd/go/internal/modload/build.go (order of settings); that wrong candidates
           give keys that do not exist, and right ones the old key: measured with go1.21.13, go1.24.11 and go1.27.3.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations, islice, product

from go_cache_safeguard.gocache.hashlog import Block
from go_cache_safeguard.gocache.keychange import differences, own_changes
from go_cache_safeguard.gocache.keyrecord import imports_of, text
from go_cache_safeguard.gocache.why import Proof

_BASES = 64
"""Combinations of contents of imports that are tried."""
_OLDEST_GO_LINE = 16
_VALUES: Mapping[str, tuple[str, ...]] = {
    "GOAMD64": ("v1", "v2", "v3", "v4"),
    "GOARM64": ("v8.0", "v8.1", "v8.2", "v9.0"),
    "GOARM": ("5", "6", "7"),
    "GO386": ("sse2", "softfloat"),
    "GOPPC64": ("power8", "power9", "power10"),
    "GORISCV64": ("rva20u64", "rva22u64", "rva23u64"),
}
"""What the variable of an architecture can be."""
_FORCED = ("", '"-race"', '"-shared"', '"-msan"', '"-asan"')
_GIVEN = ("", '"-N"', '"-l"', '"-N" "-l"')
_LISTS = re.compile(r"\[[^\]]*\] \[[^\]]*\]\n$")
_MODULE = re.compile(r"^(?P<path>[^@]+)@(?P<version>[^/]+)")
_C_LIST = re.compile(r"\[([^\]]*)\]")
_C_DEFAULT = '"-O2" "-g"'
"""What CGO_CFLAGS and its like are if nobody sets them."""
_STAMP = re.compile(r"vcs\.revision=([0-9a-f]{40})\\nbuild\\tvcs\.time=([0-9TZ:-]+)")


@dataclass(frozen=True, slots=True)
class Held:
    """A compiled package that the cache holds, or held.

    Attributes:
        content: Second half of its build ID.
        version: Toolchain.
        target: Such as `linux/amd64`.
        flags: Of the compiler, sorted.
        source: Where its source lay; empty if that is not known.
    """

    content: str
    version: str = ""
    target: str = ""
    flags: tuple[str, ...] = ()
    source: str = ""

    @property
    def make(self) -> tuple[str, str, bool]:
        """Packages that are linked together have the same."""
        return self.version, self.target, "-race" in self.flags


@dataclass(frozen=True, slots=True)
class Old:
    """Files of a package's directory as they were.

    Attributes:
        told: Where this is from, such as `git 1a2b3c4`.
        files: From name to the first 20 characters of its hash as keys have it.
    """

    told: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Clues:
    """What may have been in the key of a package.

    Attributes:
        held: What the cache holds, or held, of the package itself.
        files: States of its directory, the newest first.
        go_lines: Versions that its go.mod named.
        stamps: Commits, as revision and time in the form of the program's build information.
    """

    held: tuple[Held, ...] = ()
    files: tuple[Old, ...] = ()
    go_lines: tuple[str, ...] = ()
    stamps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """A way back to what may have been.

    Attributes:
        swaps: From lines of the key to what stood there.
        make: Toolchain, target and race detector of what it imported then; None for that of now.
        told: Where it is from.
    """

    swaps: Mapping[str, str]
    make: tuple[str, str, bool] | None = None
    told: str = ""


@dataclass(slots=True)
class Prover:
    """Tries, within bounds, and remembers what worked.

    Attributes:
        exists: Whether a key is, or was, in the cache.
        contents: What the cache holds, or held, of each package.
        tries: Keys that may still be made.
        worked: Changes of earlier proofs: the same cause is behind many packages.
    """

    exists: Callable[[bytes], bool]
    contents: Mapping[str, Sequence[Held]]
    tries: int
    worked: list[frozenset[str]] = field(default_factory=list)

    def prove(self, block: Block, waits: AbstractSet[str], clues: Clues) -> Proof | None:
        """Look for the old key of a package.

        Args:
            block: The key of now.
            waits: What it imports that is not in the cache either, so that the key of now does not have its content.
            clues: What may have been in it.
        """
        lines = tuple(text(line) for line in block.writes)
        edits = [Edit({}), *edits_of(lines, clues), *self._other_imports(lines, waits)]
        edits.sort(key=lambda edit: not any(self._names(lines, edit) <= names for names in self.worked))
        for tried in (((edit,) for edit in edits), combinations(edits[1:], 2)):
            for chosen in tried:
                if self.tries <= 0:
                    return None
                if (found := self._try(lines, waits, chosen)) is not None:
                    return found
        return None

    def _try(self, lines: tuple[str, ...], waits: AbstractSet[str], edits: tuple[Edit, ...]) -> Proof | None:
        swaps: dict[str, str] = {}
        for edit in edits:
            if swaps.keys() & edit.swaps.keys():
                return None
            swaps.update(edit.swaps)
        make = next((edit.make for edit in edits if edit.make is not None), None)
        for base in self._bases(lines, waits, make):
            self.tries -= 1
            all_swaps = {**base, **swaps}
            old = [all_swaps.get(line, line) for line in lines]
            key = sha256("".join(old).encode("utf-8", "surrogateescape")).digest()
            if self.exists(key):
                return self._proof(key, old, lines, next((edit.told for edit in edits if edit.told), ""))
        return None

    def _proof(self, key: bytes, old: Sequence[str], lines: Sequence[str], told: str) -> Proof:
        parted = [part for line in old for part in line.splitlines(keepends=True)]
        changes = differences(parted, lines)
        own = own_changes(changes)
        names = frozenset(f"{change.part}{change.name}" for change in own)
        if own and names not in self.worked:
            self.worked.append(names)
        before = imports_of(parted)
        imports = tuple(path for path, content in imports_of(lines).items() if before.get(path) != content)
        return Proof(key, own, imports, told)

    def _names(self, lines: Sequence[str], edit: Edit) -> frozenset[str]:
        if not self.worked or not edit.swaps:
            return frozenset()
        old = [part for line in lines for part in edit.swaps.get(line, line).splitlines(keepends=True)]
        return frozenset(f"{change.part}{change.name}" for change in own_changes(differences(old, lines)))

    def _bases(
        self, lines: Sequence[str], waits: AbstractSet[str], make: tuple[str, str, bool] | None
    ) -> Iterator[Mapping[str, str]]:
        """Ways in which the imports may have been, as swaps."""
        choices = []
        for path, content in imports_of(lines).items():
            if path not in waits and make is None:
                continue
            held = dict.fromkeys(one.content for one in self.contents.get(path, ()) if make in {None, one.make})
            if not held and path in waits:
                return
            line = f"import {path} {content}\n"
            choices.append([(line, f"import {path} {other}\n") for other in held or (content,)])
        for chosen in islice(product(*choices), _BASES):
            yield dict(chosen)

    def _other_imports(self, lines: Sequence[str], waits: AbstractSet[str]) -> Iterator[Edit]:
        for path, content in imports_of(lines).items():
            if path not in waits:
                others = {one.content for one in self.contents.get(path, ())} - {content}
                for other in sorted(others):
                    yield Edit({f"import {path} {content}\n": f"import {path} {other}\n"})


def edits_of(lines: Sequence[str], clues: Clues) -> Iterator[Edit]:
    """Ways back for one key, the likeliest first.

    Args:
        lines: Of the key of now, the first is the salt.
        clues: What may have been in it.
    """
    yield from _files(lines, clues.files)
    yield from _directories(lines, clues.held)
    yield from _flags(lines)
    yield from _toolchains(lines, clues.held)
    yield from _targets(lines, clues.held)
    yield from _go_lines(lines, clues.go_lines)
    yield from _variables(lines)
    yield from _build_information(lines, clues.stamps)
    yield from _c_flags(lines)
    yield from _left_out(lines)


def _files(lines: Sequence[str], states: Sequence[Old]) -> Iterator[Edit]:
    now = {line[5:].rpartition(" ")[0]: line for line in lines if line.startswith("file ")}
    seen: set[str] = set()
    for state in states:
        swaps = {
            line: f"file {name} {state.files[name]}\n"
            for name, line in now.items()
            if name in state.files and line != f"file {name} {state.files[name]}\n"
        }
        gone = {line: "" for name, line in now.items() if name not in state.files}
        back = _put_back(lines, now, {name: digest for name, digest in state.files.items() if name not in now})
        for chosen in (swaps, swaps | gone, *({**swaps, **gone, **one} for one in back)):
            if chosen and (sign := repr(sorted(chosen.items()))) not in seen:
                seen.add(sign)
                yield Edit(chosen, told=state.told)
    for line in now.values():
        yield Edit({line: ""})


def _put_back(lines: Sequence[str], now: Mapping[str, str], missing: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Files of Go that are no more there, each where it stood: they are in the order of their names."""
    sources = [line for name, line in now.items() if name.endswith(".go")]
    for name, digest in islice(missing.items(), 16):
        if not name.endswith(".go") or name.endswith("_test.go") or not sources:
            continue
        new = f"file {name} {digest}\n"
        after = [line for line in sources if line > new]
        anchor = after[0] if after else sources[-1]
        if anchor in lines:
            yield {anchor: f"{new}{anchor}" if after else f"{anchor}{new}"}


def _directories(lines: Sequence[str], held: Iterable[Held]) -> Iterator[Edit]:
    place = next((line for line in lines if line.startswith(("dir ", "module "))), None)
    debug = next((line for line in lines if line.startswith("omitdebug ")), None)
    if place is None or debug is None:
        return
    trimmed = "trimpath\n" in lines
    for source in dict.fromkeys(one.source for one in held):
        if source.startswith("/"):
            swaps = {place: f"dir {source}\n"} | ({"trimpath\n": ""} if trimmed else {})
            if swaps[place] != place:
                yield Edit(swaps)
        elif source and not trimmed and not source.startswith("$"):
            for module in _modules(source):
                yield Edit({place: f"module {module}\n", debug: f"{debug}trimpath\n"})


def _modules(source: str) -> Iterator[str]:
    """What the module of a package may be, from where -trimpath says that it lies."""
    if match := _MODULE.match(source):
        yield f"{match['path']}@{match['version']}"
        return
    words = source.split("/")
    for count in range(len(words), 0, -1):
        yield "/".join(words[:count]) + "@"


def _flags(lines: Sequence[str]) -> Iterator[Edit]:
    compiled = next((line for line in lines if line.startswith("compile ")), "")
    info = next((line for line in lines if line.startswith("modinfo ")), "")
    assembled = next((line for line in lines if line.startswith("asm ")), "")
    if not _LISTS.search(compiled):
        return
    for forced, given in product(_FORCED, _GIVEN):
        swaps = {compiled: _LISTS.sub(lambda _: f"[{forced}] [{given}]\n", compiled)}  # noqa: B023 - used at once
        if swaps[compiled] == compiled:
            continue
        if assembled:
            shared = forced if forced == '"-shared"' else ""
            swaps[assembled] = re.sub(r"\[[^\]]*\] (\[[^\]]*\]\n)$", rf"[{shared}] \1", assembled)
        if info:
            swaps[info] = _settings_for(info, forced.strip('"'), given.replace('"', ""))
        makes: tuple[tuple[str, str, bool] | None, ...] = (None,)
        if "-race" in forced or "-race" in compiled:
            makes = (_make(lines, race="-race" in forced), None)
        for make in makes:
            yield Edit(swaps, make)


def _settings_for(info: str, forced: str, given: str) -> str:
    for name in ("-race", "-msan", "-asan", "-gcflags"):
        info = re.sub(rf"build\\t{name}=.*?\\n", "", info)
    mode = "pie" if forced == "-shared" else "exe"
    more = f"build\\\\t-gcflags={given}\\\\n" if given and " " not in given else ""
    more += f"build\\\\t{forced}=true\\\\n" if forced not in {"", "-shared"} else ""
    info = re.sub(r"(build\\t-compiler=gc\\n)", rf"\1{more}", info)
    return re.sub(r"build\\t-buildmode=(?:exe|pie)\\n", rf"build\\t-buildmode={mode}\\n", info)


def _make(lines: Sequence[str], *, race: bool) -> tuple[str, str, bool]:
    words = next((line.split() for line in lines if line.startswith("goos ")), ["", "", "", ""])
    return lines[0], f"{words[1]}/{words[3]}", race


def _toolchains(lines: Sequence[str], held: Iterable[Held]) -> Iterator[Edit]:
    salt = lines[0]
    for version in dict.fromkeys(one.version for one in held):
        if version and version != salt:
            swaps = {
                line: line.replace(salt, version) for line in lines if line.startswith(("compile ", "asm ", "cgo "))
            }
            words = _make(lines, race=any('["-race"]' in line for line in lines))
            yield Edit({salt: version, **swaps}, (version, *words[1:]))


def _targets(lines: Sequence[str], held: Iterable[Held]) -> Iterator[Edit]:
    line = next((line for line in lines if line.startswith("goos ")), "")
    variable = next((line for line in lines if re.match(r"GO[A-Z0-9]+=", line) and "EXPERIMENT" not in line), "")
    for target in dict.fromkeys(one.target for one in held):
        goos, _, goarch = target.partition("/")
        new = f"goos {goos} goarch {goarch}\n"
        if goarch and line and new != line:
            names = [name for name in _VALUES if name == f"GO{goarch.upper()}"]
            for value in _VALUES[names[0]] if names else ("",):
                swaps = {line: new} | ({variable: f"{names[0]}={value}\n" if names else "=\n"} if variable else {})
                yield Edit(swaps, (lines[0], target, False))


def _go_lines(lines: Sequence[str], named: Iterable[str]) -> Iterator[Edit]:
    line = next((line for line in lines if re.match(r"go \d", line)), "")
    newest = re.match(r"go1\.(\d+)", lines[0])
    if not line or newest is None:
        return
    known = [f"1.{number}" for number in range(int(newest[1]), _OLDEST_GO_LINE - 1, -1)]
    for version in dict.fromkeys((*named, *known, *(f"{one}.0" for one in known))):
        if f"go {version}\n" != line:
            yield Edit({line: f"go {version}\n"})


def _variables(lines: Sequence[str]) -> Iterator[Edit]:
    info = next((line for line in lines if line.startswith("modinfo ")), "")
    for line in lines:
        name, _, value = line.rstrip("\n").partition("=")
        for other in _VALUES.get(name, ()):
            if other != value:
                swaps = {line: f"{name}={other}\n"}
                if info:
                    swaps[info] = info.replace(f"build\\t{name}={value}\\n", f"build\\t{name}={other}\\n")
                yield Edit(swaps)


def _build_information(lines: Sequence[str], stamps: Iterable[tuple[str, str]]) -> Iterator[Edit]:
    info = next((line for line in lines if line.startswith("modinfo ")), "")
    for segment in re.findall(r"build\\t-(?:ldflags|tags|gcflags|asmflags|pgo)=.*?\\n", info):
        yield Edit({info: info.replace(segment, "")})
    for old, new in (("CGO_ENABLED=0", "CGO_ENABLED=1"), ("CGO_ENABLED=1", "CGO_ENABLED=0")):
        if old in info:
            yield Edit({info: info.replace(old, new)})
            cgo = re.sub(r"build\\tCGO_[A-Z]+FLAGS=.*?\\n", "", info.replace(old, new))
            yield Edit({info: cgo})
    for segment in re.findall(r"build\\tCGO_[A-Z]+FLAGS=[^\\].*?\\n", info):
        yield Edit({info: info.replace(segment, segment.partition("=")[0] + "=\\n")})
    yield from _stamps(info, stamps)


def _stamps(info: str, stamps: Iterable[tuple[str, str]]) -> Iterator[Edit]:
    match = _STAMP.search(info)
    if match is None:
        return
    pseudo = f"{re.sub('[^0-9]', '', match[2])}-{match[1][:12]}"
    for revision, time in ((match[1], match[2]), *stamps):
        moved = info.replace(match[0], f"vcs.revision={revision}\\nbuild\\tvcs.time={time}")
        moved = moved.replace(pseudo, f"{re.sub('[^0-9]', '', time)}-{revision[:12]}")
        for dirty in (False, True):
            said = re.sub(r"vcs\.modified=(?:true|false)", f"vcs.modified={'true' if dirty else 'false'}", moved)
            clean = said.replace("+dirty", "")
            marked = re.sub(r"(mod\\t[^\\]+\\tv[^\\]+)", r"\1+dirty", clean, count=1) if dirty else clean
            for new in dict.fromkeys((marked, said)):
                if new != info:
                    yield Edit({info: new}, told=f"git {revision[:12]}")


def _c_flags(lines: Sequence[str]) -> Iterator[Edit]:
    for line in lines:
        if not line.startswith(("CC=", "CXX=")):
            continue
        for match in list(_C_LIST.finditer(line))[1:]:
            words = re.findall(r'"(?:[^"\\]|\\.)*"', match[1])
            for count in range(len(words) + 1):
                for first in ("", _C_DEFAULT):
                    new = " ".join(word for word in (first, *words[count:]) if word)
                    if new != match[1]:
                        yield Edit({line: f"{line[: match.start()]}[{new}]{line[match.end() :]}"})


def _left_out(lines: Sequence[str]) -> Iterator[Edit]:
    """What may not have been there at all: a profile, coverage, an experiment."""
    info = next((line for line in lines if line.startswith("modinfo ")), "")
    for line in lines:
        name = line.partition(" ")[0].partition("=")[0]
        if name in {"pgofile", "cover", "magic"}:
            yield Edit({line: ""} | ({info: re.sub(r"build\\t-(?:pgo|cover)=.*?\\n", "", info)} if info else {}))
        elif name == "GOEXPERIMENT":
            tools = {tool: re.sub(r" X:[^\" ]*", "", tool) for tool in lines if tool.startswith(("compile ", "asm "))}
            named = {info: re.sub(r"build\\tGOEXPERIMENT=.*?\\n", "", info)} if info else {}
            yield Edit({line: "", **tools, **named})
