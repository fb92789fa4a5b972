"""Groups of options: every command that removes something has the same ones."""

from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.app import commands

DESTRUCTIVE = (
    "clean",
    "purge",
    "rollback",
    "fsck",
    "gc",
    "mod gc",
    "mod verify",
    "snapshot prune",
    "redis del",
    "redis unlink",
    "redis flush",
    "redis harden",
    "redis trash purge",
    "serve database retain",
)
CARRY_OUT = ("clean", "purge", "snapshot prune", "redis resume", "redis trash purge")


def names_of(words: str) -> set[str]:
    """All options of a command."""
    found: Any = get_command(commands(words.split(maxsplit=1)[0]))
    for word in words.split():
        found = found.commands[word]
    return {name for parameter in found.params for name in parameter.opts}


@pytest.mark.parametrize("words", DESTRUCTIVE)
def test_every_destructive_command_can_be_asked_about(words: str) -> None:
    assert {"--confirm", "--confirm-hook", "--confirm-wait", "--detach", "--replaces", "--json", "--set"} <= names_of(
        words
    )


@pytest.mark.parametrize("words", CARRY_OUT)
def test_what_carries_out_takes_a_token(words: str) -> None:
    assert "--token-file" in names_of(words)


def test_a_group_stands_where_it_is_named_and_arrives_whole() -> None:
    made: list[options.Asking] = []
    app = typer.Typer()

    @app.command()
    @options.grouped
    def command(
        name: Annotated[str, typer.Argument()],
        *,
        asking: options.Asking,
        last: Annotated[int, typer.Option("--last")] = 3,
    ) -> None:
        made.append(asking)
        assert (name, last) == ("x", 3)

    done = CliRunner().invoke(app, ["x", "--confirm", "--confirm-hook", "cli-interactive"])
    assert done.exit_code == 0, done.output
    assert made == [options.Asking(confirm=True, confirm_hook="cli-interactive")]
    assert made[0].settings == ["approval.hook=cli-interactive"]
