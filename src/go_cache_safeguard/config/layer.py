"""What one place says: one file, the environment, or the command line.

Knows:     how TOML text and variables become texts with an exact place each, and which keys exist.
Called by: `config.files` with the bytes and variables that it has read; `config.resolve` joins the results.
Never:     opens a file; judges whether a file may be believed.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import ClassVar

from go_cache_safeguard.config.setting import BY_KEY, PREFIX, SETTINGS
from go_cache_safeguard.core.errors import ExitCode, Failure

_AT = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]")
_ASSIGNED = re.compile(r"\s*([A-Za-z0-9_.\s\"'-]+?)\s*=")


class Place(StrEnum):
    """Where a value can come from. Later ones win over earlier ones."""

    DEFAULT = "default"
    SYSTEM = "system"
    USER = "user"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    ARGUMENT = "argument"


@dataclass(frozen=True, slots=True)
class Given:
    """One value as it was written.

    Attributes:
        key: `table.name`; always a key of the table of settings.
        text: The value.
        where: `file:line`, the name of a variable, or the command line.
    """

    key: str
    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Layer:
    """Everything that one place says."""

    place: Place
    given: tuple[Given, ...]


class ConfigBad(Failure):
    """A value, a key or a whole file that makes no sense."""

    id: ClassVar[str] = "config-bad"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning: ClassVar[str] = (
        "a configuration file, variable or argument has a wrong value, an unknown key or bad syntax"
    )

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what, not_done="nothing was started", hint=hint)


def toml_layer(place: Place, data: bytes, path: str) -> Layer:
    """Read a configuration file.

    Args:
        place: Which of the files it is.
        data: The whole content.
        path: Its name, for messages.

    Raises:
        ConfigBad: Bad syntax, with line and column; an unknown key; a value that is neither text nor a whole number.
    """
    text = _decoded(data, path)
    given = []
    for table, keys in _parsed(text, path).items():
        if not isinstance(keys, Mapping):
            raise _unknown(table, f"{path}:{_line_of(text, '', table)}")
        for name, value in keys.items():
            key = f"{table}.{name}"
            where = f"{path}:{_line_of(text, table, name)}"
            if key not in BY_KEY:
                raise _unknown(key, where)
            given.append(Given(key, _as_text(key, value, where), where))
    return Layer(place, tuple(given))


def environ_layer(environ: Mapping[str, str]) -> Layer:
    """Read our variables. An empty one counts as not set.

    Raises:
        ConfigBad: A variable begins like ours and is none of ours.
    """
    known = {setting.variable: setting.key for setting in SETTINGS}
    given = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        if variable not in known:
            raise ConfigBad(f"there is no variable {variable}", hint=_near(variable, tuple(known)))
        if environ[variable]:
            given.append(Given(known[variable], environ[variable], variable))
    return Layer(Place.ENVIRONMENT, tuple(given))


def argument_layer(arguments: Mapping[str, str]) -> Layer:
    """Take what the command line says.

    Args:
        arguments: From keys such as `output.color` to their texts.

    Raises:
        ConfigBad: There is no such key.
    """
    for key in arguments:
        if key not in BY_KEY:
            raise _unknown(key, "the command line")
    return Layer(Place.ARGUMENT, tuple(Given(key, text, "the command line") for key, text in arguments.items()))


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigBad(f"{path}:{line}:{column}: the file is not UTF-8") from error


def _parsed(text: str, path: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigBad(f"{path}: brackets are nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError is one; a number of 5,000 digits gives a plain one
        raise ConfigBad(_syntax(text, path, str(error))) from error


def _syntax(text: str, path: str, message: str) -> str:
    """Put the place in front, as compilers do: `path:line:column: what`."""
    found = _AT.fullmatch(message)
    if found is None:
        return f"{path}: {message}"
    lines = text.split("\n")
    line = found["line"] or len(lines)
    column = found["column"] or len(lines[-1]) + 1
    return f"{path}:{line}:{column}: {found['what']}"


def _line_of(text: str, table: str, name: str) -> int:
    """The line where a key is written; 1 when it is written in a way that we do not look for.

    tomllib does not tell lines. This is for messages only: what a value *is* comes from tomllib alone.
    """
    within = ""
    for number, line in enumerate(text.split("\n"), start=1):
        header = _TABLE.match(line)
        if header is not None:
            within = header[1]
            continue
        assigned = _ASSIGNED.match(line)
        if assigned is None:
            continue
        written = re.sub(r"[\s\"']", "", assigned[1])
        full = f"{within}.{written}" if within else written
        wanted = f"{table}.{name}" if table else name
        if full == wanted or (table and full == table):
            return number
    return 1


def _as_text(key: str, value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ConfigBad(f"{where}: {key} = {value!r} is not allowed", hint=f"allowed: {BY_KEY[key].allowed}")


def _unknown(key: str, where: str) -> ConfigBad:
    return ConfigBad(f"{where}: there is no setting {key!r}", hint=_near(key, tuple(BY_KEY)))


def _near(word: str, words: tuple[str, ...]) -> str:
    close = get_close_matches(word, words, n=1)
    return f"did you mean {close[0]}?" if close else "see docs/config.md or `go-cache-safeguard config show`"
