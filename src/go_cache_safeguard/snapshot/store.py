"""Objects in a local folder, S3, GCS or Azure.

Knows:     how a place is named, how objects come there whole or not at all, and what to do when a store hesitates.
Called by: `snapshot.turns`, `snapshot.depot` and `snapshot.deposit`.
Never:     takes or shows a secret: credentials come from the environment, as each provider's own tools read them. Never
           waits for ever.
Source:    obstore 0.12 on the Rust crate object_store. Traced with strace: its local store writes `<name>#1` and links or renames it,
           and never calls fsync, so a power cut could leave a name without its bytes. That is why `stage` puts objects
           of a local folder aside until `flush` has made them durable (fsync(2), syncfs(2)), and only then gives them their names. A put to an
           object store is whole or absent by itself; If-None-Match makes it a put of something new. Reading a local file through
           obstore costs 100 us of waiting for its own threads, more than hashing what an object usually holds, so it is read directly.
"""

import ctypes
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store

from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.snapshot.bundle import Buffer
from go_cache_safeguard.snapshot.repository import STAGING, Stored
from go_cache_safeguard.tree.root import UnsafePath, ancestor_problems

TIMEOUT_S = 180
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIBC = ctypes.CDLL(None, use_errno=True)
_TRIES = 4
_FEW = 32
"""files: so many are made durable one by one; syncfs also waits for what everybody else has written."""
_MUCH = 256 << 20
"""bytes after which what was put aside is made durable and named while the rest is still being read."""
_PAUSE_S = 0.2
_QUERY = re.compile(r"\?\S*")
_OPTIONS = {"s3": {"endpoint", "region", "virtual_hosted_style_request"}, "gs": set(), "az": {"endpoint"}}
_T = TypeVar("_T")


class StoreFailed(Failure):
    """The store cannot be reached, or says no."""

    id = "store-failed"
    exit_code = ExitCode.NOTHING_REMOVED
    meaning = "a snapshot repository could not be read or written"


class NoObject(Failure):
    """There is no such object."""

    id = "no-object"
    exit_code = ExitCode.BLOCKED
    meaning = "an object that a snapshot repository should have is not there"


