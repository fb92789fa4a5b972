"""Archives made by an enemy with any tool: nothing is written, inside the cache or outside."""

import io
import os
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from archives import compressed, manifest_of, members, whole
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.restore import open_source, restore
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.snapshot.manifest import Kind, Manifest, order
from go_cache_safeguard.snapshot.pax import FILES, MANIFEST, SUMS
from sources import build_files, entry_of, files_below

FILES_OF = build_files(pairs=2, programs=1)
OUTPUT = next(name for name in sorted(FILES_OF) if name.endswith("-d"))
MANIFEST_OF = manifest_of(FILES_OF)


def tarred(change: Callable[[tarfile.TarInfo], None], data: bytes = b"evil", *, name: str = FILES + OUTPUT) -> bytes:
    """A whole snapshot as another tool would write it, in which one member is not what it should be."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for inner, content in sorted(FILES_OF.items()):
            _add(archive, FILES + inner, content)
            if inner == OUTPUT:
                info = tarfile.TarInfo(name)
                change(info)
                info.size = len(data) if info.isreg() else 0
                archive.addfile(info, io.BytesIO(data))
        _add(archive, MANIFEST, MANIFEST_OF.data)
        _add(archive, SUMS, b"")
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(content), 1_700_000_000
    archive.addfile(info, io.BytesIO(content))


def typed(kind: bytes, link: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.devmajor, info.devminor = kind, link, 1, 3

    return change


def plain(_info: tarfile.TarInfo) -> None:
    """A regular file."""


def forged(name: str) -> bytes:
    """Our own layout, headers, manifest and checksums in agreement, with a name in it that we would not write."""
    files = {name: b"evil", "README": b""}
    entries = [entry_of(one, data) for one, data in files.items()]
    return whole(members(files, Manifest(Kind.BUILD, tuple(sorted(entries, key=lambda entry: order(entry.name))))))


def with_bad_content() -> bytes:
    parts = members(FILES_OF)
    return whole(parts).replace(b"output 0", b"evil!! 0")


def bomb() -> bytes:
    return compressed(whole(members(FILES_OF)) + bytes(20 << 20))


def claims_too_much() -> bytes:
    giant = Manifest(MANIFEST_OF.kind, tuple(entry._replace(size=1 << 50) for entry in MANIFEST_OF.entries))
    return whole(members(FILES_OF)).replace(MANIFEST_OF.data, giant.data[: len(MANIFEST_OF.data)])


HOSTILE: dict[str, Callable[[], bytes]] = {
    "traversal": lambda: tarred(plain, name=f"{FILES}../../evil"),
    "traversal-in-our-form": lambda: forged("00/../../evil"),
    "absolute": lambda: tarred(plain, name="/evil"),
    "absolute-in-our-form": lambda: forged("/evil"),
    "outside-of-the-top": lambda: tarred(plain, name="evil"),
    "symbolic-link": lambda: tarred(typed(tarfile.SYMTYPE, "/etc/passwd"), name=f"{FILES}00/evil"),
    "hard-link": lambda: tarred(typed(tarfile.LNKTYPE, "/etc/passwd"), name=f"{FILES}00/evil"),
    "character-device": lambda: tarred(typed(tarfile.CHRTYPE)),
    "block-device": lambda: tarred(typed(tarfile.BLKTYPE)),
    "pipe": lambda: tarred(typed(tarfile.FIFOTYPE)),
    "directory": lambda: tarred(typed(tarfile.DIRTYPE)),
    "sparse": lambda: tarred(typed(tarfile.GNUTYPE_SPARSE)),
    "unknown-type": lambda: tarred(typed(b"Z")),
    "duplicate": lambda: tarred(plain),
    "bomb": bomb,
    "claims-too-much": claims_too_much,
    "cut": lambda: whole(members(FILES_OF))[:-20_000],
    "no-archive": lambda: os.urandom(10_240),
    "empty": lambda: b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_writes_nothing_anywhere(kind: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    archive = base / "evil.tar"
    archive.write_bytes(HOSTILE[kind]())
    with pytest.raises(Failure) as raised, open_source(session_at(base), str(archive)) as source:
        restore(session_at(base), source, base / "cache", None)
    assert raised.value.what
    assert {path.name for path in tmp_path.rglob("*")} == {"base", "evil.tar"}


def test_an_archive_whose_contents_lie_gives_only_what_is_true(tmp_path: Path) -> None:
    (tmp_path / "lies.tar").write_bytes(with_bad_content())
    session = session_at(tmp_path)
    with open_source(session, str(tmp_path / "lies.tar")) as source:
        done = restore(session, source, tmp_path / "cache", None)
    lie = sha256(b"output 0").hexdigest()
    assert done.written.failed[0] == (
        f"{lie[:2]}/{lie}-d",
        "its content in the snapshot is not what the manifest says",
    )
    assert not done.whole
    there = files_below(tmp_path / "cache")
    assert there.items() < FILES_OF.items()
    assert len(there) == len(FILES_OF) - 2, "the output and the entry that names it are missing"


def test_a_sound_archive_comes_back_whole(tmp_path: Path) -> None:
    (tmp_path / "s.tar.zst").write_bytes(compressed(whole(members(FILES_OF))))
    session = session_at(tmp_path)
    with open_source(session, str(tmp_path / "s.tar.zst")) as source:
        assert restore(session, source, tmp_path / "cache", None).whole
    assert files_below(tmp_path / "cache") == FILES_OF


def session_at(base: Path) -> Session:
    environ = {"HOME": f"{base}/home", "PATH": ""}
    config = load_config(environ=environ, cwd=base, home=base / "home", arguments={"state.dir": f"{base}/state"})
    return Session(config, environ, base)
