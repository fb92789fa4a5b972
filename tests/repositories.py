"""Snapshot repositories for tests: a session with a state directory of its own, caches that change, and what is in a repository."""

import os
from collections.abc import Mapping
from pathlib import Path

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import repository
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.snapshot import Subject
from go_cache_safeguard.snapshot.manifest import Kind
from smallcaches import small_cache

OLD_S = 1_700_000_000


def session_at(base: Path, **settings: str) -> Session:
    """A session that knows no go command and keeps its state below `base`."""
    (base / "home").mkdir(exist_ok=True)
    environ = {"HOME": f"{base}/home", "PATH": "", "GO_CACHE_SAFEGUARD_STATE_DIR": f"{base}/state"}
    arguments = {key.replace("__", "."): value for key, value in settings.items()}
    config = load_config(environ=environ, cwd=base, home=base / "home", arguments=arguments, system=base / "none.toml")
    return Session(config, environ, base)


def make_cache(root: Path, *, large: int = 2) -> Subject:
    """A cache with small entries, and a few files that become objects of their own."""
    small_cache(root, shards=3, pairs=3)
    for number in range(large):
        put(root, number, os.urandom(50_000) + bytes(50_000))
    return Subject(Kind.BUILD, root)


def put(root: Path, number: int, data: bytes) -> Path:
    """Add an output to a cache, or write over it."""
    path = root / "00" / f"00{number:062x}-d"
    path.write_bytes(data)
    os.utime(path, (OLD_S, OLD_S))
    return path


def contents_of(session: Session, name: str, place: str | None = None) -> dict[str, bytes]:
    """Everything in a snapshot, read as restore reads it."""
    source = repository.source(session, name, place)
    names = [entry.name for entry in source.manifest.entries]
    return {entry.name: b"".join(chunks) for entry, chunks in source.contents(names)}


def files_of(root: Path) -> dict[str, bytes]:
    """Everything in a directory, by name below it."""
    return {f"{path.relative_to(root)}": path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def objects_of(place: Path) -> dict[str, bytes]:
    """Every object of a local repository."""
    return files_of(place)


def require_whole(session: Session, place: str | None = None) -> int:
    """Demand that every snapshot of a repository is whole to the last byte. Returns how many there are."""
    verified = repository.verify(session, None, place, share=1.0)
    assert [verdict.outcome for verdict in verified.verdicts] == [Outcome.PASS] * 2, verified.verdicts
    return len(verified.snapshots)


def no_credentials() -> Mapping[str, str]:
    """Variables that lead an S3 client nowhere but to the test's own server."""
    return {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
