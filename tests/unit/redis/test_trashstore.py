"""Captured values as objects: here of a store in memory that may fail."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.redis import trashstore
from go_cache_safeguard.redis.trash import Captured, Frame, Header
from go_cache_safeguard.redis.trashlog import Kept, TrashUnusable
from go_cache_safeguard.redis.trashstore import ObjectBin

OP, OTHER = "op_0123456789abcdef", "op_fedcba9876543210"
HEADER = Header(OP, "redis://h:6379", "a" * 40, "b" * 64)


class Item(NamedTuple):
    """One object."""

    name: str
    size: int


class Objects:
    """A store; `fails` says whether a put with this name does."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.fails: Callable[[str], bool] = lambda _name: False
        self.lost = False
        self._taken: dict[str, int] = {}

    def get(self, name: str) -> bytes:
        return self.held[name]

    def list(self, prefix: str = "") -> Sequence[Item]:
        return [Item(name, len(data)) for name, data in self.held.items() if name.startswith(prefix)]

    def stage(self, name: str, data: bytes) -> None:
        if self.fails(name):
            if self.lost:
                self.held.setdefault(name, data)
            raise Failure("no answer")
        if name in self.held:
            self._taken[name] = len(self.held[name])
        else:
            self.held[name] = data

    def flush(self) -> dict[str, int]:
        taken, self._taken = self._taken, {}
        return taken

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            if self.fails(name):
                raise Failure("no answer")
            self.held.pop(name, None)


@contextmanager
def _lock(_op: str) -> Iterator[None]:
    yield


@pytest.fixture
def objects() -> Objects:
    return Objects()


def _bin(objects: Objects) -> ObjectBin:
    return ObjectBin(objects, "s3://bucket/prefix?region=x", _lock)


def _one(name: bytes, value: bytes = b"value") -> Captured:
    return Captured(0, name, -1, value)


def test_every_batch_is_an_object_that_says_where_it_begins(objects: Objects) -> None:
    with _bin(objects).open(OP, new=True) as log:
        log.begin(HEADER)
        log.keep([_one(b"a")])
        log.tell(Frame.REMOVED)
        size = log.size
    assert len(objects.held) == 3
    assert min(objects.held) == f"{OP}/{0:020}"
    objects.held["somebody/else"] = b"x"
    assert _bin(objects).kept() == [Kept(OP, size)]
    with _bin(objects).open(OP) as log:
        log.begin(HEADER)
        log.keep([_one(b"b")])
        assert [one.key for one in log.values()] == [b"a", b"b"]
        assert log.place == f"s3://bucket/prefix/{OP}"


def test_much_is_put_before_anybody_asks(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trashstore, "OBJECT", 100)
    with _bin(objects).open(OP, new=True) as log:
        log.begin(HEADER)
        for _ in range(10):
            log.add_piece(b"x" * 60)
        assert len(objects.held) > 4


def test_what_could_not_be_put_is_not_taken_for_kept_and_can_go_on(objects: Objects) -> None:
    for lost in (False, True):
        objects.held.clear()
        with _bin(objects).open(OP, new=True) as log:
            log.begin(HEADER)
            objects.fails, objects.lost = lambda _name: True, lost
            with pytest.raises(TrashUnusable, match="no answer"):
                log.keep([_one(b"a")])
            objects.fails = lambda _name: False
        with _bin(objects).open(OP, new=True) as log:
            log.begin(HEADER)
            log.tell(Frame.STAYED)
            log.keep([_one(b"b")])
            assert [one.key for one in log.values()] == [b"b"]


def test_two_writers_never_go_on_from_the_same_place(objects: Objects) -> None:
    with _bin(objects).open(OP, new=True) as first, _bin(objects).open(OP, new=True) as late:
        first.begin(HEADER)
        with pytest.raises(TrashUnusable, match="grew"):
            late.begin(Header(OP, "redis://other:1", "c" * 40, "d" * 64))
        later = _bin(objects).open(OP)
        first.keep([_one(b"a")])
        with pytest.raises(TrashUnusable, match="grew"):
            later.keep([_one(b"b")])
    with _bin(objects).open(OP) as log:
        assert [one.key for one in log.values()] == [b"a"]


def test_the_same_object_twice_is_no_trouble(objects: Objects) -> None:
    """The answer to the first put was lost on its way, and the store tried again."""
    with _bin(objects).open(OP, new=True) as log:
        log.begin(HEADER)
    whole = dict(objects.held)
    with _bin(objects).open(OP) as log:
        log.keep([_one(b"a")])
    late = {name: data for name, data in objects.held.items() if name not in whole}
    objects.held = {**whole, **late}
    with _bin(objects).open(OP) as log:
        log._end = min(int(name[-20:]) for name in late)  # as it was before the answer was lost
        log.keep([_one(b"a")])


def test_objects_that_are_missing_or_cut_are_damage(objects: Objects) -> None:
    with _bin(objects).open(OP, new=True) as log:
        log.begin(HEADER)
        log.keep([_one(b"a")])
        log.tell(Frame.REMOVED)
    whole = dict(objects.held)
    for name in sorted(whole)[:-1]:
        objects.held = {other: data for other, data in whole.items() if other != name}
        with pytest.raises(TrashUnusable, match="missing"):
            _bin(objects).open(OP)
    with _bin(objects).open(OTHER, new=True) as log:
        log.begin(HEADER)
        objects.held[f"{OTHER}/{0:020}"] = b"short"
        with pytest.raises(TrashUnusable, match="not whole"):
            log.header()


def test_a_purge_that_was_stopped_leaves_nothing_that_looks_whole(objects: Objects) -> None:
    with _bin(objects).open(OP, new=True) as log:
        log.begin(HEADER)
        for name in (b"a", b"b"):
            log.keep([_one(name)])
            log.tell(Frame.REMOVED)
    second = sorted(objects.held)[1]
    objects.fails = lambda name: name == second
    with pytest.raises(TrashUnusable):
        _bin(objects).throw_away(OP)
    assert objects.held
    with pytest.raises(TrashUnusable):
        _bin(objects).open(OP)
    objects.fails = lambda _name: False
    assert _bin(objects).kept()
