"""Boards kept by the command: one commit for each change of state, a README in odd shapes, a Slack that is away."""

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from boardrepositories import git, push, readme, repository
from go_cache_safeguard.cli.app import run
from go_cache_safeguard.flows.golden import SPANS
from go_cache_safeguard.signals.span import Kind, Span, Status
from go_cache_safeguard.signals.spanstore import SpanStore
from slackservers import slack


def serve(folder: Path, number: int, *, failed: bool) -> None:
    """One request of the service, now."""
    (folder / SPANS).parent.mkdir(parents=True, exist_ok=True)
    now, status = time.time_ns(), Status.ERROR if failed else Status.OK
    ids = number.to_bytes(16), number.to_bytes(8)
    with SpanStore(folder / SPANS) as store:
        store.put([Span(*ids, b"", "GET", Kind.SERVER, "pay", "", now - 10**7, now, status)], observe=True)


def kept(settings: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any]]:
    given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(["signals", "board", *arguments, "--json", *given])
    return code, json.loads(out.getvalue())["services"][0] if out.getvalue() else {}


def test_a_change_of_state_is_one_commit_and_one_message_and_without_one_there_is_none(tmp_path: Path) -> None:
    bare = repository(tmp_path)
    with slack() as fake:
        settings = {"state.dir": str(tmp_path / "state"), "signals.board": f"pay={bare}", **fake.settings(tmp_path)}
        serve(tmp_path / "state", 1, failed=False)
        assert kept(settings)[0] == 0
        assert readme(bare) == "# Pay", "without --write nothing is written"
        code, green = kept(settings, "--write")
        assert (code, green["state"], len(green["commit"]), green["trouble"]) == (0, "green", 40, "")
        serve(tmp_path / "state", 2, failed=True)
        code, red = kept(settings, "--write", "pay")
        assert (code, red["state"], red["failing"]) == (10, "red", [f"{2:032x}"])
        serve(tmp_path / "state", 3, failed=True)
        code, same = kept(settings, "--write")
        assert (code, same["state"], same["commit"]) == (10, "red", "")
        assert [one["text"] for one in fake.messages] == ["pay is green", "pay is red"]
    assert git(bare, "rev-parse", "main") == red["commit"]
    assert f"Failing traces: `{2:032x}`" in readme(bare)


@pytest.mark.parametrize(
    ("shape", "trouble"),
    [
        (b"<!-- signals:begin red -->\n# Pay\n", "markers are damaged"),
        (b"#" * (1 << 21), "longer than 1 MiB"),
        (None, "a link or a folder"),
    ],
    ids=["damaged", "huge", "link"],
)
def test_a_readme_that_cannot_carry_a_board_is_left_alone_and_said(
    tmp_path: Path, shape: bytes | None, trouble: str
) -> None:
    bare = repository(tmp_path, shape)
    if shape is None:
        (tmp_path / "work" / "README.md").symlink_to("run")
        push(tmp_path / "work", bare, "link")
    before = git(bare, "rev-parse", "main")
    serve(tmp_path / "state", 1, failed=False)
    code, told = kept({"state.dir": str(tmp_path / "state"), "signals.board": f"pay={bare}"}, "--write")
    assert (code, told["commit"]) == (13, "")
    assert trouble in told["trouble"]
    assert git(bare, "rev-parse", "main") == before


def test_a_slack_that_is_away_holds_no_board_up(tmp_path: Path) -> None:
    bare = repository(tmp_path, b"# Pay\r\nby hand\r\n")
    with slack() as fake:
        settings = {"state.dir": str(tmp_path / "state"), "signals.board": f"pay={bare}", **fake.settings(tmp_path)}
    serve(tmp_path / "state", 1, failed=True)
    code, told = kept(settings, "--write")
    assert (code, len(told["commit"])) == (10, 40)
    assert "Slack was not told" in told["trouble"]
    assert git(bare, "cat-file", "blob", "main:README.md").endswith("by hand")


def test_a_board_of_nobody_and_a_hook_without_a_secret_are_refused(tmp_path: Path) -> None:
    settings = {"state.dir": str(tmp_path), "signals.board": "pay=/srv/pay.git"}
    assert kept({"state.dir": str(tmp_path)})[0] == 2
    assert kept(settings, "cart")[0] == 2
    assert kept(settings, "--serve-hook")[0] == 35
    assert kept({**settings, "signals.board": "pay"})[0] == 35
