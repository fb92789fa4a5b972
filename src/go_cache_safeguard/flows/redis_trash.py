"""Where captured values lie: a folder, an object store, or another server.

Knows:     how the setting `redis.trash` becomes such a place, and where the values of an older operation lie after it was changed.
Called by: `flows.redis_plan`, `flows.redis_removal`, `flows.redis_call`, `flows.redis_undo`.
Never:     looks elsewhere than where an operation was written down to be; takes a folder that somebody else could replace.
"""

import os
import secrets
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.private_file import password_in
from go_cache_safeguard.flows.redis_server import trash_folder
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.address import AddressError, parse_address
from go_cache_safeguard.redis.client import connect
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.trashfile import Folder, forget_lock, locked
from go_cache_safeguard.redis.trashlog import Bin, TrashLog, TrashUnusable
from go_cache_safeguard.redis.trashserver import ServerBin
from go_cache_safeguard.redis.trashstore import ObjectBin
from go_cache_safeguard.tree.root import ancestor_problems

if TYPE_CHECKING:
    from go_cache_safeguard.snapshot.store import Store

_DAY_NS = 86_400 * 10**9
_SERVERS = ("redis://", "rediss://", "unix://")
_NAME = "go-cache-safeguard-trash"
AT = "trash_at"
"""What the journal calls the place of an operation; nothing means the folder in the state directory."""


def place_of(operation: Operation) -> str | None:
    """Where the values of an operation lie; None if that was not written down yet."""
    if AT in operation.data:
        return str(operation.data[AT])
    return "" if "trash" in operation.data else None


def open_bin(session: Session, place: str | None = None, infos: Sequence[Info] = ()) -> Bin:
    """Reach the place for captured values.

    Args:
        session: With which settings.
        place: As it was written down; None for where new ones go.
        infos: What the servers say of themselves that values come from.

    Raises:
        ConfigBad: The setting makes no sense.
        TrashUnusable: The place cannot be reached.
    """
    text = new_place(session) if place is None else place
    if not text:
        return Folder(trash_folder(session))
    if text.startswith("/"):
        return _folder(text)
    if text.startswith(_SERVERS):
        return _server(session, text, {info.fields.get("run_id", "") for info in infos})
    return _store(session, text)


@contextmanager
def opened(
    session: Session, op: str, *, place: str | None = None, new: bool = False, infos: Sequence[Info] = ()
) -> Iterator[TrashLog]:
    """What an operation keeps, open and locked.

    Args:
        session: With which settings.
        op: The operation.
        place: As it was written down; None for where new ones go.
        new: Make it if it is not there.
        infos: What the servers say of themselves that values come from.

    Raises:
        TrashLocked: Another process works on it.
        TrashUnusable: It is not there, or the place cannot be reached.
    """
    with open_bin(session, place, infos) as home, home.open(op, new=new) as trash:
        trash.home = home
        yield trash


def room(session: Session, home: Bin) -> tuple[int, int, int]:
    """How many bytes all operations keep there, how many they may keep (0 for any number), and for how many there is room.

    Raises:
        TrashUnusable: The place cannot be reached.
    """
    free = home.free()
    used = sum(one.size for one in home.kept())
    return used, session.config.size("redis.trash_max_bytes"), sys.maxsize if free is None else free


def new_place(session: Session) -> str:
    """Where the values of new operations go, as the setting says."""
    return session.config.text("redis.trash").strip()


def noted(session: Session) -> dict[str, Value]:
    """What the journal is to know about where the values of a new operation go."""
    return {AT: new_place(session)}


def throw_away(session: Session, op: str, place: str) -> int:
    """Remove what an operation keeps for good. Returns its bytes."""
    with open_bin(session, place) as home:
        size = home.throw_away(op)
    forget_lock(trash_folder(session), op)
    return size


def all_places(session: Session, operations: Sequence[Operation]) -> list[str]:
    """Where new values go, and wherever else older operations have theirs."""
    recorded = [place for operation in operations if (place := place_of(operation)) is not None]
    return list(dict.fromkeys(["", new_place(session), *recorded]))


def _folder(text: str) -> Folder:
    path = Path(os.path.realpath(text))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise TrashUnusable(
            f"redis.trash {path} cannot be used: {error.strerror}", not_done="nothing was done"
        ) from error
    problems = list(ancestor_problems(path))
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        problems.append("others than we may read or write it")
    if problems:
        raise TrashUnusable(
            f"redis.trash {path} is not safe: {'; '.join(problems)}",
            not_done="nothing was done",
            hint=f"chown and chmod 700 {path}, or choose another place",
        )
    return Folder(path)


def _server(session: Session, text: str, guarded: Collection[str]) -> Bin:
    try:
        address = parse_address(text)
    except AddressError as error:
        raise ConfigBad(f"the URL in redis.trash {error}") from error
    config = session.config
    timeout_s = config.seconds("redis.timeout")
    password = password_in(session, "redis.trash_password_file")
    try:
        server = connect(address, password=password, timeout_s=timeout_s, name=_NAME, ca=config.text("redis.ca"))
    except Failure as error:
        raise TrashUnusable(
            f"the trash {error.what}",
            not_done="nothing was removed",
            hint="see that the server of redis.trash can be reached, with the password in redis.trash_password_file",
        ) from error
    return ServerBin(
        server,
        text,
        volatile=config.choice("redis.trash_volatile") == "yes",
        guarded=guarded,
        timeout_s=timeout_s,
        lock=lambda op: locked(trash_folder(session), op),
    )


def _store(session: Session, text: str) -> Bin:
    # Loaded where used: it brings obstore.
    from go_cache_safeguard.snapshot.repository import STAGING  # noqa: PLC0415 - comes with it
    from go_cache_safeguard.snapshot.store import open_store  # noqa: PLC0415 - heavy, and only for such a place

    def lock(op: str) -> AbstractContextManager[None]:
        return locked(trash_folder(session), op)

    try:
        store = open_store(
            text,
            cwd=session.cwd,
            session=secrets.token_hex(16),
            create=True,
            timeout_s=session.config.seconds("redis.timeout"),
        )
        _sweep(store, STAGING)
    except Failure as error:
        raise TrashUnusable(
            f"redis.trash cannot be used: {error.what}", not_done="nothing was done", hint=error.hint
        ) from error
    return ObjectBin(store, text, lock)


def _sweep(store: "Store", aside: str) -> None:
    """Throw away what a crash left in a local folder without a name, a day ago or more; nobody was told that it is kept."""
    if store.local is not None:
        old_ns = time.time_ns() - _DAY_NS
        store.delete([one.name for one in store.list(f"{aside}/") if one.changed_ns < old_ns])
