"""Secrets in files that only their owner can read.

Knows:     how such a file is opened, and that a setting names it.
Called by: `flows.redis_server`, `flows.redis_trash`, `flows.redis_sentinel`, `flows.hooks`, `flows.slack_hook`.
Never:     follows a symlink; takes a file that others can read.
"""

import os
import stat
from pathlib import Path
from typing import Protocol

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config

_LIMIT = 4096


class Configured(Protocol):
    """A session, which a checkpoint at its end must not import."""

    @property
    def config(self) -> Config:
        """The settings."""


def password_in(session: Configured, setting: str) -> str:
    """The password in the file that a setting names; empty if it names none.

    Raises:
        ConfigBad: The file cannot be read, or others can read it.
    """
    return secret_in(session.config, setting)


def secret_in(config: Config, setting: str, *, most: int = _LIMIT) -> str:
    """The same, without a session.

    Args:
        config: With the setting.
        setting: Its key.
        most: Bytes that are read.

    Raises:
        ConfigBad: As `password_in`.
    """
    named = config.text(setting)
    return private_text(named, f"{setting} {named}", most=most) if named else ""


def private_text(path: str, what: str, *, most: int = _LIMIT) -> str:
    """What a file holds that only its owner can read, without its last line end.

    Args:
        path: The file.
        what: How it is called when it cannot be used.
        most: Bytes that are read.

    Raises:
        ConfigBad: It cannot be read, or others can read it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            text = file.read(most)
    except OSError as error:
        raise ConfigBad(f"{what} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigBad(f"{what} can be read by others", hint=f"chmod 600 {path}")
    return text.decode("utf-8", "surrogateescape").rstrip("\r\n")


def new_private(path: Path, text: str) -> None:
    """Write a secret into a new file that only its owner can read.

    Raises:
        ConfigBad: It cannot be made; one that is there stays as it is.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(text + "\n")
    except OSError as error:
        raise ConfigBad(f"{path} cannot be made: {error.strerror}", hint="name a new file") from error
