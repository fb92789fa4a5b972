"""Only the command that is called is loaded, and it is the same as in the whole."""

from typer.core import TyperGroup
from typer.main import get_command

from go_cache_safeguard.cli.app import commands


def _group(first: str = "") -> TyperGroup:
    group = get_command(commands(first))
    assert isinstance(group, TyperGroup)
    return group


def _shape(group: TyperGroup, name: str) -> list[object]:
    """What a command takes, and what its subcommands take."""
    one = group.commands[name]
    found: list[object] = [(one.help, [(param.name, param.opts) for param in one.params])]
    return found + [_shape(one, inner) for inner in one.commands] if isinstance(one, TyperGroup) else found


def test_a_command_that_is_loaded_alone_is_the_one_of_the_whole() -> None:
    whole = _group()
    for name in whole.commands:
        part = _group(name)
        assert len(part.commands) < len(whole.commands)
        assert _shape(part, name) == _shape(whole, name)
