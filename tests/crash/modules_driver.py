"""As `quarantine_driver`, for a module cache: trees that are read-only, files beside each other, names of any depth.

Two acts are whole stories, with journal, plan and go's locks: `repair`, and `undo` of one; after each death `recover` ends them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crash.quarantine_driver import Steps, main
from crash.story_driver import session_in
from dying import die_at
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.undo import undo
from go_cache_safeguard.gomod.layout import ENTRY_NAME
from go_cache_safeguard.snapshot.quarantine import Quarantine, open_quarantine
from go_cache_safeguard.tree.root import open_root
from smallcaches import NOW_NS, OP
from smallmodules import contents, plan_of, small_modules


@contextmanager
def opened(root: Path) -> Iterator[Quarantine]:
    with open_root(root) as cache, open_quarantine(cache, allowed=ENTRY_NAME, deep=True) as quarantine:
        yield quarantine


def begin(act: str, root: Path) -> None:
    """Make a cache, and bring it to where the act begins."""
    small_modules(root)
    if act == "undo":
        repair(root)
    if act in {"take", "repair", "undo"}:
        return
    plan = plan_of(root)
    with opened(root) as quarantine:
        quarantine.prepare(OP, plan.data)
        assert quarantine.take(OP, plan.items).moved == len(plan.items)
    if act == "merge":
        # Go fetched the zip again meanwhile.
        (root / plan.items[2].name).write_bytes(b"newer")


def die(act: str, call: str, root: Path, k: int) -> None:
    """Do the act, unless killed."""
    if act in {"repair", "undo"}:
        die_at(call, k)
        if act == "repair":
            repair(root)
        else:
            undo(session_in(root.parent), operation_in(root).id, None)
        return
    plan = plan_of(root) if act == "take" else None
    with opened(root) as quarantine:
        die_at(call, k)
        if plan:
            quarantine.prepare(OP, plan.data)
            quarantine.take(OP, plan.items)
        elif act == "purge":
            quarantine.purge(OP, only=names(root))
        else:
            quarantine.put_back(OP, now_ns=NOW_NS)


def repair(root: Path) -> None:
    """The story of a repair, whose findings were made up."""
    fine = Verdict("mod-repair", Outcome.PASS, "all of it comes back")
    clean(session_in(root.parent), plan_of(root), lambda: [fine], Manner(wait_s=0, prover=None), None)


def operation_in(root: Path) -> Operation:
    with session_in(root.parent).journal() as journal:
        (operation,) = journal.operations()
    return operation


def end_story(root: Path) -> None:
    """One `recover` ends it, a second one finds nothing to do, and an undo brings back what went."""
    session = session_in(root.parent)
    assert all(not one.problem for one in recover(session, None, wait_s=0))
    assert recover(session, None, wait_s=0) == []
    with session.journal() as journal:
        assert journal.verify() == []
        done = [one.id for one in journal.operations() if one.state is State.DONE]
    for op in done:
        undo(session, op, None)
    assert contents(root) == contents(small_modules(root.parent / "again"))


def names(root: Path) -> list[str]:
    return [item.name for item in plan_of(small_modules(root.parent / "names")).items]


def look(act: str, root: Path) -> None:
    """Everything in exactly one place; and the act, or its undoing, can be finished, after which every mode is as it was."""
    if act in {"repair", "undo"}:
        end_story(root)
        return
    expected = contents(small_modules(root.parent / "again"))
    place = root.parent / ".cache.safeguard"
    live, away = contents(root), contents(place / OP / "files")
    newer = {name for name, (_mode, content) in live.items() if content == b"newer"}
    assert not (set(live) & set(away)) - newer, "something is in both places"
    with opened(root) as quarantine:
        if act == "purge":
            quarantine.purge(OP, only=names(root))
            assert quarantine.stored() == []
            assert contents(root) == live
            return
        assert {name: one for name, (_mode, one) in {**away, **live}.items() if name not in newer} == {
            name: one for name, (_mode, one) in expected.items() if name not in newer
        }, "something is lost or damaged"
        if (place / OP).exists():
            quarantine.put_back(OP, now_ns=NOW_NS)
            assert quarantine.left(OP)[0] == len(newer)
            assert newer or quarantine.purge(OP, only=()).failed == ()
    back = contents(root)
    assert {name: back[name] for name in expected if name not in newer} == {
        name: one for name, one in expected.items() if name not in newer
    }, "not everything is as it was"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Steps(begin, die, look)))
