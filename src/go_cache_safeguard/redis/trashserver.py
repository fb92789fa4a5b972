"""Captured values on another Redis or Valkey server: for each operation one stream.

Knows:     how frames become entries whose numbers tell where they begin, and when such a server has them on its disk.
Called by: `flows.redis_trash`, which connects.
Never:     says that something is durable because it was sent; writes to the server that is guarded; takes a cluster, a replica, or a
           server that may evict what it holds.
Source:    XADD takes a number only if it is higher than the last one (Redis 5.0). WAITAOF since 7.2; `appendfsync always` answers after
           the sync, unless `no-appendfsync-on-rewrite` is on and the file is written anew (aof.c `flushAppendOnlyFile`). Names: the hash `gcs:trash` with the bytes of each operation, the stream `gcs:trash:OP`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from redis.exceptions import ResponseError

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.redis.client import Server
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.trash import Frame
from go_cache_safeguard.redis.trashlog import Kept, TrashLog, TrashUnusable

INDEX = "gcs:trash"
_ENTRY = 1 << 20
"""Bytes of frames after which an entry is made though nobody asked for it."""
_FIELD = b"f"
_NOT_REMOVED = "what was not kept was not removed"


class TrashStream(TrashLog):
    """The captured values of one operation, locked by us."""

    def __init__(self, server: "ServerBin", op: str, end: int, release: Callable[[], None]) -> None:
        super().__init__(f"{server.url}, {INDEX}:{op}", release)
        self._server = server
        self._op = op
        self._end = end
        self._waiting: list[bytes] = []
        self._more = 0

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._end + self._more

    def sync(self) -> None:
        """Send what waits, and wait until it is on the server's disk."""
        if self._waiting:
            self._server.add(self._op, self._end, self._waiting)
            self._end += self._more
            self._waiting, self._more = [], 0
        self._server.see_durable()

    def tell(self, kind: Frame) -> None:
        """Write what became of the last batch, durable when this returns: nothing of ours outlives us here that was not sent."""
        super().tell(kind)
        self.sync()

    def _write(self, data: bytes) -> None:
        if self._more and self._more + len(data) > _ENTRY:
            self._server.add(self._op, self._end, self._waiting)
            self._end += self._more
            self._waiting, self._more = [], 0
        self._waiting.append(data)
        self._more += len(data)

    def _read(self, at: int) -> Iterator[bytes]:
        while at < self._end:
            begin, data = self._server.entry(self._op, at)
            if not begin <= at < begin + len(data):
                raise TrashUnusable(f"{self.place}: byte {at} is missing", not_done="nothing was put back")
            yield data[at - begin :]
            at = begin + len(data)
        yield from self._waiting


