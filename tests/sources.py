"""Snapshots in memory, for tests of what consumes them: honest ones of a directory, and ones that lie."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.snapshot.manifest import Entry, Kind, Manifest, make_manifest

README = b"This directory holds cached build artifacts from the Go build system.\n"
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True)
class MemorySource:
    """A `Source` whose contents may be anything.

    Attributes:
        manifest: What it says.
        data: What it gives.
        piece: Bytes of one chunk.
        on_each: Called before each entry is given.
    """

    manifest: Manifest
    data: Mapping[str, bytes]
    piece: int = 1 << 16
    on_each: list[Callable[[str], None]] = field(default_factory=list)

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Those of the wanted entries that there is data for."""
        for entry in self.manifest.entries:
            if entry.name in wanted and entry.name in self.data:
                for call in self.on_each:
                    call(entry.name)
                yield entry, self._chunks(self.data[entry.name])

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), self.piece):
            yield data[at : at + self.piece]


def entry_of(name: str, data: bytes, *, mtime_ns: int = 0, mode: int = 0o644) -> Entry:
    """What an honest manifest says about a file."""
    return Entry(name, len(data), mode, mtime_ns, sha256(data).hexdigest())


def source_of(files: Mapping[str, bytes], kind: Kind = Kind.BUILD, *, mtime_ns: int = 0) -> MemorySource:
    """An honest snapshot of these files."""
    return MemorySource(
        make_manifest(kind, [entry_of(name, data, mtime_ns=mtime_ns) for name, data in files.items()]), files
    )


def snapshot(root: Path, kind: Kind = Kind.BUILD) -> MemorySource:
    """An honest snapshot of everything below a directory."""
    paths = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    data = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    entries = [
        entry_of(name, content, mtime_ns=(root / name).stat().st_mtime_ns, mode=(root / name).stat().st_mode & 0o777)
        for name, content in data.items()
    ]
    return MemorySource(make_manifest(kind, entries), data)


def build_files(pairs: int = 4, programs: int = 1, *, salt: str = "") -> dict[str, bytes]:
    """A build cache in which every name is right: outputs are named by their hashes, entries name outputs."""
    files = {"README": README}
    for number in range(pairs):
        output = f"output {salt}{number}".encode() * (number + 1)
        files |= _pair(f"action {salt}{number}", output, f"{sha256(output).hexdigest()}-d")
    for number in range(programs):
        program = f"#!program {salt}{number}".encode()
        files |= _pair(f"program {salt}{number}", program, f"{sha256(program).hexdigest()}-d/tool")
    return files


def _pair(action: str, output: bytes, file: str) -> dict[str, bytes]:
    key, hashed = sha256(action.encode()).hexdigest(), sha256(output).hexdigest()
    return {f"{key[:2]}/{key}-a": index_entry(key, hashed, len(output)), f"{hashed[:2]}/{file}": output}


def index_entry(action: str, output: str, size: int, time_ns: int = 1) -> bytes:
    """The 175 bytes that go writes."""
    return f"v1 {action} {output} {size:20d} {time_ns:20d}\n".encode()


def lay_out(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a directory."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def files_below(root: Path) -> dict[str, bytes]:
    """Everything that is a file below a directory, but trim.txt."""
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != "trim.txt"}
