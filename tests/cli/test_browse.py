"""The terminal browser, driven by its keys."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.browse import browser_of
from go_cache_safeguard.cli.browser import Browser
from go_cache_safeguard.flows.xray import see
from gocaches import GoCache
from safeguard import Safeguard, files_of


def _drive(cache: Path, state: Path, keys: Callable[[Pilot[bool], Browser], Awaitable[None]]) -> Browser:
    session = options.session(state_dir=str(state), quiet=True)
    app = browser_of(see(session, cache, installed=frozenset()), str(cache))

    async def drive() -> None:
        async with app.run_test(size=(120, 30)) as pilot:
            await keys(pilot, app)

    asyncio.run(drive())
    return app


def _screen(app: Browser) -> str:
    return "\n".join("".join(segment.text for segment in line) for line in app.screen._compositor.render_strips())


@pytest.mark.real
def test_one_walks_marks_filters_and_leaves_with_a_plan(newest_cache: GoCache, tmp_path: Path) -> None:
    seen: list[str] = []

    async def keys(pilot: Pilot[bool], app: Browser) -> None:
        seen.append(_screen(app))
        await pilot.press("3")  # by kind
        await pilot.press("slash", *"archive", "enter")
        await pilot.pause()
        seen.append(_screen(app))
        await pilot.press("space", "enter")
        await pilot.pause()
        seen.append(_screen(app))
        await pilot.press("backspace", "question_mark")
        await pilot.pause()
        seen.append(_screen(app))
        await pilot.press("escape", "p")

    app = _drive(newest_cache.root, tmp_path / "state", keys)
    assert app.return_value is True
    top, filtered, inside, helping = seen
    assert f"std {newest_cache.toolchain.version}" in top
    assert "nothing is marked" in top
    assert "archive" in filtered
    assert "index" not in filtered.replace("index entries", "")
    assert "all > kind archive" in inside
    assert "outputs marked" in inside
    assert "take all marks away" in helping
    files, _size = app.grid.marked()
    assert files == sum(output.kind.value == "archive" for output in app.grid.outputs)


@pytest.mark.real
def test_leaving_without_marks_makes_nothing(newest_cache: GoCache, tmp_path: Path) -> None:
    async def keys(pilot: Pilot[bool], app: Browser) -> None:
        await pilot.press("p")  # nothing is marked: it stays
        assert app.return_value is None
        await pilot.press("tab", "shift+tab", "s", "a", "u", "right", "left", "escape", "q")

    app = _drive(newest_cache.root, tmp_path / "state", keys)
    assert app.return_value is False
    assert app.grid.marked() == (0, 0)


@pytest.mark.real
def test_at_a_terminal_the_plan_is_written_and_clean_takes_it(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", {"TERM": "xterm-256color"})
    before = files_of(newest_cache.root)
    plan = tmp_path / "plan.json"
    code, screen = guard.type("browse", "-o", str(plan), answers=(("sorted by", "3 p"),))
    assert code == 0, screen[-2000:]
    assert files_of(newest_cache.root) == before
    made = json.loads(plan.read_text())
    assert made["selectors"] == ["browse"]
    dry = guard.json("clean", str(plan), "--dry-run", "--checks", "permissions")
    assert dry["plan"]["digest"]
    assert guard.type("browse", "-o", str(plan), answers=())[0] == 2  # never over a file that is there


def test_without_a_terminal_it_says_what_prints_the_same(newest_cache: GoCache, tmp_path: Path) -> None:
    told = Safeguard(newest_cache, tmp_path / "state").run("browse")
    assert told.returncode == 2
    assert "status --by" in told.stderr
