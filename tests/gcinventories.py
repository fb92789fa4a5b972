"""Inventories made up for questions about what is reachable."""

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Damage, Entry
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output, Shape

DAY_NS = 86_400 * 10**9
NOW_NS = 1_900_000_000 * 10**9


def an_id(number: int) -> bytes:
    """32 bytes."""
    return number.to_bytes(32, "big")


def an_archive(package: str = "example.com/m/lib", version: str = "go1.27.3", goarch: str = "amd64") -> Archive:
    """What an archive says of itself."""
    return Archive(
        package=package,
        goos="linux",
        goarch=goarch,
        version=version,
        flags=(),
        build_action="",
        build_content="",
    )


def an_action(key: bytes, output: int, *, days: float = 9, damage: Damage | None = None) -> Action:
    """An index entry, last used so many days ago."""
    used = NOW_NS - int(days * DAY_NS)
    return Action(key, 175, used, damage or Entry(key, an_id(output), 100, used), 1, used, 4096)


def an_output(
    key: int, *, size: int = 1000, days: float = 9, kind: Kind = Kind.ARCHIVE, about: Archive | None = None
) -> Output:
    """An output, last used so many days ago."""
    used = NOW_NS - int(days * DAY_NS)
    return Output(
        output=an_id(key),
        size=size,
        disk=4096,
        mtime_ns=used,
        mode=0o644,
        is_dir=False,
        kind=kind,
        about=about or (an_archive() if kind is Kind.ARCHIVE else None),
        shape=Shape.FILE,
        ino=key,
        ctime_ns=used,
    )


def an_inventory(actions: list[Action], outputs: list[Output]) -> Inventory:
    """A cache of these."""
    return Inventory("/c", "1:2", {one.action: one for one in actions}, {one.output: one for one in outputs})
