"""`mod verify --repair`: exactly what is bad goes, go brings it back and proves it, and undo brings back what went."""

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.purge import purge, stored
from go_cache_safeguard.flows.repair_modules import Repair, carry_out, plan_repair
from go_cache_safeguard.flows.undo import undo
from go_cache_safeguard.gotool.modlock import ModulesBusy, hold_module_locks
from go_cache_safeguard.tree.root import open_root
from gocaches import Toolchain
from modcaches import (
    DEEP,
    DEP,
    World,
    add_file,
    alter_line,
    copy_world,
    edit_mod,
    edit_tree,
    empty_zip,
    flip_zip,
    hash_gone,
    hash_wrong,
    link_in_tree,
    make_world,
    other_zip,
    replace_together,
    take_file_away,
    zip_gone_and_tree_edited,
)
from otherusers import NOBODY, reveal

pytestmark = pytest.mark.real

TREE, ZIP, HASH, MOD = DEP.tree, DEP.download(".zip"), DEP.download(".ziphash"), DEP.download(".mod")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, toolchain: Toolchain) -> World:
    return make_world(tmp_path_factory.mktemp("world"), toolchain)


@pytest.fixture
def world(tmp_path: Path, template: World) -> World:
    return copy_world(template, tmp_path)


def planned(world: World) -> Repair:
    return plan_repair(world.session, world.verify())


def contents(world: World) -> dict[str, bytes | str | int]:
    """Everything in the module cache but go's lock files: content of files, targets of links, modes of directories."""
    found: dict[str, bytes | str | int] = {}
    for path in sorted(world.cache.rglob("*")):
        name = str(path.relative_to(world.cache))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_dir():
            found[name] = stat.S_IMODE(path.stat().st_mode)
        elif path.suffix != ".lock":
            found[name] = path.read_bytes()
    return found


