"""One door: only the quarantine removes or renames. Linters see `os.unlink`; this sees the methods, too."""

import ast
import functools

import pytest

from architecture.house import MODULES, PACKAGE, Module, calls

DOOR = "snapshot/quarantine.py"
ELSEWHERE = {
    ("flows/redis_hitrate.py", "replace"): "its own small file of what is known of a server, as a whole",
    ("flows/redis_sockets.py", "unlink"): "a Unix socket at which nobody listens, in the place of ours",
    ("flows/shim.py", "replace"): "its own small script, as a whole: a shell may be reading the old one",
    ("flows/shim.py", "unlink"): "the same script, known by its first line, when a person takes it away",
    ("flows/textfile.py", "replace"): "its own file of metrics, as a whole",
    ("flows/textfile.py", "ftruncate"): "the new one, which it has just opened",
    (
        "gocache/native.py",
        "ftruncate",
    ): "what it writes itself in the place of go: an entry to its length, or to nothing if it did not go in",
    ("journal/store.py", "replace"): "its own head file, as a whole",
    ("journal/store.py", "ftruncate"): "the new head file that it has just opened",
    ("journal/sealer.py", "ftruncate"): "what a crash or a full disk left of the last line of our own checkpoints",
    ("redis/trashfile.py", "unlink"): "captured values of an operation of ours, when they are purged",
    ("redis/trashfile.py", "ftruncate"): "what a crash left of the last frame of our own file",
    ("signals/columns.py", "unlink"): "its own files of spans, when their retention is over",
    (
        "signals/edge.py",
        "unlink",
    ): "files of its own buffer, when the broker has what is in them, or newer spans need the room",
    ("signals/edge.py", "ftruncate"): "the same, when one is begun anew, and a frame of it for which there was no room",
    ("snapshot/outfile.py", "unlink"): "what it wrote itself and could not complete",
    ("snapshot/outfile.py", "rmdir"): "a directory that it has just made, with nothing in it but what it wrote itself",
    ("snapshot/outfile.py", "renameat2"): "its own .partial, to the name that it was written for",
    ("snapshot/outfile.py", "ftruncate"): "a .partial that a process of ours left when it died",
    ("snapshot/store.py", "rename"): "an object of a repository of ours, which gets its name when it is durable",
    ("tree/place.py", "ftruncate"): "our own lock file, after the name of its holder",
}
"""What files may do with things of ours, never of a cache, and why. The list may only shrink."""

ALWAYS = {"unlink", "unlinkat", "rmdir", "rmtree", "rename", "renames", "renameat", "renameat2", "removedirs"}
OF_MODULES = {"remove", "replace", "move", "truncate", "ftruncate"}


def _is_removal(node: ast.Call, name: str, owner: str) -> bool:
    if name == "getattr":
        return any(isinstance(word, ast.Constant) and word.value in ALWAYS | OF_MODULES for word in node.args)
    if name == "replace" and owner not in {"", "os"}:
        # Path.replace takes one argument; text's takes two, and those of dataclasses and dates take names.
        return len(node.args) == 1 and not node.keywords
    return name in ALWAYS or (owner in {"os", "shutil"} and name in OF_MODULES)


@functools.cache
def _removals(module: Module) -> list[tuple[int, str]]:
    """Lines, and what is called or imported there."""
    found = [(node.lineno, name) for node, name, owner in calls(module) if _is_removal(node, name, owner)]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"os", "shutil", "posix"}:
            found += [(node.lineno, name.name) for name in node.names if name.name in ALWAYS | OF_MODULES | {"*"}]
    return found


def test_nothing_but_the_door_removes_or_renames() -> None:
    elsewhere = [module for module in MODULES if module.name != DOOR]
    found = [(module.name, line, name) for module in elsewhere for line, name in _removals(module)]
    assert [place for place in found if (place[0], place[2]) not in ELSEWHERE] == []


def test_the_door_is_where_the_docs_say() -> None:
    assert (PACKAGE / DOOR).is_file()


def test_every_exception_is_still_needed() -> None:
    needed = {(module.name, name) for module in MODULES for _, name in _removals(module)}
    assert set(ELSEWHERE) - needed == set(), "these no longer need their exception: take them off the list"


@pytest.mark.parametrize(
    "code",
    [
        "os.unlink(x)",
        "path.unlink()",
        "Path(x).unlink(missing_ok=True)",
        "path.replace(other)",
        "os.replace(a, b)",
        "shutil.move(a, b)",
        "libc.renameat2(1, a, 1, b, 0)",
        "getattr(os, 'unlink')(x)",
        "from os import remove as gone",
        "from shutil import rmtree",
    ],
)
def test_a_planted_removal_is_seen(code: str) -> None:
    assert _removals(Module("planted.py", code))


@pytest.mark.parametrize(
    "code", ["text.replace('a', 'b')", "replace(plan, items=())", "names.remove(x)", "at.replace(tzinfo=UTC)"]
)
def test_what_only_looks_like_a_removal_is_let_be(code: str) -> None:
    assert not _removals(Module("planted.py", code))
