"""What a service manager is told: that we are ready, that we read our settings again, that we are alive, that we stop.

Knows:     NOTIFY_SOCKET and WATCHDOG_USEC.
Called by: `flows.redis_proxy`, `web.server`.
Never:     fails: who is not run by a service manager has nobody to tell.
Source:    sd_notify(3), sd_watchdog_enabled(3): a datagram to a Unix socket; `@` stands for the abstract name space.
"""

import os
import socket
import time
from collections.abc import Mapping

_MICROSECONDS = 1_000_000


def notify(environ: Mapping[str, str], *lines: str) -> bool:
    """Tell the service manager.

    Args:
        environ: Of the process.
        lines: Such as `READY=1`.

    Returns:
        Whether there was somebody to tell.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    if path.startswith("@"):
        path = "\0" + path[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.connect(path)
            to.sendall("\n".join(lines).encode())
    except OSError:
        return False
    return True


def reloading(environ: Mapping[str, str]) -> None:
    """Say that the settings are read again; `READY=1` follows."""
    notify(environ, "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")


def watchdog_s(environ: Mapping[str, str]) -> float | None:
    """How often to say that we are alive: twice as often as is asked for; None if nobody asks us."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / _MICROSECONDS / 2