class ServerBin:
    """A server that holds captured values of another one. Use it in a `with` statement.

    Args:
        server: An open connection.
        url: How it is found again.
        volatile: Whether it may hold values though it could lose them.
        guarded: Run ids of the servers that values come from.
        timeout_s: How long its disk may take.
        lock: Keeps other processes of this state directory from an operation.
    """

    def __init__(
        self,
        server: Server,
        url: str,
        *,
        volatile: bool,
        guarded: Collection[str],
        timeout_s: int,
        lock: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self.url = url
        self._server = server
        self._volatile = volatile
        self._guarded = guarded
        self._timeout_s = timeout_s
        self._lock = lock
        self._waits = False
        self._fit = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    def open(self, op: str, *, new: bool = False) -> TrashStream:
        """See `Bin.open`. A new one only where it would be safe."""
        with ExitStack() as stack:
            stack.enter_context(self._lock(op))
            if new:
                self.see_fit()
            end = self._end(op)
            if not end and not new:
                raise TrashUnusable(f"{self.url} holds nothing of {op}", not_done="nothing was done")
            return TrashStream(self, op, end, stack.pop_all().close)

    def kept(self) -> list[Kept]:
        """See `Bin.kept`."""
        pairs = self._ask(("HGETALL", INDEX))[0]
        names = [name.decode("ascii", "replace") for name in pairs[::2]]
        found = [Kept(op, int(size)) for op, size in zip(names, pairs[1::2], strict=True) if is_operation_id(op)]
        return sorted(found, key=lambda one: one.op)

    def free(self) -> int | None:
        """What is left below its `maxmemory`."""
        info = self._infos()
        most, used = info.count("maxmemory"), info.count("used_memory")
        return max(0, most - used) if most and used is not None else None

    def throw_away(self, op: str) -> int:
        """See `Bin.throw_away`."""
        with self._lock(op):
            size = self._end(op)
            self._ask(("MULTI",), ("UNLINK", f"{INDEX}:{op}"), ("HDEL", INDEX, op), ("EXEC",))
            return size

    def add(self, op: str, begin: int, parts: Sequence[bytes]) -> None:
        """One more entry, if the one before it ends where this begins.

        Raises:
            TrashUnusable: Nobody can say that it is there.
        """
        if not self._fit:
            self.see_fit()
        data = b"".join(parts)
        entry = ("XADD", f"{INDEX}:{op}", f"{begin}-1", _FIELD, data)
        *_, done = self._ask(("MULTI",), entry, ("HSET", INDEX, op, begin + len(data)), ("EXEC",))
        for answer in done if isinstance(done, list) else [ResponseError("EXEC did nothing")]:
            if isinstance(answer, ResponseError):
                raise TrashUnusable(f"{self.url}: the server says: {answer}", not_done=_NOT_REMOVED)

    def entry(self, op: str, at: int) -> tuple[int, bytes]:
        """The entry that holds a byte: where it begins, and its bytes; 0 and none if there is none."""
        found = self._ask(("XREVRANGE", f"{INDEX}:{op}", f"{at}-1", "-", "COUNT", 1))[0]
        return _entry(found[0]) if found else (0, b"")

    def see_durable(self) -> None:
        """Wait until everything is on the server's disk, where its answer alone does not say so.

        Raises:
            TrashUnusable: It is not.
        """
        if self._waits:
            local, *_ = self._ask(("WAITAOF", 1, 0, self._timeout_s * 500))[0]
            if not local:
                raise TrashUnusable(
                    f"{self.url} did not bring captured values to its disk in time",
                    not_done=_NOT_REMOVED,
                )

    def _end(self, op: str) -> int:
        found = self._ask(("XREVRANGE", f"{INDEX}:{op}", "+", "-", "COUNT", 1))[0]
        if not found:
            return 0
        begin, data = _entry(found[0])
        return begin + len(data)

    def see_fit(self) -> None:
        """Refuse a server that could lose what it is given, or that is the one it comes from."""
        info = self._infos()
        if info.fields.get("run_id", "") in {"", *self._guarded}:
            raise self._unfit("it is the server that is guarded, or does not say which it is")
        if info.fields.get("role") != "master" or info.fields.get("cluster_enabled") != "0":
            raise self._unfit("it is a replica or a node of a cluster")
        if info.count("maxmemory") != 0 and not info.fields.get("maxmemory_policy", "").startswith(
            ("noev", "volatile-")
        ):
            raise self._unfit("it may evict what it holds: its maxmemory-policy is none of noeviction and volatile-*")
        self._fit = True
        if self._volatile:
            return
        logs = info.fields.get("aof_enabled") == "1"
        self._waits = logs and isinstance(self._try("WAITAOF", 0, 0, 1), list)
        if not self._waits and not (logs and self._always()):
            self._fit = False
            raise self._unfit(
                "it could lose what it holds when it stops: that takes appendonly yes, and WAITAOF or appendfsync always",
                hint="let it keep an append-only file, or allow the risk with redis.trash_volatile=yes",
            )

    def _always(self) -> bool:
        """Whether every answer comes after the sync, also while the append-only file is written anew."""
        asked = (("appendfsync", b"always"), ("no-appendfsync-on-rewrite", b"no"))
        return all(self._try("CONFIG", "GET", name) == [name.encode(), wanted] for name, wanted in asked)

    def _unfit(self, why: str, hint: str = "choose another place with the setting redis.trash") -> TrashUnusable:
        return TrashUnusable(
            f"{self.url} cannot hold captured values: {why}", not_done="nothing was removed", hint=hint
        )

    def _infos(self) -> Info:
        with self._reached():
            return self._server.infos()[0]

    def _try(self, *words: str | int) -> Any:
        with self._reached():
            return self._server.ask_all([words])[0]

    def _ask(self, *commands: Sequence[bytes | str | int]) -> list[Any]:
        with self._reached():
            answers = self._server.ask_all(commands)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise TrashUnusable(f"{self.url}: the server says: {answer}", not_done=_NOT_REMOVED)
        return answers

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except Failure as error:
            raise TrashUnusable(
                f"the trash {self.url} cannot be used: {error.what}",
                not_done=_NOT_REMOVED,
                hint="see that the server can be reached, then go on with what stopped",
            ) from error


def _entry(found: Any) -> tuple[int, bytes]:
    number, (_, data) = found
    return int(number.partition(b"-")[0]), data
