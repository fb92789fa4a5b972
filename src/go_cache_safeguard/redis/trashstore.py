"""Captured values in an object store: for each operation a row of objects that are never written again.

Knows:     how frames become objects whose names tell where they begin, and what a gap between them means.
Called by: `flows.redis_trash`, which hands in the store.
Never:     puts an object over another one; takes an answer that was lost for a yes; removes an object of another form than its own.

An object holds whole frames and is called OP/START: the byte at which it begins, in twenty digits. It is put only if there is none
of that name, so two writers can never both go on from the same place.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Protocol, Self

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.redis.trash import Frame
from go_cache_safeguard.redis.trashlog import Kept, TrashLog, TrashUnusable

OBJECT = 4 << 20
"""Bytes of frames after which an object is put though nobody asked for it."""
_DIGITS = 20


class Listed(Protocol):
    """An object as a store lists it."""

    @property
    def name(self) -> str:
        """Below the place."""

    @property
    def size(self) -> int:
        """Bytes."""


class Objects(Protocol):
    """What we need of a store. Whatever it cannot do is a `Failure`."""

    def get(self, name: str) -> bytes | bytearray | memoryview:
        """All bytes of an object."""

    def list(self, prefix: str = "") -> Sequence[Listed]:
        """Every object below a prefix, in no order."""

    def stage(self, name: str, data: bytes) -> None:
        """Put an object, if there is none of that name."""

    def flush(self) -> dict[str, int]:
        """Make what was staged durable; returns the names that were taken."""

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects for good."""


class TrashObjects(TrashLog):
    """The captured values of one operation, locked by us."""

    def __init__(
        self, objects: Objects, op: str, place: str, sizes: dict[int, int], release: Callable[[], None]
    ) -> None:
        super().__init__(place, release)
        self._objects = objects
        self._op = op
        self._sizes = sizes
        self._end = _end_of(sizes, place)
        self._waiting: list[bytes] = []
        self._more = 0

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._end + self._more

    def sync(self) -> None:
        """Put what waits."""
        if not self._waiting:
            return
        data, name = b"".join(self._waiting), _name(self._op, self._end)
        with _told(self.place):
            self._objects.stage(name, data)
            taken = name in self._objects.flush() and bytes(self._objects.get(name)) != data
        if taken:
            raise TrashUnusable(f"{self.place} grew while we wrote to it", not_done="what was not kept was not removed")
        self._sizes[self._end] = len(data)
        self._end += len(data)
        self._waiting, self._more = [], 0

    def tell(self, kind: Frame) -> None:
        """Write what became of the last batch, durable when this returns: nothing of ours outlives us here that was not put."""
        super().tell(kind)
        self.sync()

    def _write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._more += len(data)
        if self._more >= OBJECT:
            self.sync()

    def _read(self, at: int) -> Iterator[bytes]:
        begins = sorted(self._sizes)
        for begin in begins[max(0, bisect_right(begins, at) - 1) :]:
            with _told(self.place):
                data = bytes(self._objects.get(_name(self._op, begin)))
            if len(data) != self._sizes[begin]:
                raise TrashUnusable(f"{self.place}: an object that is not whole", not_done="nothing was put back")
            yield data[max(0, at - begin) :]
        yield from self._waiting


class ObjectBin:
    """A place in an object store.

    Args:
        objects: The store.
        url: How it is found again.
        lock: Keeps other processes of this state directory from an operation.
    """

    def __init__(self, objects: Objects, url: str, lock: Callable[[str], AbstractContextManager[None]]) -> None:
        self.url = url
        self._objects = objects
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def see_fit(self) -> None:
        """What a store has put is durable."""

    def open(self, op: str, *, new: bool = False) -> TrashObjects:
        """See `Bin.open`."""
        place = f"{self.url.partition('?')[0].rstrip('/')}/{op}"
        with ExitStack() as stack:
            stack.enter_context(self._lock(op))
            sizes = self._sizes(op)
            if not sizes and not new:
                raise TrashUnusable(f"{place} is not there", not_done="nothing was done")
            return TrashObjects(self._objects, op, place, sizes, stack.pop_all().close)

    def kept(self) -> list[Kept]:
        """See `Bin.kept`."""
        found: dict[str, int] = {}
        with _told(self.url):
            for one in self._objects.list():
                op, begin = _parsed(one.name)
                if begin >= 0:
                    found[op] = found.get(op, 0) + one.size
        return [Kept(op, size) for op, size in sorted(found.items())]

    def free(self) -> int | None:
        """An object store tells no bound."""
        return None

    def throw_away(self, op: str) -> int:
        """See `Bin.throw_away`. The first object goes first: what a crash leaves is never taken for a shorter log."""
        with self._lock(op), _told(self.url):
            sizes = self._sizes(op)
            names = [_name(op, begin) for begin in sorted(sizes)]
            if names:
                self._objects.delete(names[:1])
                self._objects.delete(names[1:])
        return sum(sizes.values())

    def _sizes(self, op: str) -> dict[int, int]:
        with _told(self.url):
            listed = self._objects.list(f"{op}/")
        return {begin: one.size for one in listed for name, begin in [_parsed(one.name)] if name == op and begin >= 0}


def _name(op: str, begin: int) -> str:
    return f"{op}/{begin:0{_DIGITS}}"


def _parsed(name: str) -> tuple[str, int]:
    """Operation and begin; -1 if we do not name objects so."""
    op, _, digits = name.partition("/")
    ours = is_operation_id(op) and len(digits) == _DIGITS and digits.isascii() and digits.isdecimal()
    return op, int(digits) if ours else -1


def _end_of(sizes: dict[int, int], place: str) -> int:
    end = 0
    for begin, size in sorted(sizes.items()):
        if begin != end:
            raise TrashUnusable(
                f"{place}: bytes {end} to {begin} are missing",
                not_done="nothing was put back",
                hint="something else than this program removed them",
            )
        end += size
    return end


@contextmanager
def _told(place: str) -> Iterator[None]:
    """What a store cannot do, as captured values that cannot be kept or read."""
    try:
        yield
    except TrashUnusable:
        raise
    except (Failure, OSError) as error:
        what = error.what if isinstance(error, Failure) else str(error)
        raise TrashUnusable(
            f"the trash {place} cannot be used: {what}",
            not_done="what was not kept was not removed",
            hint="see that the place can be reached and written, then go on with what stopped",
        ) from error
