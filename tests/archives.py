"""Archives put together in memory, sound and otherwise."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from zstandard import ZstdCompressionParameters, ZstdCompressor

from go_cache_safeguard.snapshot.archive import layout, open_archive, sums
from go_cache_safeguard.snapshot.manifest import Entry, Kind, Manifest, make_manifest
from go_cache_safeguard.snapshot.pax import FILES, MANIFEST, SUMS, encode, padding, trailer

AT_NS = 1_700_000_000_123_456_789
CONTENTS = {"00/a-a": b"index", "00/b-d": b"x" * 1300, "README": b"", "m@v1/é.go": b"package m\n"}


def manifest_of(contents: Mapping[str, bytes], *, kind: Kind = Kind.BUILD, at_ns: int = AT_NS) -> Manifest:
    """The manifest of files that were all used at one moment."""
    entries = [Entry(name, len(data), 0o644, at_ns, sha256(data).hexdigest()) for name, data in contents.items()]
    return make_manifest(kind, entries)


def members(contents: Mapping[str, bytes], manifest: Manifest | None = None) -> list[bytes]:
    """Every member of an archive, header, content and padding; the end is not among them."""
    manifest = manifest or manifest_of(contents)
    known = {FILES + name: data for name, data in contents.items()}
    known |= {MANIFEST: manifest.data, SUMS: sums(manifest)}
    parts = []
    for member in layout(manifest):
        data = known[member.name]
        parts.append(encode(member) + data + padding(len(data)))
    return parts


def whole(parts: list[bytes]) -> bytes:
    """An archive of members."""
    data = b"".join(parts)
    return data + trailer(len(data))


def compressed(data: bytes) -> bytes:
    """A frame as we write them."""
    parameters = ZstdCompressionParameters.from_level(
        3, window_log=21, threads=2, write_checksum=True, write_content_size=False
    )
    frame = ZstdCompressor(compression_params=parameters).compressobj()
    return frame.compress(data) + frame.flush()


def read_all(path: Path) -> dict[str, bytes]:
    """Contents of an archive, which must be sound to the last bit."""
    with open_archive(path) as source:
        assert list(source.damaged(lambda _files, _size: None)) == []
        names = [entry.name for entry in source.manifest.entries]
        return {entry.name: b"".join(chunks) for entry, chunks in source.contents(names)}
