"""The door of a module cache: names of any depth, whole trees, and nothing that lies elsewhere."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from go_cache_safeguard.core.plan import Item
from go_cache_safeguard.gomod.layout import ENTRY_NAME
from go_cache_safeguard.snapshot.quarantine import NotAllowed, Quarantine, open_quarantine
from go_cache_safeguard.tree.root import open_root
from smallcaches import NOW_NS, OP
from smallmodules import ONE, TWO, contents, plan_of, small_modules


@contextmanager
def opened(root: Path) -> Iterator[Quarantine]:
    with open_root(root) as cache, open_quarantine(cache, allowed=ENTRY_NAME, deep=True) as quarantine:
        yield quarantine


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return small_modules(tmp_path / "mod")


def test_a_version_goes_and_comes_back_with_every_mode(cache: Path) -> None:
    before = contents(cache)
    for version in (ONE, TWO):
        plan = plan_of(cache, version)
        with opened(cache) as quarantine:
            quarantine.prepare(OP, plan.data)
            taken = quarantine.take(OP, plan.items)
            assert (taken.moved, taken.bytes, taken.failed) == (4, plan.total, ())
            assert quarantine.left(OP) == (4, plan.total)
            away = contents(cache)
            assert {name: one for name, one in before.items() if name not in away}.keys() == {
                name
                for name in before
                if any(name == item.name or name.startswith(f"{item.name}/") for item in plan.items)
            }
            back = quarantine.put_back(OP, now_ns=NOW_NS)
            assert (back.restored, back.newer, back.failed) == (4, 0, ())
            assert quarantine.purge(OP, only=()).failed == ()
            assert quarantine.stored() == []
        assert contents(cache) == before


@pytest.mark.parametrize(
    "name",
    [
        "../escape@v1.0.0",
        "/etc/a@v1.0.0",
        "a/../../b@v1.0.0",
        "example.com/One@v1.0.0",
        "example.com/!one@v1.0.0/a.go",
        "cache/download/example.com/!one/@v/list",
        "cache/download/example.com/!one/@v/v1.0.0.lock",
        "cache/lock",
        "cache/x@v1",
        "example.com",
    ],
)
def test_a_name_that_is_no_tree_and_no_file_of_a_version_is_refused(cache: Path, name: str) -> None:
    before = contents(cache)
    with opened(cache) as quarantine:
        quarantine.prepare(OP, plan_of(cache).data)
        with pytest.raises(NotAllowed):
            quarantine.take(OP, [*plan_of(cache).items, Item(name, 0, 0, "evil")])
        with pytest.raises(NotAllowed):
            quarantine.purge(OP, only=[name])
    assert contents(cache) == before


def test_what_changed_since_the_plan_stays(cache: Path) -> None:
    plan = plan_of(cache)
    (cache / ONE.download(".zip")).write_bytes(b"fetched again")
    (cache / ONE.tree / "sub" / "deep" / "b.go").chmod(0o644)
    (cache / ONE.tree / "sub" / "deep" / "b.go").write_bytes(b"longer than it was")
    (cache / ONE.download(".mod")).unlink()
    with opened(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        taken = quarantine.take(OP, plan.items)
    assert set(taken.changed) == {ONE.tree, ONE.download(".zip")}
    assert (taken.missing, taken.moved) == ((ONE.download(".mod"),), 1)


def test_a_link_in_the_place_of_anything_is_neither_followed_nor_moved(cache: Path, tmp_path: Path) -> None:
    plan = plan_of(cache)
    elsewhere = tmp_path / "elsewhere"
    (cache / ONE.tree).rename(elsewhere)
    (cache / ONE.tree).symlink_to(elsewhere)
    folder = (cache / ONE.download(".zip")).parent
    folder.rename(tmp_path / "folder")
    folder.symlink_to(tmp_path / "folder")
    with opened(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        taken = quarantine.take(OP, plan.items)
    assert taken.moved == 0
    assert {name for name, _why in taken.failed} == {item.name for item in plan.items}
    assert (elsewhere / "a.go").exists()
    assert (tmp_path / "folder" / "v1.0.0.zip").exists()


def test_links_inside_a_tree_go_with_it_and_are_purged_without_being_followed(cache: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("key")
    tree = cache / ONE.tree
    tree.chmod(0o755)
    (tree / "folder").symlink_to(secret)
    os.mkfifo(tree / "pipe")
    tree.chmod(0o555)
    plan = plan_of(cache)
    with opened(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        assert quarantine.take(OP, plan.items).moved == 4
        purged = quarantine.purge(OP, only=[item.name for item in plan.items])
        assert (purged.removed, purged.left, purged.failed) == (4, 0, ())
        assert quarantine.stored() == []
    assert (secret / "key").read_text() == "key"


def test_what_go_has_fetched_again_is_never_overwritten(cache: Path) -> None:
    plan = plan_of(cache)
    with opened(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        quarantine.take(OP, plan.items)
        (cache / ONE.tree).mkdir()
        (cache / ONE.download(".zip")).write_bytes(b"newer")
        back = quarantine.put_back(OP, now_ns=NOW_NS)
        assert (back.restored, back.newer) == (2, 2)
        assert quarantine.left(OP)[0] == 2
    assert (cache / ONE.download(".zip")).read_bytes() == b"newer"
    assert list((cache / ONE.tree).iterdir()) == []


def test_something_foreign_in_quarantine_stays_there_and_is_named(cache: Path) -> None:
    plan = plan_of(cache)
    with opened(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        quarantine.take(OP, plan.items)
        files = cache.parent / ".mod.safeguard" / OP / "files"
        (files / "planted").write_text("x")
        back = quarantine.put_back(OP, now_ns=NOW_NS)
        assert [name for name, _why in back.failed] == ["planted"]
        assert quarantine.purge(OP, only=()).left == 1
    assert not (cache / "planted").exists()


def test_a_mark_that_was_left_when_somebody_was_killed_is_taken_away(cache: Path) -> None:
    plan = plan_of(cache)
    with opened(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        (cache / ONE.tree).chmod(0o555 | stat.S_ISVTX | stat.S_IWUSR)
        assert quarantine.put_back(OP, now_ns=NOW_NS).failed == ()
    assert stat.S_IMODE((cache / ONE.tree).stat().st_mode) == 0o555