class Store:
    """One place that holds objects. Any thread may use it.

    Attributes:
        url: Where it is, as a person may see it.
        local: The folder, or None when it is an object store.
    """

    def __init__(self, url: str, objects: ObjectStore, local: Path | None, *, session: str, timeout_s: int) -> None:
        self.url = url
        self.local = local
        self._objects = objects
        self._session = session
        self._timeout_s = timeout_s
        self._staged: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self._waiting = 0
        self._existing: dict[str, int] = {}
        self._folders: set[str] = set()
        self._number = 0
        self._lock = Lock()

    def get(self, name: str) -> Buffer:
        """All bytes of an object.

        Raises:
            NoObject: There is none.
            StoreFailed: It cannot be read.
        """
        return self._try(f"{name} could not be read", lambda: self._get(name))

    def pieces(self, name: str) -> Iterator[Buffer]:
        """The bytes of an object one after the other; not asked for again when the connection breaks in the middle.

        Raises:
            NoObject: There is none.
            StoreFailed: It cannot be read.
        """
        found = self._try(f"{name} could not be read", lambda: obstore.get(self._objects, name))
        waiting = iter(found.stream())
        while True:
            try:
                piece = next(waiting, None)
            except (BaseError, OSError) as error:
                raise self._failed(f"{name} could not be read to its end", error) from error
            if piece is None:
                return
            yield memoryview(piece)

    def list(self, prefix: str = "") -> list[Stored]:
        """Every object below a prefix, in no order.

        Raises:
            StoreFailed: They cannot be listed.
        """

        def listed() -> list[Stored]:
            chunks = obstore.list(self._objects, prefix or None, chunk_size=1000)
            return [
                Stored(meta["path"], meta["size"], _ns(meta["last_modified"])) for chunk in chunks for meta in chunk
            ]

        return self._try("the repository could not be listed", listed)

    def head(self, name: str) -> Stored | None:
        """An object without its bytes; None if there is none.

        Raises:
            StoreFailed: Nobody can say.
        """
        try:
            meta = self._try(f"{name} could not be looked at", lambda: obstore.head(self._objects, name))
        except NoObject:
            return None
        return Stored(name, meta["size"], _ns(meta["last_modified"]))

    def create(self, name: str, data: bytes) -> bool:
        """Put an object at once, unless there is one: then False. Not durable in a local folder: for locks.

        Raises:
            StoreFailed: It cannot be put.
        """
        return self._create(name, data, f"{name} could not be stored")

    def replace(self, name: str, data: bytes) -> None:
        """Put an object at once, whatever was there. For locks.

        Raises:
            StoreFailed: It cannot be put.
        """
        self._try(f"{name} could not be stored", lambda: obstore.put(self._objects, name, data, use_multipart=False))

    def stage(self, name: str, *parts: Buffer) -> None:
        """Put an object that `flush` makes durable; in a local folder it has its name only then.

        Whoever stages much in a local folder also makes durable, now and then, what others and it have staged so far: the disk then
        works while the rest is read.

        Args:
            name: Of the object.
            parts: Its bytes, in as many pieces as is convenient.

        Raises:
            StoreFailed: It cannot be put.
        """
        what = f"{name} could not be stored"
        if self.local is not None:
            self._set_aside(what, name, lambda: parts)
        elif not self._create(name, b"".join(parts), what):
            self._exists(name)

    def stage_pieces(self, name: str, pieces: Callable[[], Iterable[bytes]]) -> None:
        """Likewise for an object that is not in memory.

        Args:
            name: Of the object.
            pieces: Gives its bytes; called again for every attempt.

        Raises:
            StoreFailed: It cannot be put.
        """
        what = f"{name} could not be stored"
        if self.local is not None:
            self._set_aside(what, name, pieces)
        elif self.head(name) is not None:
            self._exists(name)
        else:
            self._try(what, lambda: obstore.put(self._objects, name, pieces(), max_concurrency=4))

    def flush(self) -> dict[str, int]:
        """Make durable what was staged, and give it its names.

        Returns:
            Objects that were there before, with their sizes in bytes; what was staged for them is thrown away.

        Raises:
            StoreFailed: It cannot be made durable; what has no name yet gets none.
        """
        self._settle(self._take_whole(0))
        with self._lock:
            folders, self._folders = self._folders, set()
            existing, self._existing = self._existing, {}
        self._make_durable(folders)
        return existing

    def discard(self) -> None:
        """Throw away what was put aside and has no name yet.

        Raises:
            StoreFailed: Some may be left.
        """
        self.delete(list(self._staged))
        self._staged.clear()
        self._whole.clear()

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects for good; those that are not there are no trouble.

        Raises:
            StoreFailed: Some may be left.
        """
        for at in range(0, len(names), 1000):
            some = list(names[at : at + 1000])
            try:
                self._try("objects could not be removed", partial(obstore.delete, self._objects, some))
            except NoObject:
                for name in some:
                    self._delete_one(name)

    def _delete_one(self, name: str) -> None:
        try:
            self._try(f"{name} could not be removed", lambda: obstore.delete(self._objects, name))
        except NoObject:
            return  # somebody else removed it

    def _create(self, name: str, data: bytes, what: str) -> bool:
        try:
            self._try(what, lambda: obstore.put(self._objects, name, data, mode="create", use_multipart=False))
        except _Exists:
            return False
        return True

    def _get(self, name: str) -> Buffer:
        if self.local is None:
            return memoryview(obstore.get(self._objects, name).bytes())
        if "/../" in f"/{name}/":
            raise FileNotFoundError(name)
        return memoryview(_read_file(f"{self.local}/{name}"))

    def _set_aside(self, what: str, name: str, pieces: Callable[[], Iterable[Buffer]]) -> None:
        """Write an object of a local folder; it gets its name when it is durable."""
        with self._lock:
            self._number += 1
            aside = f"{STAGING}/{self._session}/{self._number}"
            self._staged[aside] = name
        size = self._try(what, lambda: write_file(Path(f"{self.local}/{aside}"), pieces()))
        with self._lock:
            self._whole[aside] = name
            self._waiting += size
        self._settle(self._take_whole(_MUCH))

    def _take_whole(self, least: int) -> dict[str, str]:
        """What was put aside and nobody makes durable yet, if it is at least so many bytes."""
        with self._lock:
            if self._waiting < least:
                return {}
            self._waiting = 0
            whole, self._whole = self._whole, {}
            return whole

    def _settle(self, whole: dict[str, str]) -> None:
        """Make durable what was put aside, then give it its names."""
        if not whole:
            return
        self._make_durable(set(whole))
        for aside, name in whole.items():
            if not self._name(aside, name):
                self._exists(name)
                self.delete([aside])
            with self._lock:
                del self._staged[aside]
                self._folders.update(map(str, PurePosixPath(name).parents))

    def _name(self, aside: str, name: str) -> bool:
        try:
            self._try(
                f"{name} could not be stored", lambda: obstore.rename(self._objects, aside, name, overwrite=False)
            )
        except _Exists:
            return False
        return True

    def _exists(self, name: str) -> None:
        found = self.head(name)
        if found is not None:
            self._existing[name] = found.size

    def _make_durable(self, names: set[str]) -> None:
        """Bring files or folders to the disk: few by themselves, many by asking for the whole file system at once."""
        if not names:
            return
        few = len(names) <= _FEW
        for name in sorted(names) if few else ["."]:
            fd = os.open(f"{self.local}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if few:
                    os.fsync(fd)
                else:
                    _syncfs(fd)
            except OSError as error:
                raise self._failed("what was written could not be made durable", error) from error
            finally:
                os.close(fd)

    def _try(self, what: str, work: Callable[[], _T]) -> _T:
        """Do something with the store, again if it may help, but not for ever."""
        until = time.monotonic() + self._timeout_s
        for attempt in range(1, _TRIES + 1):
            try:
                return work()
            except AlreadyExistsError as error:
                raise _Exists from error
            except FileNotFoundError as error:
                raise NoObject(
                    f"{what}: there is no such object in {self.url}", not_done="nothing was changed"
                ) from error
            except (PermissionDeniedError, UnauthenticatedError, NotSupportedError, PermissionError) as error:
                raise self._failed(what, error) from error
            except (BaseError, OSError, ValueError) as error:
                if attempt == _TRIES or self.local is not None or time.monotonic() >= until:
                    raise self._failed(what, error) from error
            time.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _failed(self, what: str, error: BaseException) -> StoreFailed:
        denied = isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError)
        return StoreFailed(
            f"{what}: {_plain(error)} ({self.url})",
            hint="the credentials must allow it; they come from the environment"
            if denied and self.local is None
            else "run the command again: what is stored already is not stored twice",
        )


class _Exists(Exception):  # noqa: N818 - it never leaves this file
    """There is an object of that name."""


def open_store(text: str, *, cwd: Path, session: str, create: bool = False, timeout_s: int = TIMEOUT_S) -> Store:
    """Find a store by what a person typed.

    Args:
        text: A path, `file:///...`, `s3://bucket/prefix?endpoint=...&region=...`, `gs://bucket/prefix` or `az://container/prefix`.
        cwd: Where a relative path begins.
        session: 32 hexadecimal digits that nobody else has: names what is put aside.
        create: Whether to make a local folder that is not there.
        timeout_s: Seconds that one object may take, all attempts together.

    Raises:
        UsageFailure: It is none of these, or has something that looks like a secret.
        NoObject: The local folder is not there.
        UnsafePath: Somebody else could replace it, or change it while we are root.
        StoreFailed: The local folder cannot be made.
    """
    parts = urlsplit(text)
    if parts.scheme in _OPTIONS:
        return _remote(text, session, timeout_s)
    if parts.scheme not in {"", "file"} or (parts.scheme == "file" and parts.netloc):
        raise _unknown(text, "it is neither a path nor a URL that we know")
    path = Path(os.path.realpath(cwd / (unquote(parts.path) if parts.scheme else text)))
    if create:
        _make(path)
    elif not path.is_dir():
        raise NoObject(f"there is no folder {path}", not_done="nothing was read")
    _refuse(path)
    return Store(f"{path}", LocalStore(path), path, session=session, timeout_s=timeout_s)


def open_objects(text: str, *, cwd: Path, timeout_s: float) -> ObjectStore:
    """The same place without anything between: each request is made once, and fails when its time is over.

    Args:
        text: As for `open_store`; a local folder is made.
        cwd: Where a relative path begins.
        timeout_s: For one request, in seconds.

    Raises:
        UsageFailure: It is none of these, or has something that looks like a secret.
        UnsafePath: As for `open_store`.
        StoreFailed: The local folder cannot be made.
    """
    settings: dict[str, Any] = {
        "client_options": {"timeout": timedelta(seconds=timeout_s), "connect_timeout": timedelta(seconds=timeout_s)},
        "retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=timeout_s)},
    }
    if urlsplit(text).scheme in _OPTIONS:
        return _far(text, settings)[1]
    return open_store(text, cwd=cwd, session="", create=True)._objects  # noqa: SLF001 - of this file


def _remote(text: str, session: str, timeout_s: int) -> Store:
    request_s = max(1, timeout_s // 3)
    settings: dict[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=request_s),
            "connect_timeout": timedelta(seconds=min(5, request_s)),
        },
        "retry_config": {"max_retries": 6, "retry_timeout": timedelta(seconds=timeout_s)},
    }
    url, objects = _far(text, settings)
    return Store(url, objects, None, session=session, timeout_s=timeout_s)


def _far(text: str, settings: dict[str, Any]) -> tuple[str, ObjectStore]:
    parts = urlsplit(text)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    unknown = set(options) - _OPTIONS[parts.scheme]
    if unknown or "@" in parts.netloc or not parts.netloc or parts.fragment:
        raise _unknown(
            f"{parts.scheme}://...", "it has a part that cannot be there; credentials come from the environment"
        )
    prefix = unquote(parts.path).strip("/") or None
    settings["client_options"]["allow_http"] = options.get("endpoint", "").startswith("http://")
    url = f"{parts.scheme}://{parts.netloc}/{prefix or ''}"
    try:
        objects: ObjectStore
        match parts.scheme:
            case "s3":
                objects = S3Store(parts.netloc, prefix=prefix, **settings, **options)  # type: ignore[arg-type]
            case "gs":
                objects = GCSStore(parts.netloc, prefix=prefix, **settings)
            case _:
                objects = AzureStore(parts.netloc, prefix=prefix, **settings, **options)  # type: ignore[arg-type]
    except (BaseError, ValueError) as error:
        raise _unknown(url, _plain(error)) from error
    return url, objects


def write_file(path: Path, pieces: Iterable[Buffer]) -> int:
    """Write a new file that nobody looks for yet. Not by obstore, whose own temporary file would stay unseen if we were killed.

    Returns:
        Bytes that were written.

    Raises:
        OSError: It exists, or cannot be written.
    """
    try:
        fd = os.open(path, _NEW, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, _NEW, 0o666)
    size = 0
    with os.fdopen(fd, "wb", buffering=0) as file:
        for piece in pieces:
            left = memoryview(piece)
            size += len(left)
            while left:
                left = left[file.write(left) :]
    return size


def _read_file(path: str) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(path)
        return file.readall()


def _syncfs(fd: int) -> None:
    if _LIBC.syncfs(ctypes.c_int(fd)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(
            f"the repository {path} cannot be made: {error.strerror}",
            not_done="nothing was stored",
            hint="give another place with --repo, or in the setting snapshot.repository",
        ) from error


def _refuse(path: Path) -> None:
    """What somebody else can replace could lead us to write elsewhere."""
    problems = list(ancestor_problems(path))
    found = path.stat()
    if os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & 0o022):
        problems.append("somebody else than root can write it, and we are root")
    if problems:
        raise UnsafePath(
            f"the repository {path} is not safe: {'; '.join(problems)}",
            not_done="nothing was read or stored",
            hint="run this as the owner of the repository, or choose another place",
        )


def _unknown(text: str, why: str) -> UsageFailure:
    return UsageFailure(
        f"{text[:200]!r} cannot be a repository: {why}",
        not_done="nothing was read or stored",
        hint="a path, file:///path, s3://bucket/prefix?endpoint=https://..., gs://bucket/prefix or az://container/prefix",
    )


def _plain(error: BaseException) -> str:
    """The first line of what a store says, without anything that may hold a signature."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return _QUERY.sub("?...", first)[:400]


def _ns(moment: Any) -> int:
    return int(moment.timestamp() * 1000) * 10**6
