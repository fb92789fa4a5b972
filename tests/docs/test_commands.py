"""Every command that the docs, the hints and the help show is one that the command line understands."""

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from docs.generate import ROOT
from go_cache_safeguard.cli.app import commands

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
_LINE = re.compile(r"^\s*(?:\$ )?(go-cache-safeguard .+)$", re.MULTILINE)
_CODE = re.compile(r"`(go-cache-safeguard [^`]+)`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _shown(path: Path) -> Iterator[str]:
    text = path.read_text()
    yield from _CODE.findall(text)
    if path.suffix == ".md":
        for block in _FENCE.findall(text):
            yield from _LINE.findall(block)


_whole = functools.cache(lambda: get_command(commands()))
"""All commands, made once: a parse leaves nothing behind in them."""


def understand(command: str) -> None:
    """Parse a command line without running it.

    Raises:
        TyperException: It has a command, an option or an argument that does not exist.
    """
    words = shlex.split(re.sub(r"\{[^{}]*\}", "X", command), comments=True)[1:]
    words = words[: next((at for at, word in enumerate(words) if word in {"|", ">", "&&", ";", "2>"}), len(words))]
    group = _whole()
    try:
        context = group.make_context("go-cache-safeguard", words)
        while hasattr(group, "resolve_command"):
            left = [*context._protected_args, *context.args]
            if not left and getattr(group, "invoke_without_command", False):
                break
            name, group, rest = group.resolve_command(context, left)
            context = group.make_context(name, rest, parent=context)
    except typer.Exit:
        pass  # --help and --version leave at once


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_shown_is_understood(path: Path) -> None:
    for command in _shown(path):
        understand(command)


@pytest.mark.parametrize("command", ["go-cache-safeguard explode", "go-cache-safeguard status --explode"])
def test_a_command_that_does_not_exist_is_seen(command: str) -> None:
    with pytest.raises(Exception, match="No such"):
        understand(command)
