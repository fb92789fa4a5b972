"""A cache in numbers."""

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Action, Foreign, Fuzz, Inventory, Output, Shape
from go_cache_safeguard.gocache.summary import DAY_NS, OLDEST, Amount, Part, age_of, summarize

NOW = 100 * DAY_NS


def key(number: int) -> bytes:
    return bytes([number]) * 32


def make(number: int, size: int, age_ns: int, about: Archive | None = None, kind: Kind = Kind.ARCHIVE) -> Output:
    return Output(key(number), size, 4096, NOW - age_ns, 0o644, False, kind, about, Shape.FILE, 1, 0)  # noqa: FBT003 - a row


NEW = Archive("fmt", "linux", "amd64", "go1.27.3", ("-race",), "", "")
OLD = Archive("fmt", "linux", "arm64", "go1.21.13", (), "", "")
INVENTORY = Inventory(
    "/cache",
    "1:2",
    {key(9): Action(key(9), 175, NOW, Entry(key(9), key(1), 100, 0), 1, 0, 4096)},
    {
        key(1): make(1, 100, 0, NEW),
        key(2): make(2, 300, 6 * DAY_NS, OLD),
        key(3): make(3, 7, 2 * DAY_NS, None, Kind.INDEX),
        key(4): make(4, 5, -DAY_NS, NEW),
    },
    (Foreign("odd", "file", 11),),
    Fuzz(2, 22),
)


def test_everything_is_added_up() -> None:
    summary = summarize(INVENTORY, now_ns=NOW, installed=["go1.27.3"])
    assert summary.entries == Amount(1, 175)
    assert summary.outputs == Amount(4, 412)
    assert summary.disk == 5 * 4096
    assert summary.by_kind == (Part("archive", Amount(3, 405)), Part("index", Amount(1, 7)))
    assert summary.by_toolchain == (Part("go1.21.13", Amount(1, 300)), Part("go1.27.3", Amount(2, 105)))
    assert summary.by_target == (Part("linux/arm64", Amount(1, 300)), Part("linux/amd64", Amount(2, 105)))
    assert summary.by_race == (Part("plain", Amount(1, 300)), Part("race", Amount(2, 105)))
    assert [part.amount.files for part in summary.by_age] == [2, 0, 1, 1]
    assert summary.orphans == Amount(3, 312)
    assert summary.dead == Amount(1, 300)
    assert summary.unused == Amount(1, 300)
    assert summary.foreign == Amount(1, 11)
    assert summary.fuzz == Amount(2, 22)


def test_without_knowing_what_is_installed_nothing_is_called_dead() -> None:
    assert summarize(INVENTORY, now_ns=NOW).dead is None


def test_an_empty_cache_adds_up_to_nothing() -> None:
    summary = summarize(Inventory("/cache", "1:2", {}, {}), now_ns=NOW, installed=[])
    assert summary.outputs == summary.orphans == summary.dead == Amount()
    assert summary.by_kind == ()
    assert len(summary.by_age) == 4


def test_a_time_in_the_future_is_young() -> None:
    assert age_of(make(1, 1, -DAY_NS), NOW) == "under 1 hour"
    assert age_of(make(1, 1, 5 * DAY_NS), NOW) == OLDEST
