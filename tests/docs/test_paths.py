"""Paths in prose rot: every one that the docs name exists."""

import re
from pathlib import Path

import pytest

from docs.generate import ROOT

PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
]
_PATH = re.compile(r"(?<![\w/.~$-])(?:[a-z_]+|\.ci)/[\w./-]*[\w/]")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
_CODE = re.compile(r"`([^`\n]+)`")
_TOPS = tuple(f"{name}/" for name in ("src", "tests", "docs", "make", "requirements", "benchmarks", ".ci"))


def _named(text: str) -> set[str]:
    """Paths in code spans: below a folder of ours, or `room/file.py`."""
    found = {match for code in _CODE.findall(text) for match in _PATH.findall(code)}
    return {name for name in found if name.startswith(_TOPS) or name.endswith(".py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    places = (ROOT, ROOT / "src" / "go_cache_safeguard")
    assert [name for name in _named(text) if not any((place / name).exists() for place in places)] == []
    assert [link for link in _LINK.findall(text) if not (page.parent / link).exists()] == []


def test_a_planted_dead_path_is_seen() -> None:
    assert _named("see `core/gone.py` and `make/gone.sh --x`, not `/etc/x` or core/prose.py") == {
        "core/gone.py",
        "make/gone.sh",
    }