@pytest.mark.parametrize(
    ("tamper", "gone"),
    [
        (edit_tree, {TREE}),
        (add_file, {TREE}),
        (take_file_away, {TREE}),
        (link_in_tree, {TREE}),
        (flip_zip, {ZIP}),
        (empty_zip, {ZIP}),
        (other_zip, {ZIP}),
        (zip_gone_and_tree_edited, {TREE}),
        (hash_wrong, {HASH}),
        (edit_mod, {MOD}),
        (replace_together, {TREE, ZIP, HASH}),
        (hash_gone, set()),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_exactly_what_is_bad_goes_and_go_brings_it_back(
    world: World, tamper: Callable[[World], None], gone: set[str]
) -> None:
    whole = contents(world)
    tamper(world)
    repair = planned(world)
    assert {item.name for item in repair.plan.items} == gone
    if not gone:
        return
    before = contents(world)
    receipt = carry_out(world.session, repair)
    assert (receipt.state, receipt.moved) == (State.DONE, len(gone))
    after = contents(world)
    assert {name for name in before if name not in after} == {
        name for name in before if any(name == one or name.startswith(f"{one}/") for one in gone)
    }
    assert [way.partition("  #")[0] for way in repair.ways] == [f"go mod download {DEP}"]
    # `go mod download` with a version does not read go.mod; the go.sum of the module still proves what it fetches.
    done = world.go("mod", "download", str(DEP), GOPROXY=f"file://{world.root}/proxy")
    assert done.returncode == 0, done.stderr
    assert contents(world) == whole
    assert [verdict.outcome for verdict in world.verify().verdicts] == [Outcome.PASS, Outcome.PASS]


def test_a_module_whose_go_sum_was_altered_does_not_come_back_and_undo_brings_it(world: World) -> None:
    before = contents(world)
    alter_line(world)
    receipt = carry_out(world.session, planned(world))
    done = world.go("mod", "download", str(DEP), GOPROXY=f"file://{world.root}/proxy")
    assert done.returncode != 0, "go.sum demands what the proxy does not have"
    left = contents(world)
    undone = undo(world.session, receipt.op, None)
    assert undone.restored + undone.newer == receipt.moved
    assert {name for name in before if name not in contents(world)} == set(), left


@pytest.mark.parametrize("tamper", [edit_tree, replace_together], ids=lambda one: one.__name__)
def test_undo_brings_back_every_byte_and_mode(world: World, tamper: Callable[[World], None]) -> None:
    tamper(world)
    (world.cache / TREE).chmod(0o555)
    before = contents(world)
    receipt = carry_out(world.session, planned(world))
    assert contents(world) != before
    undone = undo(world.session, receipt.op, None)
    assert (undone.restored, undone.newer) == (receipt.moved, 0)
    assert contents(world) == before


def test_what_go_fetched_since_is_not_overwritten_by_undo_and_purge_ends_it(world: World) -> None:
    replace_together(world)
    receipt = carry_out(world.session, planned(world))
    world.fetch()
    sound = contents(world)
    undone = undo(world.session, receipt.op, None)
    assert (undone.restored, undone.newer) == (0, 3)
    assert contents(world) == sound
    with world.session.journal() as journal:
        (due,) = stored(world.session, [journal.operation(receipt.op)])
        purged = purge(world.session, journal, due, per_second=0)
    assert (purged.removed, purged.left, purged.failed) == (3, 0, ())
    assert contents(world) == sound
    assert not list((world.root / ".mod.safeguard").glob("op_*"))


def test_while_go_is_at_work_on_a_version_nothing_of_it_is_moved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("go_cache_safeguard.flows.site._GO_WAIT_S", 0)
    edit_tree(world)
    before = contents(world)
    repair = planned(world)
    with (
        open_root(world.cache) as root,
        hold_module_locks(root, [DEP.download(".lock")], wait_s=0),
        pytest.raises(ModulesBusy, match="a go command is at work"),
    ):
        carry_out(world.session, repair)
    assert contents(world) == before
    assert carry_out(world.session, planned(world)).state is State.DONE


def waiting_for_locks() -> str:
    """What the kernel says of those who wait for a lock of a file: their process is the fifth word of a line."""
    lines = Path("/proc/locks").read_text("ascii").splitlines()
    return "\n".join(line for line in lines if "->" in line)


def test_go_waits_for_the_lock_that_we_hold(world: World) -> None:
    shutil.move(world.file(ZIP), world.root / "away.zip")
    with open_root(world.cache) as root, hold_module_locks(root, [DEP.download(".lock")], wait_s=0):
        environ = world.environ | {"GOPROXY": f"file://{world.root}/proxy"}
        command = [str(world.toolchain.go), "mod", "download", str(DEP)]
        with subprocess.Popen(command, cwd=world.module, env=environ, stdin=subprocess.DEVNULL) as waiting:
            try:
                while f" {waiting.pid} " not in waiting_for_locks():
                    assert waiting.poll() is None, "it did not wait"
                    time.sleep(0.01)
            finally:
                waiting.kill()
    assert not (world.cache / ZIP).exists()


@pytest.mark.root
def test_the_module_cache_of_another_user_is_repaired_with_their_rights(world: World) -> None:
    edit_tree(world)
    for path in (world.root, *world.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    (world.cache / TREE).chmod(0o555)
    reveal(world.root)
    before = contents(world)
    receipt = carry_out(world.session, planned(world))
    assert (receipt.moved, receipt.failed) == (1, ())
    place = world.root / ".mod.safeguard"
    assert {path.lstat().st_uid for path in (place, *place.rglob("*"))} == {NOBODY}
    assert stat.S_IMODE((place / receipt.op / "files" / TREE).stat().st_mode) == 0o555
    undo(world.session, receipt.op, None)
    assert contents(world) == before
    assert (world.cache / DEP.download(".lock")).lstat().st_uid == NOBODY


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"no plan")], ids=["gone", "damaged"])
def test_without_its_plan_everything_still_comes_back(world: World, spoil: Callable[[Path], object]) -> None:
    replace_together(world)
    before = contents(world)
    receipt = carry_out(world.session, planned(world))
    spoil(world.root / ".mod.safeguard" / receipt.op / "plan.json")
    assert undo(world.session, receipt.op, None).restored == 3
    assert contents(world) == before


def test_nothing_sound_is_planned(world: World) -> None:
    repair = planned(world)
    assert (repair.plan.items, repair.ways) == ((), ())
    edit_tree(world)
    assert all(DEEP.path not in item.name for item in planned(world).plan.items)
