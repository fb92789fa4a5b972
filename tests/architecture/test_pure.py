"""Pure files take bytes and values. What import contracts cannot see: calls, and parameters that read."""

import ast
from collections.abc import Iterator

import pytest

from architecture.house import MODULES, PURE, SHELLS, Module, calls

READS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob", "lstat", "readlink"}
READS |= {"expanduser", "cwd", "home", "touch", "mkdir", "symlink_to", "hardlink_to", "chmod", "input", "print"}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"}
READERS = {"IO", "BinaryIO", "TextIO", "BytesIO", "StringIO", "BufferedReader", "RawIOBase", "FileIO", "SupportsRead"}


def _calls(module: Module) -> Iterator[str]:
    for node, name, owner in calls(module):
        if name in READS or (name in CLOCKS and owner in {"datetime", "date", "time"}):
            yield f"{module.name}:{node.lineno}: {name}()"


def _readers(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            names = {inner.id for inner in ast.walk(node.annotation) if isinstance(inner, ast.Name)}
            names |= {inner.attr for inner in ast.walk(node.annotation) if isinstance(inner, ast.Attribute)}
            if names & READERS:
                yield f"{module.name}:{node.lineno}: {node.arg}"


@pytest.mark.parametrize("module", PURE, ids=lambda module: module.name)
def test_a_pure_file_neither_reads_nor_asks_the_time(module: Module) -> None:
    assert [*_calls(module), *_readers(module)] == []


@pytest.mark.parametrize(
    "code",
    ["open(x)", "path.open()", "Path(x).read_bytes()", "datetime.now(UTC)", "date.today()", "def f(a: BinaryIO): ..."],
)
def test_a_planted_touch_of_the_world_is_seen(code: str) -> None:
    module = Module("core/planted.py", code)
    assert [*_calls(module), *_readers(module)]


def test_every_shell_on_the_list_exists() -> None:
    assert {module.dotted for module in MODULES} >= SHELLS
