"""The guard of Redis and Valkey: what it would do with each command.

Knows:     how settings become rules, and the table of commands with the treatment of each row.
Called by: `cli.redis`.
Never:     talks to a server.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.commands import Class, Command, Treatment
from go_cache_safeguard.redis.rules import Rules, RulesError, parse_overrides, parse_patterns, parse_scripts
from go_cache_safeguard.redis.tablefile import load_table

_T = TypeVar("_T")
_SET_BY = {
    Class.WRITE: "redis.on_writes",
    Class.EXPIRES: "redis.on_expires",
    Class.EMPTIES: "redis.on_empties",
    Class.OVERWRITES: "redis.on_overwrites",
    Class.REMOVES: "redis.on_removes",
    Class.FLUSHES: "redis.on_flushes",
    Class.SCRIPT: "redis.on_script",
    Class.SERVER: "redis.on_server",
    Class.UNKNOWN: "redis.on_unknown",
}


@dataclass(frozen=True, slots=True)
class Treated:
    """One row of the table, and what would be done with the command at its worst."""

    command: Command
    treatment: Treatment


def load_rules(config: Config) -> Rules:
    """The site's rules for servers.

    Raises:
        ConfigBad: A pattern, an override or a digest cannot be used; the message says where it stands.
    """
    overrides = _read(config, "redis.commands", parse_overrides)
    for name in overrides:
        if name not in load_table().rows:
            where = _where(config, "redis.commands")
            raise ConfigBad(
                f"{where}: there is no command {name!r} in the table", hint="go-cache-safeguard redis commands"
            )
    return Rules(
        treatments={cls: Treatment(config.choice(key)) for cls, key in _SET_BY.items()},
        overrides=overrides,
        protect=_read(config, "redis.protect", parse_patterns),
        allow=_read(config, "redis.allow", parse_patterns),
        namespaces=frozenset(word.encode() for word in config.text("redis.namespaces").split()),
        scripts=_read(config, "redis.scripts", parse_scripts),
        depth=config.count("redis.pattern_depth"),
    )


def list_commands(session: Session, names: Sequence[str], wanted: Class | None) -> list[Treated]:
    """Rows of the table, in the order of names.

    Args:
        session: Who asks.
        names: Commands in any case, a container such as CONFIG for all its subcommands; none for all.
        wanted: Only of this class; None for all.

    Raises:
        UsageFailure: A name is not in the table.
        ConfigBad: The rules cannot be read.
    """
    rules = load_rules(session.config)
    table = load_table()
    asked = [name.upper().replace("|", " ") for name in names]
    for name in asked:
        if name not in table.rows and name not in table.containers:
            held = rules.treatments[Class.UNKNOWN]
            raise UsageFailure(
                f"{name!r} is not in the table of commands", hint=f"what is not known counts as destructive: {held}"
            )
    return [
        Treated(row, rules.of_command(row))
        for row in table
        if (not asked or row.name in asked or row.name.split(" ")[0] in asked) and wanted in {None, row.cls}
    ]


def _read(config: Config, key: str, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(config.text(key))
    except RulesError as error:
        raise ConfigBad(f"{_where(config, key)}: {key}: {error}", hint="see docs/redis.md") from error


def _where(config: Config, key: str) -> str:
    return config.origin(key).where or "the defaults"
