"""Where configuration files lie, and whether to believe them. A shell.

Knows:     the three places of files, and who else could have written one.
Called by: the command line, once per run.
Never:     interprets a value: that is `config.layer` and `config.resolve`.
Source:    XDG Base Directory Specification 0.8 for the user's file.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from go_cache_safeguard.config.layer import (
    ConfigBad,
    Given,
    Layer,
    Place,
    argument_layer,
    environ_layer,
    toml_layer,
)
from go_cache_safeguard.config.resolve import Config, default_state_dir, resolve
from go_cache_safeguard.core.errors import ExitCode, Failure

SYSTEM_FILE = Path("/etc/go-cache-safeguard/config.toml")
PROJECT_NAME = ".go-cache-safeguard.toml"
_LARGEST = 1 << 20
"""bytes; a file of settings is never this large, and reading stops here."""


class ConfigUntrusted(Failure):
    """A configuration file that somebody else could have written."""

    id: ClassVar[str] = "config-untrusted"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning: ClassVar[str] = "a configuration file belongs to, or can be written by, somebody else"

    def __init__(self, path: Path, why: str, hint: str) -> None:
        super().__init__(f"{path} is not believed: {why}", not_done="nothing was started", hint=hint)


def load_config(
    *, environ: Mapping[str, str], cwd: Path, home: Path, arguments: Mapping[str, str], system: Path = SYSTEM_FILE
) -> Config:
    """Read every place that can set something.

    Args:
        environ: The process's environment.
        cwd: Where to look for a project file, and upward from there.
        home: The user's home directory.
        arguments: What the command line sets: from keys such as `output.color` to texts.
        system: The machine's file.

    Returns:
        The settings; `state.dir` is never empty.

    Raises:
        ConfigBad: Something is written wrongly, or a file cannot be read.
        ConfigUntrusted: Somebody else could have written a file.
    """
    state = default_state_dir(environ, str(home), root=os.geteuid() == 0)
    layers = [Layer(Place.DEFAULT, (Given("state.dir", state, ""),))]
    project = find_project_file(cwd, home)
    places = ((Place.SYSTEM, system), (Place.USER, user_file(environ, home)), (Place.PROJECT, project))
    for place, path in places:
        data = read_trusted(path) if path is not None else None
        if data is not None:
            layers.append(toml_layer(place, data, str(path)))
    return resolve([*layers, environ_layer(environ), argument_layer(arguments)])


def user_file(environ: Mapping[str, str], home: Path) -> Path:
    """The user's own file, which need not exist."""
    given = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (given if given.is_absolute() else home / ".config") / "go-cache-safeguard" / "config.toml"


def find_project_file(cwd: Path, home: Path) -> Path | None:
    """Look in `cwd` and above it, up to the first directory that holds a `.git` or is the home directory."""
    homes = {home, Path(os.path.realpath(home))}  # the working directory is told without links, HOME as it was typed
    for folder in (cwd, *cwd.parents):
        try:
            if _exists(folder / PROJECT_NAME):
                return folder / PROJECT_NAME
            if folder in homes or _exists(folder / ".git"):
                return None
        except PermissionError:
            return None  # above here we may not look, and a project file can only set harmless things
    return None


def read_trusted(path: Path) -> bytes | None:
    """Read a file of settings, if it exists and nobody but the user and root could have written it.

    All questions are asked of the opened file, so that nobody can exchange it between question and reading.

    Returns:
        The content, or None when there is no such file.

    Raises:
        ConfigBad: It cannot be read, or is larger than any configuration.
        ConfigUntrusted: Somebody else could have written it.
    """
    try:
        with _opened(path.parent, os.O_DIRECTORY | os.O_PATH) as folder:
            _judge_folder(path, path.parent, os.fstat(folder))
            _judge_link(path, os.stat(path.name, dir_fd=folder, follow_symlinks=False))
            return _read(path, folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigBad(f"{path} cannot be read: {error.strerror}", hint="make it readable, or remove it") from error


def _read(path: Path, folder: int) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write into it.
        with _opened(path.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, folder) as file:
            _judge_file(path, os.fstat(file))
            _judge_real_folder(path, file)
            return _content(path, file)
    except FileNotFoundError as error:
        # There is a name but no file: rules were meant to be here, so going on without them would be a guess.
        raise ConfigBad(f"{path} is a link to nothing", hint="mend the link, or remove it") from error


@contextmanager
def _opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _content(path: Path, file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as reader:
        data = reader.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ConfigBad(f"{path} is larger than {_LARGEST} bytes: this is no configuration")
    return data


def _judge_folder(path: Path, folder: Path, found: os.stat_result) -> None:
    if found.st_mode & stat.S_IWOTH:
        raise ConfigUntrusted(path, f"anybody can write into {folder}", f"chmod o-w '{folder}'")


def _judge_real_folder(path: Path, file: int) -> None:
    """Look at the folder where the file really lies: `path` may be a link to it."""
    folder = (Path("/proc/self/fd") / str(file)).readlink().parent
    with _opened(folder, os.O_DIRECTORY | os.O_PATH) as real:
        _judge_folder(path, folder, os.fstat(real))


def _judge_link(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigUntrusted(
            path, f"it belongs to user {found.st_uid}", f"chown {os.geteuid()} '{path}', or remove it"
        )


def _judge_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigUntrusted(path, "it is not a regular file", "put a plain file there")
    _judge_link(path, found)
    if found.st_mode & stat.S_IWOTH:
        raise ConfigUntrusted(path, "anybody can write it", f"chmod go-w '{path}'")
    if found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid):
        raise ConfigUntrusted(path, f"group {found.st_gid} can write it", f"chmod g-w '{path}'")


def _is_own_group(gid: int) -> bool:
    """Whether this is the group that many systems make for one user alone: same name, nobody else in it."""
    try:
        person, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return person.pw_gid == gid and group.gr_name == person.pw_name and set(group.gr_mem) <= {person.pw_name}
