"""Secrets in files that only their owner can read.

Knows:     how such a file is opened, and that a setting names it.
Called by: `flows.redis_server`, `flows.redis_trash`, `flows.redis_sentinel`, `flows.hooks`.
Never:     follows a symlink; takes a file that others can read.
"""

import os
import stat

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.flows.session import Session

_LIMIT = 4096


def password_in(session: Session, setting: str) -> str:
    """The password in the file that a setting names; empty if it names none.

    Raises:
        ConfigBad: The file cannot be read, or others can read it.
    """
    named = session.config.text(setting)
    if not named:
        return ""
    try:
        handle = os.open(named, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            text = file.read(_LIMIT)
    except OSError as error:
        raise ConfigBad(f"{setting} {named} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigBad(f"{setting} {named} can be read by others", hint=f"chmod 600 {named}")
    return text.decode("utf-8", "surrogateescape").rstrip("\r\n")
