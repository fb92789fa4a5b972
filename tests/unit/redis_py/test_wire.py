"""Nothing leaves redis-py but through the place where the guard stands."""

import ast
from collections.abc import Iterator
from pathlib import Path

import redis

_SENDS = {"send", "sendall", "sendmsg", "sendto", "write", "writelines"}
_ELSEWHERE = {
    ("_parsers/socket.py", "_read_from_socket", "buf.write"),  # what was received
    ("cluster.py", "_send_cluster_commands", "n.write"),  # calls send_packed_command
}


def _calls(node: ast.AST, inside: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        name = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else inside
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr in _SENDS:
            yield name, ast.unparse(child.func)
        yield from _calls(child, name)


def test_bytes_are_written_to_a_server_in_one_place_of_redis_py() -> None:
    folder = Path(redis.__file__).parent
    found = {
        (path.relative_to(folder).as_posix(), *call)
        for path in sorted(folder.rglob("*.py"))
        for call in _calls(ast.parse(path.read_text("utf-8")), "")
    }
    assert found - _ELSEWHERE == {
        ("connection.py", "send_packed_command", "self._sock.sendall"),
        ("asyncio/connection.py", "send_packed_command", "self._writer.writelines"),
        ("asyncio/connection.py", "_send_packed_command", "self._writer.writelines"),
    }, "redis-py sends in a place where no guard stands"
