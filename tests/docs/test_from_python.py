"""The example for Python in docs/redis.md does what it says."""

import re
from pathlib import Path

import pytest

import redisface
from docs.generate import ROOT
from redisservers import running

_EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = _EXAMPLE.findall((ROOT / "docs/redis.md").read_text())
    monkeypatch.setattr("go_cache_safeguard.redis_py.guard._DEFAULT", [redisface.guard(tmp_path / "state")])
    (tmp_path / "server").mkdir()
    with running("redis-7.0", tmp_path / "server") as server:
        program = example.replace("/run/redis.sock", server.path)
        assert program != example
        found: dict[str, object] = {}
        exec(program, found)  # noqa: S102 - our own page
        found["cache"].close()  # type: ignore[attr-defined]  # a name of the example
    assert capsys.readouterr().out.startswith("op_")
